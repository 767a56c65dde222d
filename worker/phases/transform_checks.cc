#include <algorithm>
#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"
#include "worker/phases/change_log.h"
#include "worker/phases/columns.h"
#include "worker/phases/policies.h"
#include "worker/phases/tables.h"
#include "worker/phases/transform.h"
#include "worker/phases/transform_store.h"

namespace pgconvoy::worker {
namespace {

constexpr char kSelf[] = R"sql(
SELECT rolsuper, pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
                 OR pg_catalog.to_regclass('pgconvoy_transform.policy') IS NOT NULL,
       pg_catalog.current_database()
FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER
)sql";

constexpr char kOwns[] = R"sql(
SELECT pg_catalog.pg_has_role(CURRENT_USER, relowner, 'USAGE'), pg_catalog.pg_get_userbyid(relowner)
FROM pg_catalog.pg_class WHERE oid = $1::regclass
)sql";

// $1: a table of the plan, $2: all of them. A change there would reach these tables, and the log would not know.
constexpr char kReached[] = R"sql(
SELECT DISTINCT n.nspname || '.' || c.relname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.confrelid = $1::regclass
  AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
  AND k.conrelid <> ALL ($2::pg_catalog.regclass[]::pg_catalog.oid[])
ORDER BY 1
)sql";

class TransformChecks {
 public:
  TransformChecks(Attempt& attempt, pg::Connection& connection, CheckList& checks)
      : attempt_(attempt), plan_(attempt.plan()), connection_(connection), checks_(checks) {
    for (const v1::Table& table : plan_.tables()) {
      quoted_.push_back(SplitTable(table.table()).Quoted());
    }
  }

  absl::Status Run() {
    PGC_RETURN_IF_ERROR(Privileges());
    PGC_ASSIGN_OR_RETURN(const auto described, DescribeInPlace(connection_, attempt_));
    for (size_t i = 0; i < quoted_.size(); ++i) {
      PGC_RETURN_IF_ERROR(Table(plan_.tables(static_cast<int>(i)), quoted_[i]));
    }
    return Statements();
  }

 private:
  std::string User() const { return attempt_.source_server().transformer().user(); }

  absl::Status Privileges() {
    PGC_ASSIGN_OR_RETURN(const pg::Result self, connection_.Exec(kSelf));
    checks_.Add("transformer-not-superuser", !self.Bool(0, 0),
                "the transformer is a superuser; use the login that owns the tables", true);
    checks_.Add({.name = "transformer-may-keep-a-log",
                 .passed = self.Bool(0, 1),
                 .message = "the transformer may not make schema pgconvoy_transform",
                 .remedy = "GRANT CREATE ON DATABASE " + Ident(self.Text(0, 2)) + " TO " + Ident(User())});
    return absl::OkStatus();
  }

  absl::Status Table(const v1::Table& table, const std::string& quoted) {
    PGC_ASSIGN_OR_RETURN(const pg::Result owns, connection_.Exec(kOwns, {quoted}));
    checks_.Add({.name = "transformer-owns:" + table.table(),
                 .passed = owns.Bool(0, 0),
                 .message = "the table belongs to " + owns.Text(0, 1),
                 .remedy = "GRANT " + Ident(owns.Text(0, 1)) + " TO " + Ident(User())});
    PGC_ASSIGN_OR_RETURN(const pg::Result reached, connection_.Exec(kReached, {quoted, TextArray(quoted_)}));
    std::string names;
    for (int row = 0; row < reached.rows(); ++row) {
      names += (row == 0 ? "" : ", ") + reached.Text(row, 0);
    }
    checks_.Add("cascades-are-logged:" + table.table(), names.empty(),
                "a change of " + table.table() + " can change " + names +
                    " by ON DELETE or ON UPDATE; list them in the plan's tables");
    return CheckValuesMapped(attempt_, connection_, table, checks_);
  }

  // Rolled back: a statement may need what a step before it has made.
  absl::Status Statements() {
    PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(connection_));
    PGC_RETURN_IF_ERROR(connection_.ExecScript("SET LOCAL lock_timeout = '2s'"));
    const v1::Transform& transform = plan_.transform();
    for (int i = 0; i < transform.prepare_size(); ++i) {
      PGC_RETURN_IF_ERROR(
          Fits("transform.prepare[" + std::to_string(i) + "].apply", "", transform.prepare(i).apply()));
    }
    for (int i = 0; i < transform.policies_size(); ++i) {
      PGC_RETURN_IF_ERROR(PoliciesFit("transform.policies[" + std::to_string(i) + "]", transform.policies(i)));
    }
    for (int i = 0; i < plan_.tables_size(); ++i) {
      PGC_RETURN_IF_ERROR(ColumnsFit("tables[" + std::to_string(i) + "].columns", plan_.tables(i)));
    }
    for (int i = 0; i < transform.changes_size(); ++i) {
      PGC_RETURN_IF_ERROR(
          Fits("transform.changes[" + std::to_string(i) + "]", "PREPARE pgc_check AS ", transform.changes(i)));
    }
    return absl::OkStatus();
  }

  absl::Status Fits(const std::string& field, const std::string& verb, const std::string& sql) {
    PGC_ASSIGN_OR_RETURN(const std::string rendered, plan::RenderSql(sql, attempt_.values()));
    return Try(field, [&] { return connection_.Exec(verb + rendered).status(); });
  }

  absl::Status PoliciesFit(const std::string& field, const v1::PolicyReplacement& replacement) {
    PGC_ASSIGN_OR_RETURN(const auto statements, RenderAll(replacement.create(), attempt_.values()));
    return Try(field, [&] { return ReplacePolicies(connection_, SplitTable(replacement.table()), statements); });
  }

  absl::Status ColumnsFit(const std::string& field, const v1::Table& table) {
    return Try(field, [&]() -> absl::Status {
      PGC_ASSIGN_OR_RETURN(const std::string update, UpdateColumnsSql(connection_, attempt_, table));
      return update.empty() ? absl::OkStatus() : connection_.Exec("PREPARE pgc_check AS " + update).status();
    });
  }

  // A statement that does not fit leaves the transaction as it was before it.
  template <typename Body>
  absl::Status Try(const std::string& field, const Body& body) {
    PGC_RETURN_IF_ERROR(connection_.ExecScript("SAVEPOINT pgc_check"));
    const absl::Status fits = body();
    if (!fits.ok() && VerdictOf(fits) != Verdict::kPermanent) {
      return fits;
    }
    PGC_RETURN_IF_ERROR(connection_.ExecScript(fits.ok() ? "DEALLOCATE ALL; RELEASE SAVEPOINT pgc_check"
                                                         : "ROLLBACK TO SAVEPOINT pgc_check"));
    PGC_ASSIGN_OR_RETURN(const std::string hint, ColumnHint(connection_, fits, quoted_));
    checks_.Add("statement-fits:" + field, fits.ok(), fits.ok() ? "" : Describe(fits) + hint);
    return absl::OkStatus();
  }

  Attempt& attempt_;
  const v1::Plan& plan_;
  pg::Connection& connection_;
  CheckList& checks_;
  std::vector<std::string> quoted_;
};

// After the change every value must be one that the plan gives.
absl::Status CheckNewValues(pg::Connection& connection, const Attempt& attempt, const v1::Table& table) {
  PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(table, attempt.values()));
  for (const v1::Column& column : table.columns()) {
    if (column.values().empty() || column.on_unmapped() == v1::Column::KEEP) {
      continue;
    }
    std::set<std::string> wanted;
    for (const auto& [from, to] : column.values()) {
      wanted.insert(to);
    }
    const std::string value = Ident(column.name()) + "::pg_catalog.text";
    PGC_ASSIGN_OR_RETURN(const pg::Result wrong,
                         connection.Exec("SELECT pg_catalog.count(*) FROM " + SplitTable(table.table()).Quoted() +
                                             (condition.empty() ? " WHERE " : condition + " AND ") + value +
                                             " <> ALL ($1::pg_catalog.text[])",
                                         {TextArray({wanted.begin(), wanted.end()})}));
    if (wrong.Int(0, 0) != 0) {
      return MakeError(Verdict::kPermanent, "PGC-VERIFY-VALUES",
                       wrong.Text(0, 0) + " row(s) of " + table.table() + " have a value in " + column.name() +
                           " that the plan does not give",
                       "look for writers that still use the old values; stop them with plan.freeze");
    }
  }
  return absl::OkStatus();
}

const v1::TableDigest* FindDigest(const v1::BackupResult& backup, const std::string& table) {
  const auto found = std::find_if(backup.tables().begin(), backup.tables().end(),
                                  [&](const v1::TableDigest& digest) { return digest.table() == table; });
  return found == backup.tables().end() ? nullptr : &*found;
}

// How many tables differ from the backup; with a freeze, none of those that must not change may.
absl::StatusOr<int> CompareWithBackup(const Attempt& attempt, const std::vector<v1::TableDigest>& now) {
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  int differ = 0;
  for (int i = 0; sealed != nullptr && i < attempt.plan().tables_size(); ++i) {
    const v1::Table& table = attempt.plan().tables(i);
    const v1::TableDigest* const before = FindDigest(sealed->backup(), table.table());
    const bool same = before != nullptr && before->digest() == now[static_cast<size_t>(i)].digest();
    differ += same ? 0 : 1;
    if (!same && table.unchanged() && attempt.plan().has_freeze()) {
      return MakeError(Verdict::kPermanent, "PGC-VERIFY-UNCHANGED",
                       table.table() + " is not what the backup holds, although it must not change",
                       "look for writers; stop them with plan.freeze");
    }
  }
  return differ;
}

}  // namespace

absl::Status CheckTransform(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession transformer, attempt.Transformer());
  checks.WarnIfExposed(attempt.project().source_server, *transformer);
  return TransformChecks(attempt, *transformer, checks).Run();
}

absl::Status VerifyTransform(Attempt& attempt, v1::VerifyResult& verify) {
  PGC_ASSIGN_OR_RETURN(PooledSession transformer, attempt.Transformer());
  PGC_ASSIGN_OR_RETURN(const auto record, FindTransform(*transformer, attempt));
  if (!record.has_value()) {
    return MakeError(Verdict::kPermanent, "PGC-VERIFY-TRANSFORM", "no transformation of this migration is in force");
  }
  if (const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup)) {
    verify.set_backup_id(sealed->backup().backup_id());
  }
  // Another worker may have changed the definitions that this one remembers.
  attempt.schemas().Forget(attempt);
  for (const v1::Table& table : attempt.plan().tables()) {
    PGC_RETURN_IF_ERROR(CheckNewValues(*transformer, attempt, table));
  }
  PGC_ASSIGN_OR_RETURN(const auto digests, SourceDigests(attempt));
  PGC_RETURN_IF_ERROR(CompareWithBackup(attempt, digests).status());
  verify.mutable_tables()->Assign(digests.begin(), digests.end());
  verify.mutable_sequences()->CopyFrom(record->result.sequences());
  return absl::OkStatus();
}

absl::Status VerifyTransformUndone(Attempt& attempt, v1::UndoResult& undo) {
  PGC_ASSIGN_OR_RETURN(PooledSession transformer, attempt.Transformer());
  PGC_ASSIGN_OR_RETURN(const auto record, FindTransform(*transformer, attempt));
  if (record.has_value()) {
    return MakeError(Verdict::kOperator, "PGC-ROLLBACK-LEFT",
                     "the transformation is still in force after the rollback", "retry");
  }
  undo.add_undone("no transformation is in force");
  if (attempt.Result(Phase::kBackup) == nullptr) {
    return absl::OkStatus();
  }
  attempt.schemas().Forget(attempt);
  PGC_ASSIGN_OR_RETURN(const auto digests, SourceDigests(attempt));
  PGC_ASSIGN_OR_RETURN(const int differ, CompareWithBackup(attempt, digests));
  undo.add_undone(differ == 0 ? "all tables are identical to the backup"
                              : std::to_string(differ) + " table(s) hold rows that were written since the backup");
  return absl::OkStatus();
}

}  // namespace pgconvoy::worker
