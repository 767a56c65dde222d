#include "worker/phases/discover.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/model/model.h"
#include "worker/core/sql.h"
#include "worker/phases/estimate.h"
#include "worker/phases/phases.h"

namespace pgconvoy::worker {
namespace {

// docs/cli.md states these.
constexpr int64_t kMediumBytes = int64_t{1} << 30;
constexpr int64_t kHighBytes = int64_t{10} << 30;
constexpr int64_t kMediumRows = 1'000'000;
constexpr int64_t kLongTransactionS = 600;

// A reader that is no member of pg_read_all_stats sees its own sessions' only.
constexpr char kOldestTransaction[] = R"sql(
SELECT COALESCE(pg_catalog.max(pg_catalog.date_part('epoch', pg_catalog.now() - xact_start)), 0)::pg_catalog.int8
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
)sql";
constexpr char kExtensions[] = R"sql(
SELECT pg_catalog.string_agg(extname, ', ' ORDER BY extname) FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'
)sql";
constexpr char kSettings[] = R"sql(
SELECT pg_catalog.count(*) FROM pg_catalog.pg_db_role_setting s
JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase WHERE d.datname = pg_catalog.current_database()
)sql";
constexpr char kPolicyRoles[] = R"sql(
SELECT pg_catalog.string_agg(DISTINCT r.rolname, ', ') FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.oid = ANY (p.polroles)
WHERE n.nspname = ANY ($1::pg_catalog.name[])
)sql";
constexpr char kForeignTables[] = R"sql(
SELECT pg_catalog.string_agg(n.nspname || '.' || c.relname, ', ') FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'f' AND n.nspname = ANY ($1::pg_catalog.name[])
)sql";
constexpr char kLargeObjects[] = "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)";

void Raise(v1::Candidate& candidate, v1::Candidate::Risk risk, const std::string& reason) {
  candidate.set_risk(std::max(candidate.risk(), risk));
  candidate.add_reasons(reason);
}

void JudgeSize(const v1::Estimate& estimate, v1::Candidate& candidate) {
  candidate.set_bytes(estimate.source_bytes());
  if (estimate.source_bytes() > kHighBytes) {
    Raise(candidate, v1::Candidate::HIGH, "more than 10 GiB");
  } else if (estimate.source_bytes() > kMediumBytes) {
    Raise(candidate, v1::Candidate::MEDIUM, "more than 1 GiB");
  }
  if (estimate.rows() > kMediumRows) {
    Raise(candidate, v1::Candidate::MEDIUM, "more than 1,000,000 rows");
  }
}

void JudgeChecks(const v1::ChecksResult& checks, v1::Candidate& candidate) {
  for (const v1::CheckResult& check : checks.checks()) {
    if (check.passed() || check.warning()) {
      continue;
    }
    const bool taken = check.name() == "database-free" || check.name() == "role-free";
    candidate.set_status(taken && candidate.status() != "blocked" ? "exists" : "blocked");
    Raise(candidate, v1::Candidate::HIGH, "check " + check.name() + " fails: " + check.message());
  }
}

}  // namespace

std::string DiscoverSql(const v1::Plan& plan) {
  const v1::Registry& registry = plan.registry();
  std::string columns = Ident(registry.ref_column()) + "::pg_catalog.text, ";
  columns += registry.estimated_bytes().empty() ? "0" : "(" + registry.estimated_bytes() + ")::pg_catalog.int8";
  for (const std::string& attribute : registry.attribute_columns()) {
    columns += ", " + Ident(attribute) + "::pg_catalog.text";
  }
  return "SELECT " + columns + " FROM " + SplitTable(registry.table()).Quoted() +
         (registry.where().empty() ? "" : " WHERE " + registry.where()) + " ORDER BY 1";
}

absl::StatusOr<v1::ProjectSpec> DiscoveredProject(const v1::Plan& plan, const pg::Result& rows, int row) {
  v1::ProjectSpec project;
  project.set_ref(rows.Text(row, 0));
  if (!IsValidRef(project.ref())) {
    return InputError("PGC-PROJECT-REF", "the registry holds the illegal ref \"" + Printable(project.ref()) + "\"",
                      "allowed: [a-z0-9][a-z0-9_-]{0,39}; exclude it with registry.where");
  }
  project.set_estimated_bytes(std::max<int64_t>(0, rows.Int(row, 1)));
  for (int i = 0; i < plan.registry().attribute_columns_size(); ++i) {
    if (const auto value = rows.Get(row, i + 2)) {
      (*project.mutable_attributes())[plan.registry().attribute_columns(i)] = std::string(*value);
    }
  }
  return project;
}

absl::StatusOr<CandidateJudge::Surroundings> CandidateJudge::Look(Attempt& attempt) {
  Surroundings found;
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(const auto listed, MovedSchemas(*reader, attempt.plan()));
  const std::string schemas = TextArray(listed);
  PGC_ASSIGN_OR_RETURN(const pg::Result oldest, reader->Exec(kOldestTransaction));
  if (oldest.Int(0, 0) > kLongTransactionS) {
    found.high.push_back("a transaction has been open for " + oldest.Text(0, 0) + " s in the source database");
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result foreign, reader->Exec(kForeignTables, {schemas}));
  if (foreign.Get(0, 0)) {
    found.high.push_back("foreign tables: " + foreign.Text(0, 0));
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result large_objects, reader->Exec(kLargeObjects));
  if (large_objects.Bool(0, 0)) {
    found.high.push_back("the source database holds large objects, which are not copied");
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result extensions, reader->Exec(kExtensions));
  if (extensions.Get(0, 0)) {
    found.medium.push_back("extensions: " + extensions.Text(0, 0));
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result roles, reader->Exec(kPolicyRoles, {schemas}));
  if (roles.Get(0, 0)) {
    found.medium.push_back("policies name roles: " + roles.Text(0, 0));
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result settings, reader->Exec(kSettings));
  if (settings.Int(0, 0) > 0) {
    found.medium.push_back("the source database has settings of its own");
  }
  return found;
}

absl::Status CandidateJudge::Judge(Attempt& attempt, v1::Candidate& candidate) {
  PGC_ASSIGN_OR_RETURN(const v1::ChecksResult checks, PreChecks(attempt));
  JudgeChecks(checks, candidate);
  const std::string source = attempt.project().source_server + "\n" + attempt.project().source_database;
  if (!seen_.contains(source)) {
    PGC_ASSIGN_OR_RETURN(seen_[source], Look(attempt));
  }
  for (const std::string& reason : seen_.at(source).high) {
    Raise(candidate, v1::Candidate::HIGH, reason);
  }
  for (const std::string& reason : seen_.at(source).medium) {
    Raise(candidate, v1::Candidate::MEDIUM, reason);
  }
  PGC_ASSIGN_OR_RETURN(const v1::Estimate estimate, EstimateProject(attempt));
  JudgeSize(estimate, candidate);
  return absl::OkStatus();
}

v1::Candidate CandidateJudge::Judge(const v1::ProjectSpec& project) {
  v1::ProjectGrant grant;
  grant.set_ref(project.ref());
  *grant.mutable_attributes() = project.attributes();
  v1::Candidate candidate;
  candidate.set_ref(project.ref());
  candidate.set_status("ready");
  candidate.set_risk(v1::Candidate::LOW);
  const auto attempt = inspector_.Look(grant, "");
  const absl::Status judged = attempt.ok() ? Judge(**attempt, candidate) : attempt.status();
  if (!judged.ok()) {
    candidate.set_status("blocked");
    Raise(candidate, v1::Candidate::HIGH, CodeOf(judged) + ": " + MessageOf(judged));
  }
  if (candidate.reasons().empty()) {
    candidate.add_reasons("small, and nothing stands in its way");
  }
  return candidate;
}

}  // namespace pgconvoy::worker
