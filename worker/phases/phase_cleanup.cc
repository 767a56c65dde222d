#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"
#include "worker/phases/phases.h"
#include "worker/phases/roles.h"

namespace pgconvoy::worker {
namespace {

absl::Status DropLedger(Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  const absl::Status dropped = target->ExecScript("DROP SCHEMA IF EXISTS pgconvoy CASCADE");
  attempt.CloseTarget();
  return dropped;
}

absl::Status DropLogin(Attempt& attempt, bool leave_role) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  return InFencedTransaction(*provisioner, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_RETURN_IF_ERROR(connection.ExecScript("DROP ROLE IF EXISTS " + Ident(attempt.names().login)));
    PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(connection, attempt, attempt.project().user));
    return leave_role && role.own
               ? connection.ExecScript("REVOKE " + Ident(attempt.project().user) + " FROM CURRENT_USER")
               : absl::OkStatus();
  });
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunCleanup(Attempt& attempt) {
  v1::PhaseResult result;
  v1::CleanupResult* const cleanup = result.mutable_cleanup();
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(DropLedger(attempt));
    cleanup->add_removed("ledger");
    PGC_FAILPOINT("worker.cleanup.ledger_dropped");
  }
  if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(DropLogin(attempt, /*leave_role=*/true));
    cleanup->add_removed("login " + attempt.names().login);
    PGC_FAILPOINT("worker.cleanup.login_dropped");
  }
  if (attempt.has_registry()) {
    PGC_ASSIGN_OR_RETURN(const v1::PhaseResult thawed, UndoFreeze(attempt));
    for (const std::string& line : thawed.undo().undone()) {
      cleanup->add_removed(line);
    }
  }
  return result;
}

absl::StatusOr<v1::PhaseResult> CleanupRollback(Attempt& attempt) {
  v1::PhaseResult result;
  result.mutable_undo();
  attempt.CloseTarget();
  if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(DropLogin(attempt, /*leave_role=*/false));
  }
  return result;
}

}  // namespace pgconvoy::worker
