#include "worker/phases/tenant_writes.h"

#include <algorithm>

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/core/takeover.h"
#include "worker/phases/control.h"
#include "worker/phases/databases.h"
#include "worker/phases/roles.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

// What the migration did not bring: relations and functions in other schemas, and large objects. The ledger is in
// schema pgconvoy until CLEANUP.
constexpr char kMadeByTenant[] = R"sql(
WITH other AS (
  SELECT oid FROM pg_catalog.pg_namespace
  WHERE nspname <> ALL ($1::pg_catalog.name[]) AND nspname !~ '^pg_'
    AND nspname NOT IN ('information_schema', 'pgconvoy')
)
SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM other))
    OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM other))
    OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
)sql";

// $1: the schemas, $2: the tables of the plan. A partition of one of them was loaded with it.
constexpr char kUnmovedTables[] = R"sql(
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = ANY ($1::pg_catalog.name[])
  AND c.oid <> ALL ($2::pg_catalog.regclass[]::pg_catalog.oid[])
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) a
                  WHERE a.relid::pg_catalog.oid = ANY ($2::pg_catalog.regclass[]::pg_catalog.oid[]))
)sql";

absl::StatusOr<bool> DefinitionsChanged(Attempt& attempt, const SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_ASSIGN_OR_RETURN(const auto objects, ListObjects(*target, attempt.plan(), schema.schemas));
  PGC_ASSIGN_OR_RETURN(const pg::Result made, target->Exec(kMadeByTenant, {TextArray(schema.schemas)}));
  return objects != schema.objects || made.Bool(0, 0);
}

absl::StatusOr<bool> SequencesMoved(Attempt& attempt, const SourceSchema& schema, const v1::VerifyResult& verified) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_ASSIGN_OR_RETURN(const auto now, ReadSequences(*target, schema));
  return !std::equal(now.begin(), now.end(), verified.sequences().begin(), verified.sequences().end(),
                     [](const v1::SequenceValue& a, const v1::SequenceValue& b) {
                       return a.last_value() == b.last_value() && a.is_called() == b.is_called();
                     });
}

// Tables that the plan does not move came empty.
absl::StatusOr<bool> UnmovedTablesFilled(const SourceSchema& schema, pg::Connection& target) {
  std::vector<std::string> moved;
  for (const TableInfo& table : schema.tables) {
    moved.push_back(SplitTable(table.name).Quoted());
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result tables,
                       target.Exec(kUnmovedTables, {TextArray(schema.schemas), TextArray(moved)}));
  for (int row = 0; row < tables.rows(); ++row) {
    const std::string table = Qualified(tables.Text(row, 0), tables.Text(row, 1));
    PGC_ASSIGN_OR_RETURN(const pg::Result filled, target.Exec("SELECT EXISTS (SELECT FROM " + table + ")"));
    if (filled.Bool(0, 0)) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<bool> RowsChanged(Attempt& attempt, const SourceSchema& schema, const v1::VerifyResult& verified) {
  bool changed = false;
  const absl::Status compared = WithoutForce(attempt, schema, [&](pg::Connection& target) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(changed, UnmovedTablesFilled(schema, target));
    PGC_ASSIGN_OR_RETURN(const auto now, TargetDigests(attempt, schema));
    changed = changed || !FirstDifference({verified.tables().begin(), verified.tables().end()}, now).empty();
    return absl::OkStatus();
  });
  PGC_RETURN_IF_ERROR(compared);
  return changed;
}

absl::StatusOr<bool> TenantHasWritten(Attempt& attempt) {
  const v1::PhaseResult* const verified = attempt.Result(Phase::kVerify);
  if (verified == nullptr) {
    return true;
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  PGC_ASSIGN_OR_RETURN(const bool redefined, DefinitionsChanged(attempt, *schema));
  PGC_ASSIGN_OR_RETURN(const bool counted, SequencesMoved(attempt, *schema, verified->verify()));
  if (redefined || counted) {
    return true;
  }
  return RowsChanged(attempt, *schema, verified->verify());
}

absl::Status SetLogin(pg::Connection& provisioner, const Attempt& attempt, bool allowed) {
  return InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
    return connection.ExecScript("ALTER ROLE " + Ident(attempt.project().user) + (allowed ? " LOGIN" : " NOLOGIN"));
  });
}

// Keeps what the tenant wrote under names that nobody uses, for as long as the operator wants. One transaction: a
// database without its role, or a role without its database, would stop the rollback for good.
absl::Status SetAside(pg::Connection& provisioner, Attempt& attempt, v1::UndoResult& undo) {
  const std::string kept = attempt.names().kept;
  const std::string database = Ident(attempt.project().database);
  const std::string user = Ident(attempt.project().user);
  PGC_RETURN_IF_ERROR(EndSessionsIn(provisioner, attempt.project().database));
  const absl::Status done = InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
    return connection.ExecScript("GRANT " + user + " TO CURRENT_USER; ALTER DATABASE " + database +
                                 " ALLOW_CONNECTIONS false; ALTER DATABASE " + database + " RENAME TO " +
                                 Ident(kept) + "; ALTER ROLE " + user + " RENAME TO " + Ident(kept));
  });
  PGC_RETURN_IF_ERROR(done);
  undo.add_undone("kept the written database and its role as " + kept);
  return absl::OkStatus();
}

absl::StatusOr<bool> StopAndCompare(pg::Connection& provisioner, Attempt& attempt, const DatabaseInfo& database) {
  PGC_RETURN_IF_ERROR(SetLogin(provisioner, attempt, false));
  PGC_RETURN_IF_ERROR(
      EndSessions(provisioner, attempt, {{attempt.project().user}, /*older_attempts=*/false, /*own_role_only=*/false})
          .status());
  if (!database.connectable) {
    // An earlier rollback was about to drop it.
    PGC_RETURN_IF_ERROR(InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
      return connection.ExecScript("GRANT " + Ident(attempt.project().user) + " TO CURRENT_USER; ALTER DATABASE " +
                                   Ident(database.name) + " ALLOW_CONNECTIONS true");
    }));
  }
  const auto written = TenantHasWritten(attempt);
  attempt.CloseTarget();
  return written;
}

}  // namespace

// Nothing is lost either way: a tenant that wrote goes on working where it is until an operator decides.
absl::Status StopUnlessWritten(Attempt& attempt, v1::UndoResult& undo) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const auto databases, ProjectDatabases(*provisioner, attempt));
  const auto found = std::find_if(databases.begin(), databases.end(), [&](const DatabaseInfo& database) {
    return database.name == attempt.project().database;
  });
  if (found == databases.end()) {
    return absl::OkStatus();
  }
  if (!found->own) {
    return MakeError(Verdict::kOperator, "PGC-ROLLBACK-FOREIGN",
                     "database \"" + found->name + "\" is not marked as this migration's any more",
                     "find out who changed its comment; if it is the project's, run COMMENT ON DATABASE " +
                         Ident(found->name) + " IS " + Literal(attempt.OwnerComment()) + " and retry the rollback");
  }
  const auto written = StopAndCompare(*provisioner, attempt, *found);
  switch (DecideWrites(written.ok(), written.ok() && *written, attempt.grant().discard_writes)) {
    case WritesAction::kGoOn: return absl::OkStatus();
    case WritesAction::kSetAside: return SetAside(*provisioner, attempt, undo);
    case WritesAction::kGiveBack: break;
  }
  PGC_RETURN_IF_ERROR(SetLogin(*provisioner, attempt, true));
  PGC_RETURN_IF_ERROR(written.status());
  return MakeError(Verdict::kOperator, "PGC-ROLLBACK-WRITES",
                   "the project has written to its new database since it was verified; a rollback would lose that",
                   "leave it where it is, or run `pgconvoy rollback --project REF --discard-writes` (the database is "
                   "kept under another name)");
}

}  // namespace pgconvoy::worker
