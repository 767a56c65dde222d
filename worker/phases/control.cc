#include "worker/phases/control.h"

#include "common/base/error.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {
namespace {

// One arbitrary key: whoever makes our tables in a database holds it.
constexpr char kLockSetup[] = "SELECT pg_catalog.pg_advisory_xact_lock(7239840112)";

constexpr char kFenceTable[] = R"sql(
CREATE SCHEMA IF NOT EXISTS pgconvoy;
CREATE TABLE IF NOT EXISTS pgconvoy.fence (
  store_id text NOT NULL,
  project text NOT NULL,
  fence bigint NOT NULL,
  raised_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (store_id, project)
);
)sql";

// What a login got in a database that was there before it, with what is needed to put that back. owners: whose the
// database and its objects were, by "classid:objid". connect: whose CONNECT was taken and to whom it was given for it;
// NULL while nothing was.
constexpr char kAccessTable[] = R"sql(
CREATE TABLE IF NOT EXISTS pgconvoy.access (
  store_id text NOT NULL,
  project text NOT NULL,
  migration text NOT NULL,
  fence bigint NOT NULL,
  database text NOT NULL,
  owners jsonb NOT NULL,
  connect jsonb,
  recorded_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (store_id, project, migration)
);
)sql";

// freeze: present while the project's writes are stopped by us. cutover: one row per switch of a registry row.
constexpr char kRegistryTables[] = R"sql(
CREATE TABLE IF NOT EXISTS pgconvoy.freeze (
  store_id text NOT NULL,
  project text NOT NULL,
  fence bigint NOT NULL,
  frozen_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (store_id, project)
);
CREATE TABLE IF NOT EXISTS pgconvoy.cutover (
  store_id text NOT NULL,
  project text NOT NULL,
  migration text NOT NULL,
  fence bigint NOT NULL,
  credentials_fence bigint NOT NULL,
  before jsonb NOT NULL,
  after jsonb NOT NULL,
  switched_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  undone_fence bigint,
  PRIMARY KEY (store_id, project, fence)
);
)sql";

// $1: the table, $2: its schema. Also a login that owns something there and is neither this session's nor a superuser.
constexpr char kHasOwnTable[] = R"sql(
SELECT pg_catalog.to_regclass($1) IS NOT NULL, pg_catalog.min(r.rolname::text), pg_catalog.current_database(),
       CURRENT_USER
FROM (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = $2
      UNION ALL
      SELECT c.relowner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $2) AS o (owner)
JOIN pg_catalog.pg_roles r ON r.oid = o.owner
WHERE r.rolname <> CURRENT_USER AND NOT r.rolsuper
)sql";

constexpr char kRaise[] = R"sql(
INSERT INTO pgconvoy.fence AS f (store_id, project, fence) VALUES ($1, $2, $3::bigint)
ON CONFLICT (store_id, project) DO UPDATE SET fence = excluded.fence, raised_at = pg_catalog.now()
WHERE f.fence <= excluded.fence
RETURNING f.fence
)sql";

// One after the other among all workers.
absl::Status RunSetup(pg::Connection& connection, const std::string& ddl) {
  PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(connection));
  PGC_ASSIGN_OR_RETURN(const pg::Result locked, connection.Exec(kLockSetup));
  PGC_RETURN_IF_ERROR(connection.ExecScript(ddl));
  return transaction->Commit();
}

// Two workers may get here at once; the loser finds the database made (42P04, or 23505 from the catalog's index).
absl::Status CreateControlDatabase(SessionPool& pool, const v1::Server& server, const std::string& application_name) {
  PGC_ASSIGN_OR_RETURN(PooledSession session,
                       pool.Acquire(server, LoginKind::kProvisioner, "postgres", application_name));
  const std::string database = ControlDatabase(server);
  const auto created = session->Exec("CREATE DATABASE " + Ident(database));
  const std::string state = pg::SqlStateOf(created.status());
  if (!created.ok() && state != "42P04" && state != "23505") {
    return Annotate(created.status(), "making the control database \"" + database + "\"");
  }
  // Each of them does this, and two at once would fail with "tuple concurrently updated".
  return RunSetup(*session, "REVOKE ALL ON DATABASE " + Ident(database) + " FROM PUBLIC");
}

absl::StatusOr<std::unique_ptr<pg::Transaction>> BeginFenced(pg::Connection& connection, const Attempt& attempt) {
  const std::string lock = "SELECT fence FROM pgconvoy.fence WHERE store_id = " + Literal(attempt.grant().store_id) +
                           " AND project = " + Literal(attempt.grant().ref) +
                           " AND fence = " + std::to_string(attempt.grant().fence) + " FOR UPDATE";
  pg::Result locked(nullptr);
  PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::BeginWith(connection, lock, locked));
  if (locked.rows() != 1) {
    return FenceNotHeld(connection, attempt, "pgconvoy.fence");
  }
  return transaction;
}

}  // namespace

absl::Status StaleFence(const Attempt& attempt) {
  return MakeError(Verdict::kFenced, "PGC-FENCE-STALE",
                   "project " + attempt.grant().ref + ": a newer attempt than fence " +
                       std::to_string(attempt.grant().fence) + " has taken over",
                   "nothing to do: the newer attempt goes on");
}

absl::Status FenceNotHeld(pg::Connection& connection, const Attempt& attempt, const std::string& table) {
  PGC_ASSIGN_OR_RETURN(const pg::Result row,
                       connection.Exec("SELECT fence FROM " + table + " WHERE store_id = $1 AND project = $2",
                                       {attempt.grant().store_id, attempt.grant().ref}));
  const int64_t seen = row.rows() == 0 ? 0 : row.Int(0, 0);
  const int64_t own = attempt.grant().fence;
  if (seen > own) {
    return StaleFence(attempt);
  }
  return MakeError(Verdict::kTransient, "PGC-FENCE-FORGOTTEN",
                   "project " + attempt.grant().ref + ": " + table + " holds " +
                       (seen == 0 ? "no fence" : "fence " + std::to_string(seen)) +
                       " although this attempt has raised it to " + std::to_string(own) +
                       ": the server has fallen back to an older state",
                   "find out whether the server was restored, or a standby without its last commits was promoted; "
                   "the next attempt begins with what is there");
}

std::vector<pg::Param> FenceParams(const Attempt& attempt) {
  return {attempt.grant().store_id, attempt.grant().ref, std::to_string(attempt.grant().fence)};
}

std::string ControlDatabase(const v1::Server& server) {
  return server.control_database().empty() ? "pgconvoy" : server.control_database();
}

absl::StatusOr<PooledSession> AcquireControl(SessionPool& pool,
                                             const v1::Server& server,
                                             const std::string& application_name) {
  const std::string database = ControlDatabase(server);
  auto session = pool.Acquire(server, LoginKind::kProvisioner, database, application_name);
  if (!session.ok() && pg::SqlStateOf(session.status()) == "3D000") {
    PGC_RETURN_IF_ERROR(CreateControlDatabase(pool, server, application_name));
    session = pool.Acquire(server, LoginKind::kProvisioner, database, application_name);
  }
  return session;
}

absl::StatusOr<bool> HasOwnTable(pg::Connection& connection, const std::string& table) {
  const std::string schema = table.substr(0, table.find('.'));
  PGC_ASSIGN_OR_RETURN(const pg::Result found, connection.Exec(kHasOwnTable, {table, schema}));
  if (found.Get(0, 1).has_value()) {
    return MakeError(Verdict::kOperator, "PGC-CONTROL-FOREIGN",
                     "schema " + schema + " in database \"" + found.Text(0, 2) +
                         "\", or something in it, belongs to \"" + found.Text(0, 1) + "\" and not to \"" +
                         found.Text(0, 3) + "\"",
                     "find out who made it; drop it, or make it over with REASSIGN OWNED or ALTER … OWNER TO");
  }
  return found.Bool(0, 0);
}

absl::Status EnsureControlTables(pg::Connection& connection) {
  PGC_ASSIGN_OR_RETURN(const bool exists, HasOwnTable(connection, "pgconvoy.access"));
  if (exists) {
    return absl::OkStatus();
  }
  PGC_RETURN_IF_ERROR(RunSetup(connection, std::string(kFenceTable) + kAccessTable));
  // IF NOT EXISTS takes what somebody has made meanwhile.
  return HasOwnTable(connection, "pgconvoy.access").status();
}

absl::Status EnsureRegistryTables(pg::Connection& connection) {
  PGC_ASSIGN_OR_RETURN(const bool exists, HasOwnTable(connection, "pgconvoy.cutover"));
  if (exists) {
    return absl::OkStatus();
  }
  const absl::Status made = RunSetup(connection, std::string(kFenceTable) + kRegistryTables);
  if (pg::SqlStateOf(made) == "42501") {
    return MakeError(Verdict::kPermanent, "PGC-REGISTRY-SCHEMA",
                     "the registrar may not make schema pgconvoy in the registry's database",
                     "run: GRANT CREATE ON DATABASE <registry database> TO <registrar>");
  }
  PGC_RETURN_IF_ERROR(made);
  return HasOwnTable(connection, "pgconvoy.cutover").status();
}

absl::Status RaiseFence(pg::Connection& connection, const Attempt& attempt) {
  auto raised = connection.Exec(kRaise, FenceParams(attempt));
  if (!raised.ok()) {
    return raised.status();
  }
  return raised->rows() == 1 ? absl::OkStatus() : StaleFence(attempt);
}

absl::Status InFencedTransaction(pg::Connection& connection,
                                 const Attempt& attempt,
                                 const std::function<absl::Status(pg::Connection&)>& body) {
  PGC_ASSIGN_OR_RETURN(const auto transaction, BeginFenced(connection, attempt));
  PGC_RETURN_IF_ERROR(body(connection));
  return transaction->Commit();
}

}  // namespace pgconvoy::worker
