#include "worker/phases/fallback.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/plan/secret_ref.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"
#include "worker/phases/roles.h"

namespace pgconvoy::worker {
namespace {

constexpr char kWorksCheck[] = "fallback-works";

// An application that still has the old login is back within so long after its session was ended.
constexpr std::chrono::milliseconds kTimeToComeBack{500};

// $1: the database; $2: the fallback login. Its own CONNECT and PUBLIC's, as far as the owner gave them.
constexpr char kConnectOf[] = R"sql(
SELECT COALESCE(r.rolname, ''), a.is_grantable
FROM pg_catalog.pg_database d
CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE d.datname = $1 AND a.privilege_type = 'CONNECT' AND a.grantor = d.datdba
  AND (a.grantee = 0 OR r.rolname = $2)
ORDER BY 1
)sql";

// $1: the database; $2: logins. Those that may connect.
constexpr char kMayConnect[] = R"sql(
SELECT rolname FROM pg_catalog.pg_roles
WHERE rolname = ANY ($2::pg_catalog.name[]) AND pg_catalog.has_database_privilege(oid, $1, 'CONNECT')
)sql";

constexpr char kLockRecord[] = R"sql(
SELECT connect FROM pgconvoy.access WHERE store_id = $1 AND project = $2 AND migration = $3 FOR UPDATE
)sql";
constexpr char kSetConnect[] = R"sql(
UPDATE pgconvoy.access SET connect = $4::jsonb WHERE store_id = $1 AND project = $2 AND migration = $3 RETURNING 1
)sql";

// $1: the database; $2: the fallback login; $3: whether the database gets another owner. Ways in that no REVOKE from
// the login or PUBLIC closes; NULL when there is none.
constexpr char kOtherWaysIn[] = R"sql(
SELECT CASE
    WHEN f.oid IS NULL THEN 'it does not exist'
    WHEN f.rolsuper THEN 'it is a superuser'
    WHEN NOT $3::boolean AND pg_catalog.pg_has_role(f.oid, d.datdba, 'USAGE')
      THEN 'it is or acts as the database''s owner'
    ELSE (
      SELECT 'it is a member of ' || pg_catalog.string_agg(r.rolname, ', ' ORDER BY r.rolname)
      FROM pg_catalog.aclexplode(d.datacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
      WHERE a.privilege_type = 'CONNECT' AND r.oid NOT IN (f.oid, d.datdba)
        AND pg_catalog.pg_has_role(f.oid, r.oid, 'USAGE'))
  END
FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_roles f ON f.rolname = $2 WHERE d.datname = $1
)sql";

// $1: the database; $2: logins that keep their way in; $3: schemas. Who gets in as PUBLIC only, and could do something
// there. A server has a login for each of its projects, and asking about the rights of one costs more than all else
// here: asked are those only whom the lists of the database and the schemas name, by themselves or as members. The
// owner stands in for pg_database_owner, whose only member is written nowhere.
constexpr char kOnlyAsPublic[] = R"sql(
WITH RECURSIVE listed AS MATERIALIZED (
  SELECT a.grantee AS role FROM pg_catalog.pg_database d
  CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
  WHERE d.datname = $1 AND a.privilege_type = 'CONNECT'
), by_name AS (
  (SELECT role FROM listed WHERE role <> 0
   UNION SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = $1)
  UNION SELECT m.member FROM pg_catalog.pg_auth_members m JOIN by_name ON by_name.role = m.roleid
), schema_listed AS MATERIALIZED (
  SELECT a.grantee AS role FROM pg_catalog.pg_namespace n
  CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
  WHERE n.nspname = ANY ($3::pg_catalog.name[]) AND a.privilege_type = 'USAGE'
), uses AS (
  (SELECT role FROM schema_listed WHERE role <> 0
   UNION SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = $1
   UNION SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname IN ('pg_read_all_data', 'pg_write_all_data'))
  UNION SELECT m.member FROM pg_catalog.pg_auth_members m JOIN uses ON uses.role = m.roleid
), candidate AS MATERIALIZED (
  SELECT r.oid, r.rolname, r.oid IN (SELECT role FROM by_name) AS may_be_named FROM pg_catalog.pg_roles r
  WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> ALL ($2::pg_catalog.name[])
    AND EXISTS (SELECT FROM listed WHERE role = 0)
    AND (EXISTS (SELECT FROM schema_listed WHERE role = 0) OR r.oid IN (SELECT role FROM uses))
)
SELECT pg_catalog.string_agg(c.rolname, ', ' ORDER BY c.rolname) FROM candidate c
WHERE NOT (c.may_be_named AND EXISTS (
    SELECT FROM listed WHERE role <> 0 AND pg_catalog.pg_has_role(c.oid, role, 'USAGE')))
  AND (EXISTS (SELECT FROM schema_listed WHERE role = 0) OR EXISTS (
    SELECT FROM pg_catalog.pg_namespace n
    WHERE n.nspname = ANY ($3::pg_catalog.name[]) AND pg_catalog.has_schema_privilege(c.oid, n.oid, 'USAGE')))
)sql";

constexpr char kSessions[] = R"sql(
SELECT pid FROM pg_catalog.pg_stat_activity WHERE datname = $1 AND usename = $2 AND pid <> pg_catalog.pg_backend_pid()
)sql";

const v1::Fallback& FallbackOf(const Attempt& attempt) { return attempt.plan().credentials().fallback(); }

bool BecomesOwner(const Attempt& attempt) {
  return attempt.plan().credentials().permissions() == v1::Credentials::OWNER;
}

std::vector<pg::Param> RecordKey(const Attempt& attempt) {
  return {attempt.grant().store_id, attempt.grant().ref, attempt.grant().migration_id};
}

std::string OnDatabase(const Attempt& attempt) { return " CONNECT ON DATABASE " + Ident(attempt.login_database()); }

// The logins by which this plan itself looks into the database.
std::vector<std::string> PlanLogins(const Attempt& attempt) {
  const v1::Server& server = attempt.login_server();
  return {server.reader().user(), server.registrar().user(), server.transformer().user()};
}

absl::StatusOr<std::unique_ptr<pg::Connection>> LogIn(const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const Secret password,
                       plan::ResolveSecret(FallbackOf(attempt).password(), /*allow_literal=*/false));
  return SessionPool::Open(attempt.source_server(), attempt.project().fallback, password,
                           attempt.project().source_database, attempt.names().application_name, {});
}

// 0 when none is left a moment after those that were there have been ended.
absl::StatusOr<int> SessionsThatComeBack(pg::Connection& provisioner, const Attempt& attempt) {
  const std::vector<pg::Param> of = {attempt.login_database(), attempt.project().fallback};
  PGC_ASSIGN_OR_RETURN(const pg::Result before, provisioner.Exec(kSessions, of));
  for (int row = 0; row < before.rows(); ++row) {
    PGC_RETURN_IF_ERROR(
        provisioner.Exec("SELECT pg_catalog.pg_terminate_backend($1::int, 5000)", {before.Text(row, 0)}).status());
  }
  if (before.rows() > 0) {
    std::this_thread::sleep_for(kTimeToComeBack);
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result after, provisioner.Exec(kSessions, of));
  return after.rows();
}

absl::StatusOr<std::vector<std::string>> MayConnect(pg::Connection& connection,
                                                    const Attempt& attempt,
                                                    const std::vector<std::string>& logins) {
  PGC_ASSIGN_OR_RETURN(const pg::Result rows,
                       connection.Exec(kMayConnect, {attempt.login_database(), TextArray(logins)}));
  std::vector<std::string> may;
  for (int row = 0; row < rows.rows(); ++row) {
    may.push_back(rows.Text(row, 0));
  }
  return may;
}

// "" is PUBLIC.
std::string Grantee(const std::string& name) { return name.empty() ? "PUBLIC" : Ident(name); }

// Takes CONNECT from the login and from PUBLIC, gives it to those of `keep` that lose it by that, and returns the
// record from which it can be put back.
absl::StatusOr<nlohmann::json> TakeConnect(pg::Connection& connection,
                                           const Attempt& attempt,
                                           const std::vector<std::string>& keep) {
  nlohmann::json record = {{"taken", nlohmann::json::array()}, {"given", nlohmann::json::array()}};
  PGC_ASSIGN_OR_RETURN(const pg::Result present,
                       connection.Exec(kConnectOf, {attempt.login_database(), attempt.project().fallback}));
  for (int row = 0; row < present.rows(); ++row) {
    record["taken"].push_back({{"from", present.Text(row, 0)}, {"grantable", present.Bool(row, 1)}});
    PGC_RETURN_IF_ERROR(
        connection.ExecScript("REVOKE" + OnDatabase(attempt) + " FROM " + Grantee(present.Text(row, 0))));
  }
  PGC_ASSIGN_OR_RETURN(const auto still, MayConnect(connection, attempt, keep));
  for (const std::string& login : keep) {
    if (std::find(still.begin(), still.end(), login) == still.end()) {
      record["given"].push_back(login);
      PGC_RETURN_IF_ERROR(connection.ExecScript("GRANT" + OnDatabase(attempt) + " TO " + Ident(login)));
    }
  }
  return record;
}

absl::Status Refuse(pg::Connection& connection, const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const pg::Result record, connection.Exec(kLockRecord, RecordKey(attempt)));
  if (record.rows() == 1 && record.Get(0, 0).has_value()) {
    return absl::OkStatus();  // an earlier attempt did
  }
  PGC_ASSIGN_OR_RETURN(const auto keep, MayConnect(connection, attempt, PlanLogins(attempt)));
  PGC_ASSIGN_OR_RETURN(const nlohmann::json taken, TakeConnect(connection, attempt, keep));
  PGC_ASSIGN_OR_RETURN(const auto still, MayConnect(connection, attempt, {attempt.project().fallback}));
  if (!still.empty()) {
    return MakeError(Verdict::kPermanent, "PGC-CRED-FALLBACK-CONNECT",
                     "login \"" + attempt.project().fallback + "\" may connect to database \"" +
                         attempt.login_database() + "\" although CONNECT was taken from it and from PUBLIC",
                     "take away the membership or the grant by which it gets in, then retry");
  }
  std::vector<pg::Param> params = RecordKey(attempt);
  params.emplace_back(taken.dump());
  PGC_ASSIGN_OR_RETURN(const pg::Result kept, connection.Exec(kSetConnect, params));
  if (kept.rows() != 1) {
    return MakeError(Verdict::kOperator, "PGC-CRED-RECORD", "there is no record of what the login was given");
  }
  PGC_FAILPOINT("worker.fallback.before_commit");
  return absl::OkStatus();
}

absl::Status PutConnectBack(pg::Connection& connection, const Attempt& attempt, const std::string& text) {
  const auto record = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object()) {
    return MakeError(Verdict::kOperator, "PGC-CRED-RECORD", "the record of who might connect is damaged");
  }
  const std::string on = OnDatabase(attempt);
  for (const auto& taken : record["taken"]) {
    PGC_RETURN_IF_ERROR(connection.ExecScript("GRANT" + on + " TO " + Grantee(taken["from"].get<std::string>()) +
                                              (taken["grantable"].get<bool>() ? " WITH GRANT OPTION" : "")));
  }
  for (const auto& given : record["given"]) {
    PGC_RETURN_IF_ERROR(connection.ExecScript("REVOKE" + on + " FROM " + Ident(given.get<std::string>())));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ShutOutFallback(Attempt& attempt) {
  if (!FallbackOf(attempt).revoke_connect()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(PooledSession control, attempt.Provisioner());
  PGC_RETURN_IF_ERROR(InFencedTransaction(*control, attempt,
                                          [&](pg::Connection& connection) { return Refuse(connection, attempt); }));
  PGC_FAILPOINT("worker.fallback.refused");
  return SessionsThatComeBack(*control, attempt).status();
}

absl::Status LetFallbackIn(Attempt& attempt, v1::UndoResult& undo) {
  if (!FallbackOf(attempt).revoke_connect()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(PooledSession control, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*control, attempt, attempt.project().user));
  return InFencedTransaction(*control, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const pg::Result record, connection.Exec(kLockRecord, RecordKey(attempt)));
    if (record.rows() == 0 || !record.Get(0, 0).has_value()) {
      return absl::OkStatus();
    }
    if (role.own) {
      // It may own the database; CLEANUP has taken the membership away.
      PGC_RETURN_IF_ERROR(connection.ExecScript("GRANT " + Ident(attempt.project().user) + " TO CURRENT_USER"));
    }
    PGC_RETURN_IF_ERROR(PutConnectBack(connection, attempt, record.Text(0, 0)));
    std::vector<pg::Param> params = RecordKey(attempt);
    params.emplace_back(std::nullopt);
    PGC_RETURN_IF_ERROR(connection.Exec(kSetConnect, params).status());
    PGC_FAILPOINT("worker.fallback.before_undone");
    undo.add_undone("login " + attempt.project().fallback + " may connect again");
    return absl::OkStatus();
  });
}

absl::Status CheckFallbackWorks(Attempt& attempt, CheckList& checks) {
  const std::string& fallback = attempt.project().fallback;
  const auto session = LogIn(attempt);
  if (!session.ok() && VerdictOf(session.status()) != Verdict::kPermanent) {
    return session.status();
  }
  checks.Add({.name = kWorksCheck,
              .passed = session.ok(),
              .message = session.ok() ? "" : Describe(session.status()),
              .remedy = "correct credentials.fallback in the plan, or its password in the worker's environment"});
  if (!FallbackOf(attempt).revoke_connect()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.ProvisionerInDatabase());
  const std::string& database = attempt.login_database();
  PGC_ASSIGN_OR_RETURN(const pg::Result ways,
                       provisioner->Exec(kOtherWaysIn, {database, fallback, BecomesOwner(attempt) ? "t" : "f"}));
  checks.Add({.name = "fallback-can-be-kept-out",
              .passed = ways.rows() == 1 && !ways.Get(0, 0).has_value(),
              .message = "REVOKE CONNECT would not keep \"" + fallback + "\" out: " + ways.Text(0, 0),
              .remedy = "take that away from it, or leave out credentials.fallback.revoke_connect"});
  const auto& listed = attempt.plan().credentials().schemas();
  const std::vector<std::string> schemas(listed.begin(), listed.end());
  std::vector<std::string> keep = PlanLogins(attempt);
  keep.insert(keep.end(), {fallback, attempt.login_server().provisioner().user()});
  PGC_ASSIGN_OR_RETURN(const pg::Result others,
                       provisioner->Exec(kOnlyAsPublic, {database, TextArray(keep), TextArray(schemas)}));
  checks.Add(
      {.name = "nobody-else-is-kept-out",
       .passed = !others.Get(0, 0).has_value(),
       .message = "these logins get into the database as PUBLIC only and will be kept out: " + others.Text(0, 0),
       .remedy = "where one is needed there: GRANT CONNECT ON DATABASE " + Ident(database) + " TO the login",
       .warning_only = true});
  return absl::OkStatus();
}

absl::Status CheckFallbackUnused(Attempt& attempt, CheckList& checks) {
  const std::string& fallback = attempt.project().fallback;
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const int sessions, SessionsThatComeBack(*provisioner, attempt));
  checks.Add({.name = "fallback-unused",
              .passed = sessions == 0,
              .message = "the application still logs in as \"" + fallback + "\"",
              .remedy = "let it take its login from the registry",
              .measured = std::to_string(sessions) + " session(s)",
              .needed = "0 sessions"});
  if (!FallbackOf(attempt).revoke_connect()) {
    return absl::OkStatus();
  }
  const auto session = LogIn(attempt);
  if (!session.ok() && VerdictOf(session.status()) != Verdict::kPermanent) {
    return session.status();
  }
  checks.Add({.name = "fallback-refused",
              .passed = !session.ok(),
              .message = "login \"" + fallback + "\" still gets into the project's database",
              .remedy = "find out who gave it CONNECT since the cutover"});
  return absl::OkStatus();
}

absl::Status VerifyFallbackWorks(Attempt& attempt, v1::UndoResult& undo) {
  const v1::PhaseResult* const before = attempt.Result(Phase::kPreValidation);
  if (before == nullptr) {
    return absl::OkStatus();
  }
  const auto& checks = before->checks().checks();
  const bool worked = std::any_of(checks.begin(), checks.end(), [](const v1::CheckResult& check) {
    return check.name() == kWorksCheck && check.passed();
  });
  if (!worked) {
    return absl::OkStatus();
  }
  const auto session = LogIn(attempt);
  if (session.ok()) {
    undo.add_undone("login " + attempt.project().fallback + " works again");
    return absl::OkStatus();
  }
  if (VerdictOf(session.status()) != Verdict::kPermanent) {
    return session.status();
  }
  return MakeError(Verdict::kOperator, "PGC-ROLLBACK-FALLBACK",
                   "login \"" + attempt.project().fallback +
                       "\" worked before the migration and does not now: " + Describe(session.status()),
                   "give it back what it needs, then retry the rollback");
}

}  // namespace pgconvoy::worker
