#include <algorithm>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"
#include "worker/core/takeover.h"
#include "worker/phases/control.h"
#include "worker/phases/databases.h"
#include "worker/phases/phases.h"
#include "worker/phases/roles.h"
#include "worker/phases/schema.h"
#include "worker/phases/tenant_writes.h"

namespace pgconvoy::worker {
namespace {

// The ledger lives in the project's database until CLEANUP, and whoever finds it knows that the database is complete.
// load has one row once COPY has begun: which backup is being loaded, and whether what comes after VERIFY has been
// added. The lengths are beyond what can occur (a ref with a fence, two identifiers quoted); with them PostgreSQL makes
// no TOAST tables, which cost more than the rows.
constexpr char kLedgerTables[] = R"sql(
CREATE SCHEMA pgconvoy;
CREATE TABLE pgconvoy.load (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  backup_id varchar(80) NOT NULL,
  finished boolean NOT NULL DEFAULT false
);
CREATE TABLE pgconvoy.ledger (
  backup_id varchar(80) NOT NULL,
  relation varchar(300) NOT NULL,
  chunk integer NOT NULL,
  rows bigint NOT NULL,
  fence bigint NOT NULL,
  PRIMARY KEY (backup_id, relation, chunk)
);
)sql";

constexpr char kHasLedger[] = "SELECT pg_catalog.to_regclass('pgconvoy.ledger') IS NOT NULL";

constexpr char kOwnedByTemplateOwner[] = R"sql(
SELECT pg_catalog.count(*) FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
WHERE d.deptype = 'o' AND d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname = $1
  AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
)sql";

// STRATEGY exists from 15 on; 14 copies files.
std::string Strategy(const pg::Connection& connection) {
  return connection.server_version() >= 150000 ? " STRATEGY wal_log" : "";
}

// An attempt may have died before it gave the clone to the project.
absl::StatusOr<bool> IsComplete(Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_ASSIGN_OR_RETURN(const pg::Result ledger, target->Exec(kHasLedger));
  return ledger.Bool(0, 0);
}

// Returns whether the final database is there already; everything else that earlier attempts left is dropped.
absl::StatusOr<bool> TakeOverLeftovers(pg::Connection& provisioner, Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const std::vector<DatabaseInfo> databases, ProjectDatabases(provisioner, attempt));
  bool finished = false;
  int dropped = 0;
  for (const DatabaseInfo& database : databases) {
    const FoundDatabase found{database.name == attempt.project().database, database.own, database.invalid,
                              !database.connectable};
    bool complete = false;
    if (MayBeComplete(found)) {
      PGC_ASSIGN_OR_RETURN(complete, IsComplete(attempt));
    }
    const DatabaseAction action = DecideDatabase(found, complete);
    finished = finished || action == DatabaseAction::kKeep;
    if (action == DatabaseAction::kDrop) {
      // The login that looked into it is no member of a template's owner; it is made again.
      attempt.CloseTarget();
      attempt.login_password.reset();
      PGC_RETURN_IF_ERROR(DoomAndDrop(provisioner, attempt, database, dropped++));
    } else if (action == DatabaseAction::kForeign) {
      return MakeError(Verdict::kOperator, "PGC-DB-EXISTS",
                       "database \"" + database.name + "\" exists already and was not made by this migration",
                       "roll back the migration that made it, or rename it, or choose another target.database in the "
                       "plan; then retry");
    }
  }
  return finished;
}

absl::Status Clone(pg::Connection& provisioner, Attempt& attempt, const TemplateNames& from) {
  const std::string database = Ident(attempt.names().temporary_database);
  v1::Intent intent;
  intent.set_kind(v1::Intent::DATABASE);
  intent.set_server(attempt.project().target_server);
  intent.set_name(attempt.names().temporary_database);
  PGC_RETURN_IF_ERROR(attempt.ReportIntent(intent));
  PGC_FAILPOINT("worker.provision.before_create");
  PGC_RETURN_IF_ERROR(provisioner.ExecScript("CREATE DATABASE " + database + " TEMPLATE " + Ident(from.database) +
                                             " OWNER " + Ident(attempt.project().user) + Strategy(provisioner) +
                                             " ALLOW_CONNECTIONS false"));
  PGC_FAILPOINT("worker.provision.created");
  // A clone lets PUBLIC connect whatever its template said; nobody may come in before that is taken away.
  PGC_RETURN_IF_ERROR(InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
    return connection.ExecScript("REVOKE ALL ON DATABASE " + database + " FROM PUBLIC; COMMENT ON DATABASE " +
                                 database + " IS " + Literal(attempt.OwnerComment()) + "; ALTER DATABASE " +
                                 database + " ALLOW_CONNECTIONS true; ALTER DATABASE " + database + " RENAME TO " +
                                 Ident(attempt.project().database));
  }));
  PGC_FAILPOINT("worker.provision.renamed");
  return absl::OkStatus();
}

// The clone belongs to the template's owner, of which the attempt's login is a member until this is done.
absl::Status TakeOwnership(Attempt& attempt, const SourceSchema& schema, const TemplateNames& from) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const session, attempt.Target());
  PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(*session));
  const std::string user = Ident(attempt.project().user);
  std::string script = "SET LOCAL ROLE NONE;";
  for (const std::string& name : schema.schemas) {
    // Before 15, public belongs to the server's superuser.
    if (name != "public" || session->server_version() >= 150000) {
      script += "ALTER SCHEMA " + Ident(name) + " OWNER TO " + user + ";";
    }
  }
  script +=
      "REASSIGN OWNED BY " + Ident(from.owner) + " TO " + user + "; SET LOCAL ROLE " + user + ";" + kLedgerTables;
  PGC_RETURN_IF_ERROR(session->ExecScript(script));
  PGC_ASSIGN_OR_RETURN(const pg::Result left, session->Exec(kOwnedByTemplateOwner, {from.owner}));
  if (left.Int(0, 0) != 0) {
    return MakeError(Verdict::kPermanent, "PGC-PROVISION-OWNER",
                     left.Text(0, 0) + " object(s) of the clone still belong to the template's owner",
                     "the schema holds objects whose owner cannot be changed; leave them out of target.schemas");
  }
  PGC_FAILPOINT("worker.provision.before_owned");
  return transaction->Commit();
}

absl::Status LeaveTemplate(pg::Connection& provisioner, Attempt& attempt, const TemplateNames& from) {
  return InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
    return connection.ExecScript("REVOKE " + Ident(from.owner) + " FROM " + Ident(attempt.names().login));
  });
}

absl::Status CloneAsNewLogin(pg::Connection& provisioner,
                             Attempt& attempt,
                             const SourceSchema& schema,
                             TemplateNames& from) {
  PGC_ASSIGN_OR_RETURN(from, attempt.schemas().EnsureTemplate(attempt, schema));
  PGC_RETURN_IF_ERROR(EnsureAttemptLogin(attempt, from.owner));
  return Clone(provisioner, attempt, from);
}

// No such database, or no such role: a reconciler removes templates and their owners once no migration is under way,
// and a worker may remember one from before.
bool IsTemplateGone(const absl::Status& status) {
  return pg::SqlStateOf(status) == "3D000" || pg::SqlStateOf(status) == "42704";
}

absl::Status LayAndClone(pg::Connection& provisioner,
                         Attempt& attempt,
                         const SourceSchema& schema,
                         TemplateNames& from) {
  const absl::Status cloned = CloneAsNewLogin(provisioner, attempt, schema, from);
  if (!IsTemplateGone(cloned)) {
    return cloned;
  }
  attempt.schemas().ForgetTemplate(from);
  // The login may be a member of an owner that is gone; it is made again.
  attempt.login_password.reset();
  return CloneAsNewLogin(provisioner, attempt, schema, from);
}

absl::Status Build(pg::Connection& provisioner, Attempt& attempt, v1::ProvisionResult& result) {
  TemplateNames from;
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  absl::Status built = LayAndClone(provisioner, attempt, *schema, from);
  if (built.ok()) {
    built = TakeOwnership(attempt, *schema, from);
  }
  if (built.ok()) {
    built = LeaveTemplate(provisioner, attempt, from);
  }
  if (IsTemplateGone(built)) {
    return MakeError(Verdict::kTransient, "PGC-TEMPLATE-GONE", "template database " + from.database + " is gone");
  }
  result.set_template_database(from.database);
  return built;
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunProvision(Attempt& attempt) {
  v1::PhaseResult result;
  result.mutable_provision()->set_database(attempt.project().database);
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const bool finished, TakeOverLeftovers(*provisioner, attempt));
  if (!finished) {
    PGC_RETURN_IF_ERROR(Build(*provisioner, attempt, *result.mutable_provision()));
  }
  return result;
}

absl::StatusOr<v1::PhaseResult> UndoProvision(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult* const undo = result.mutable_undo();
  attempt.CloseTarget();
  if (!attempt.plan().has_cutover() && attempt.Result(Phase::kVerify) != nullptr) {
    // Nobody knows when the tenant was sent there, so it may have been in use since it was verified.
    PGC_RETURN_IF_ERROR(StopUnlessWritten(attempt, *undo));
  }
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt, attempt.project().user));
  if (role.exists && role.own) {
    // Only a member of the owner may rename or drop a database; CLEANUP has taken the membership away.
    PGC_RETURN_IF_ERROR(InFencedTransaction(*provisioner, attempt, [&](pg::Connection& connection) {
      return connection.ExecScript("GRANT " + Ident(attempt.project().user) + " TO CURRENT_USER");
    }));
  }
  PGC_ASSIGN_OR_RETURN(const std::vector<DatabaseInfo> databases, ProjectDatabases(*provisioner, attempt));
  int dropped = 0;
  for (const DatabaseInfo& database : databases) {
    if (database.own) {
      PGC_RETURN_IF_ERROR(DoomAndDrop(*provisioner, attempt, database, dropped++));
      undo->add_undone("dropped database " + database.name);
    }
  }
  return result;
}

}  // namespace pgconvoy::worker
