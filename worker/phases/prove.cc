#include "worker/phases/prove.h"

#include <algorithm>
#include <map>

#include "common/base/error.h"
#include "common/base/text.h"
#include "worker/copy/digest.h"
#include "worker/core/sql.h"
#include "worker/phases/tables.h"
#include "worker/phases/target_view.h"

namespace pgconvoy::worker {
namespace {

// At most so many projects are named in one message.
constexpr size_t kMaxNamed = 5;

// The snapshot waits while targets are read, however long that takes.
constexpr char kPatient[] = "SET LOCAL idle_in_transaction_session_timeout = 0";

// A table that projects share, and what of it is compared.
struct SharedTable {
  std::string name;
  // Of the plan, a template.
  std::string where;
  std::vector<std::string> columns;
  // What is not compared, in words; empty when every column is.
  std::string left_out;
};

struct Share {
  RowDigest source;
  RowDigest target;
};

// By table.
using Shares = std::map<std::string, Share>;

std::string Figures(const RowDigest& digest) { return std::to_string(digest.rows()) + " rows " + digest.Hex(); }

std::string CopySql(const SharedTable& table, const std::string& condition) {
  return "COPY (SELECT " + IdentList(table.columns) + " FROM " + SplitTable(table.name).Quoted() +
         (condition.empty() ? "" : " WHERE " + condition) + ") TO STDOUT";
}

SharedTable Describe(const v1::Table& planned, const TableInfo& info) {
  SharedTable table{info.name, planned.where(), info.columns, ""};
  std::vector<std::string> left_out(planned.exclude_columns().begin(), planned.exclude_columns().end());
  for (const v1::Column& changed : planned.columns()) {
    std::erase(table.columns, changed.name());
    left_out.push_back(changed.name());
  }
  if (!left_out.empty()) {
    table.left_out = "; not compared, as the plan leaves out or changes them: " + Join(left_out, ", ");
  }
  if (planned.only_columns_size() > 0) {
    table.left_out += "; compared are only the columns that the plan carries: " + Join(table.columns, ", ");
  }
  return table;
}

std::vector<SharedTable> SharedTables(const SourceSchema& schema) {
  std::vector<SharedTable> tables;
  for (const TableInfo& info : schema.tables) {
    if (!info.entry.where().empty()) {
      tables.push_back(Describe(info.entry, info));
    }
  }
  return tables;
}

class Proof {
 public:
  explicit Proof(const Inspector& inspector) : inspector_(inspector) {}

  absl::StatusOr<std::vector<v1::CheckResult>> Run(const std::vector<v1::ProjectGrant>& projects) {
    PGC_RETURN_IF_ERROR(Begin(projects));
    for (const auto& attempt : attempts_) {
      PGC_RETURN_IF_ERROR(Measure(*attempt));
    }
    std::vector<v1::CheckResult> checks;
    for (const SharedTable& table : tables_) {
      PGC_ASSIGN_OR_RETURN(v1::CheckResult check, Check(table));
      checks.push_back(std::move(check));
    }
    return checks;
  }

 private:
  absl::Status Begin(const std::vector<v1::ProjectGrant>& projects) {
    for (const v1::ProjectGrant& project : projects) {
      PGC_ASSIGN_OR_RETURN(auto attempt, inspector_.Look(project, ""));
      attempts_.push_back(std::move(attempt));
    }
    if (attempts_.empty() || !inspector_.plan.has_target()) {
      return InputError("PGC-PROVE-PLAN", "no project of this migration has a target of its own to count",
                        "the proof is for migrations that take projects out of shared tables");
    }
    for (const auto& attempt : attempts_) {
      if (attempt->project().source_database != attempts_[0]->project().source_database) {
        return InputError("PGC-PROVE-PLAN", "the projects of this migration share no source database",
                          "the proof is for migrations that take projects out of shared tables");
      }
    }
    PGC_ASSIGN_OR_RETURN(const auto schema, inspector_.schemas.Get(*attempts_[0]));
    tables_ = SharedTables(*schema);
    if (tables_.empty()) {
      return InputError("PGC-PROVE-PLAN", "the plan names no shared table",
                        "a shared table is one with a condition that chooses a project's rows");
    }
    PGC_ASSIGN_OR_RETURN(reader_, attempts_[0]->Reader());
    PGC_ASSIGN_OR_RETURN(snapshot_, BeginSourceSnapshot(*attempts_[0], *reader_, *schema));
    return reader_->ExecScript(kPatient);
  }

  static absl::StatusOr<std::string> ConditionOf(const SharedTable& table, const Attempt& attempt) {
    PGC_ASSIGN_OR_RETURN(const std::string where, plan::RenderSql(table.where, attempt.values()));
    return "(" + where + ")";
  }

  absl::StatusOr<RowDigest> Read(pg::Connection& connection, const std::string& sql) {
    return ReadDigest(*attempts_[0], connection, sql);
  }

  absl::Status Measure(Attempt& attempt) {
    Shares& shares = shares_[attempt.grant().ref];
    for (const SharedTable& table : tables_) {
      PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionOf(table, attempt));
      PGC_ASSIGN_OR_RETURN(shares[table.name].source, Read(*reader_, CopySql(table, condition)));
    }
    const absl::Status looked = LookIntoTarget(attempt, [&] { return MeasureTarget(attempt, shares); });
    return looked.ok() ? looked : Annotate(looked, "project " + attempt.grant().ref);
  }

  absl::Status MeasureTarget(Attempt& attempt, Shares& shares) {
    PGC_ASSIGN_OR_RETURN(const auto schema, inspector_.schemas.Get(attempt));
    return WithoutForce(attempt, *schema, [&](pg::Connection& target) -> absl::Status {
      for (const SharedTable& table : tables_) {
        PGC_ASSIGN_OR_RETURN(shares[table.name].target, Read(target, CopySql(table, "")));
      }
      return absl::OkStatus();
    });
  }

  // Rows of no migrated project. IS NOT TRUE: a condition that is NULL chooses nothing.
  absl::StatusOr<RowDigest> StaysBehind(const SharedTable& table) {
    std::string none;
    for (const auto& attempt : attempts_) {
      PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionOf(table, *attempt));
      none += (none.empty() ? "" : " AND ") + condition + " IS NOT TRUE";
    }
    return Read(*reader_, CopySql(table, none));
  }

  absl::StatusOr<v1::CheckResult> Check(const SharedTable& table) {
    PGC_ASSIGN_OR_RETURN(const RowDigest whole, Read(*reader_, CopySql(table, "")));
    PGC_ASSIGN_OR_RETURN(const RowDigest behind, StaysBehind(table));
    RowDigest targets;
    RowDigest chosen;
    for (auto& [ref, shares] : shares_) {
      targets.Add(shares.at(table.name).target);
      chosen.Add(shares.at(table.name).source);
    }
    RowDigest sum = targets;
    sum.Add(behind);
    v1::CheckResult check;
    check.set_name("conservation:" + table.name);
    check.set_passed(sum == whole);
    check.set_measured(std::to_string(attempts_.size()) + " targets " + Figures(targets) + " + staying behind " +
                       Figures(behind) + " = " + Figures(sum));
    check.set_needed("whole table " + Figures(whole) + table.left_out);
    if (!check.passed()) {
      chosen.Add(behind);
      check.set_message(WhyNot(table, chosen == whole));
      check.set_remedy(
          "a tenant that has worked in its target since, or a source that was written to, shows here too: "
          "see `pgconvoy validate --comprehensive` for what changed since it was verified");
    }
    return check;
  }

  std::string WhyNot(const SharedTable& table, bool source_adds_up) const {
    std::vector<std::string> differ;
    for (const auto& [ref, shares] : shares_) {
      const Share& share = shares.at(table.name);
      if (!(share.source == share.target)) {
        differ.push_back(ref + " (source " + std::to_string(share.source.rows()) + ", target " +
                         std::to_string(share.target.rows()) + " rows)");
      }
    }
    std::string text = source_adds_up ? "" : "a row of the source belongs to more than one project; ";
    text += std::to_string(differ.size()) + " target(s) do not hold their project's rows of " + table.name;
    const bool more = differ.size() > kMaxNamed;
    differ.resize(std::min(differ.size(), kMaxNamed));
    return text + (differ.empty() ? "" : ": " + Join(differ, ", ")) + (more ? ", …" : "");
  }

  const Inspector& inspector_;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::vector<SharedTable> tables_;
  // By ref.
  std::map<std::string, Shares> shares_;
  PooledSession reader_;
  std::unique_ptr<pg::Transaction> snapshot_;
};

}  // namespace

absl::StatusOr<std::vector<v1::CheckResult>> ProveConservation(const Inspector& inspector,
                                                               const std::vector<v1::ProjectGrant>& projects) {
  return Proof(inspector).Run(projects);
}

}  // namespace pgconvoy::worker
