#include <functional>

#include "common/base/error.h"
#include "common/plan/table_pattern.h"
#include "worker/core/sql.h"
#include "worker/phases/checks.h"
#include "worker/phases/fallback.h"
#include "worker/phases/phases.h"
#include "worker/phases/roles.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

// $1: the database; $2: roles that may connect. Superusers cannot be kept out and are not counted. Asked by number:
// other projects' logins end at any moment, and a name that is gone would be an error. A server has a login for each of
// its projects, so that only those are asked about whom the database's own list lets in, by themselves or as members.
constexpr char kOthersWhoConnect[] = R"sql(
WITH RECURSIVE listed AS MATERIALIZED (
  SELECT a.grantee AS role FROM pg_catalog.pg_database d
  CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
  WHERE d.datname = $1 AND a.privilege_type = 'CONNECT'
  UNION SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = $1
), let_in AS (
  SELECT role FROM listed
  UNION SELECT m.member FROM pg_catalog.pg_auth_members m JOIN let_in ON let_in.role = m.roleid
), candidate AS MATERIALIZED (
  SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r
  WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> ALL ($2::pg_catalog.name[])
    AND (EXISTS (SELECT FROM listed WHERE role = 0) OR r.oid IN (SELECT role FROM let_in))
)
SELECT pg_catalog.string_agg(rolname, ', ' ORDER BY rolname) FROM candidate
WHERE pg_catalog.has_database_privilege(oid, $1, 'CONNECT')
)sql";

struct Column {
  TableName table;
  std::string column;
};

Column SplitColumn(const std::string& path) {
  const std::vector<std::string> parts = SplitName(path);
  return {{parts[0], parts[1]}, parts[2]};
}

absl::Status CheckLogin(Attempt& attempt, CheckList& checks) {
  if (!attempt.password.has_value()) {
    // An earlier attempt made the password and tested the login before it forgot it.
    checks.Add("login-as-project", attempt.Result(Phase::kCredentials) != nullptr,
               "the credentials were never tested");
    return absl::OkStatus();
  }
  auto session = SessionPool::Open(attempt.login_server(), attempt.project().user, *attempt.password,
                                   attempt.login_database(), attempt.names().application_name, {});
  if (!session.ok() && VerdictOf(session.status()) != Verdict::kPermanent) {
    return session.status();
  }
  checks.Add("login-as-project", session.ok(), session.ok() ? "" : Describe(session.status()));
  return absl::OkStatus();
}

absl::Status CheckRole(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt, attempt.project().user));
  const v1::PhaseResult* const made = attempt.Result(Phase::kCredentials);
  if (role.own && made != nullptr && made->credentials().revoked()) {
    checks.Add({.name = "role-made",
                .passed = false,
                .message = "the login of role \"" + attempt.project().user + "\" was revoked",
                .remedy = "`pgconvoy credentials rotate` gives it back",
                .warning_only = true});
    return absl::OkStatus();
  }
  checks.Add({.name = "role-made",
              .passed = role.own && role.can_login,
              .message = "role \"" + attempt.project().user + "\" is gone, or may not log in",
              .remedy = "retry the project"});
  return absl::OkStatus();
}

absl::Status CheckNobodyElse(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  const std::string allowed =
      TextArray({attempt.project().user, attempt.names().login, attempt.target_server().provisioner().user()});
  PGC_ASSIGN_OR_RETURN(const pg::Result others,
                       provisioner->Exec(kOthersWhoConnect, {attempt.project().database, allowed}));
  checks.Add(
      {.name = "nobody-else-connects",
       .passed = !others.Get(0, 0).has_value(),
       .message = "these logins may connect to the project's database: " + others.Text(0, 0),
       .remedy = "REVOKE CONNECT ON DATABASE " + Ident(attempt.project().database) + " FROM " + others.Text(0, 0)});
  return absl::OkStatus();
}

absl::Status CheckOnlyOwnRows(Attempt& attempt,
                              const SourceSchema& schema,
                              pg::Connection& target,
                              CheckList& checks) {
  for (const TableInfo& info : schema.tables) {
    const v1::Table& table = info.entry;
    if (table.where().empty()) {
      continue;
    }
    PGC_ASSIGN_OR_RETURN(const std::string where, plan::RenderSql(table.where(), attempt.values()));
    PGC_ASSIGN_OR_RETURN(const pg::Result foreign,
                         target.Exec("SELECT pg_catalog.count(*) FROM " + SplitTable(table.table()).Quoted() +
                                     " WHERE (" + where + ") IS NOT TRUE"));
    checks.Add("only-own-rows:" + table.table(), foreign.Int(0, 0) == 0,
               foreign.Text(0, 0) + " row(s) of other projects are in the target");
  }
  return absl::OkStatus();
}

// How many values of a link refer to nothing, with the rows of either side as queries.
std::string OrphansSql(const Column& from,
                       const std::string& from_rows,
                       const Column& to,
                       const std::string& to_rows) {
  const std::string a = "a." + Ident(from.column);
  return "SELECT pg_catalog.count(*) FROM (" + from_rows + ") a WHERE " + a +
         " IS NOT NULL AND NOT EXISTS (SELECT 1 FROM (" + to_rows + ") b WHERE b." + Ident(to.column) +
         "::pg_catalog.text = " + a + "::pg_catalog.text)";
}

using RowsOf = std::function<absl::StatusOr<std::string>(const TableName&)>;

absl::Status CheckLinks(Attempt& attempt, pg::Connection& connection, const RowsOf& rows_of, CheckList& checks) {
  for (const v1::Link& link : attempt.plan().links()) {
    const Column from = SplitColumn(link.from());
    const Column to = SplitColumn(link.to());
    PGC_ASSIGN_OR_RETURN(const std::string from_rows, rows_of(from.table));
    PGC_ASSIGN_OR_RETURN(const std::string to_rows, rows_of(to.table));
    PGC_ASSIGN_OR_RETURN(const pg::Result orphans, connection.Exec(OrphansSql(from, from_rows, to, to_rows)));
    checks.Add({.name = "link:" + link.from() + "->" + link.to(),
                .passed = orphans.Int(0, 0) == 0,
                .message = orphans.Text(0, 0) + " value(s) refer to nothing",
                .measured = orphans.Text(0, 0),
                .needed = "0"});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> WholeTable(const TableName& table) { return "SELECT * FROM " + table.Quoted(); }

absl::Status CheckLinksOfTarget(Attempt& attempt, pg::Connection& target, CheckList& checks) {
  return CheckLinks(attempt, target, WholeTable, checks);
}

absl::Status CheckLinksOfSource(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  const auto rows_of = [&attempt](const TableName& name) -> absl::StatusOr<std::string> {
    for (const v1::Table& table : attempt.plan().tables()) {
      if (plan::TakesTable(table, name.schema, name.table) && !table.where().empty()) {
        PGC_ASSIGN_OR_RETURN(const std::string where, plan::RenderSql(table.where(), attempt.values()));
        return "SELECT * FROM " + name.Quoted() + " WHERE (" + where + ")";
      }
    }
    return WholeTable(name);
  };
  return CheckLinks(attempt, *reader, rows_of, checks);
}

absl::Status CheckLinksNow(Attempt& attempt, CheckList& checks) {
  if (!attempt.has_target() || attempt.grant().fence == 0) {
    return CheckLinksOfSource(attempt, checks);
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  return WithoutForce(attempt, *schema,
                      [&](pg::Connection& target) { return CheckLinksOfTarget(attempt, target, checks); });
}

absl::Status CheckTarget(Attempt& attempt, CheckList& checks) {
  PGC_RETURN_IF_ERROR(CheckNobodyElse(attempt, checks));
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  return WithoutForce(attempt, *schema, [&](pg::Connection& target) -> absl::Status {
    PGC_RETURN_IF_ERROR(CheckOnlyOwnRows(attempt, *schema, target, checks));
    return CheckLinksOfTarget(attempt, target, checks);
  });
}

absl::Status CheckCredentials(Attempt& attempt, CheckList& checks) {
  PGC_RETURN_IF_ERROR(CheckRole(attempt, checks));
  return CheckLogin(attempt, checks);
}

bool Skipped(const Attempt& attempt) { return attempt.plan().execution().skip_post_validation(); }

}  // namespace

absl::StatusOr<v1::ChecksResult> PostChecks(Attempt& attempt) {
  v1::ChecksResult outcome;
  CheckList checks(attempt, outcome, Skipped(attempt));
  if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(checks.Group("credentials", CheckCredentials(attempt, checks)));
  }
  // Whoever only looks may not end the sessions that this finds.
  if (attempt.has_fallback() && !attempt.inspects()) {
    PGC_RETURN_IF_ERROR(checks.Group("fallback", CheckFallbackUnused(attempt, checks)));
  }
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(checks.Group("target", CheckTarget(attempt, checks)));
  }
  PGC_RETURN_IF_ERROR(checks.RunPlanChecks(v1::Check::POST));
  return outcome;
}

absl::StatusOr<v1::ChecksResult> IntegrityChecks(Attempt& attempt) {
  v1::ChecksResult outcome;
  CheckList checks(attempt, outcome, Skipped(attempt));
  if (attempt.has_tables()) {
    PGC_RETURN_IF_ERROR(checks.Group("links", CheckLinksNow(attempt, checks)));
  }
  PGC_RETURN_IF_ERROR(checks.RunPlanChecks(v1::Check::INTEGRITY));
  return outcome;
}

absl::StatusOr<v1::PhaseResult> RunPostValidation(Attempt& attempt) {
  v1::PhaseResult result;
  PGC_ASSIGN_OR_RETURN(*result.mutable_checks(), PostChecks(attempt));
  CheckList checks(attempt, *result.mutable_checks(), Skipped(attempt));
  if (attempt.has_transform()) {
    PGC_RETURN_IF_ERROR(CheckLinksOfSource(attempt, checks));
  }
  PGC_RETURN_IF_ERROR(checks.RunPlanChecks(v1::Check::INTEGRITY));
  PGC_RETURN_IF_ERROR(checks.Verdict());
  return result;
}

}  // namespace pgconvoy::worker
