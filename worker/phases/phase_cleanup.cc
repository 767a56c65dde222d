#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"
#include "worker/phases/phases.h"
#include "worker/phases/roles.h"

namespace pgconvoy::worker {
namespace {

// Those of this project, this attempt's own with them.
absl::StatusOr<std::vector<std::string>> AllLogins(pg::Connection& provisioner, const Attempt& attempt) {
  return AttemptLogins(provisioner, attempt, attempt.grant().fence + 1);
}

// A tenant's code ran as such a login and may have left something that is its own, or was given to it.
absl::Status TakeFromLogins(Attempt& attempt, pg::Connection& target) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const std::vector<std::string> logins, AllLogins(*provisioner, attempt));
  const std::string own = Ident(attempt.names().login);
  std::string join;
  std::string take = "RESET ROLE;";
  for (const std::string& login : logins) {
    join += login == attempt.names().login ? "" : "GRANT " + Ident(login) + " TO " + own + ";";
    take += "REASSIGN OWNED BY " + Ident(login) + " TO " + Ident(attempt.project().user) + "; DROP OWNED BY " +
            Ident(login) + ";";
  }
  if (!join.empty()) {
    PGC_RETURN_IF_ERROR(InFencedTransaction(*provisioner, attempt,
                                            [&](pg::Connection& connection) { return connection.ExecScript(join); }));
  }
  return target.ExecScript(take + "SET ROLE " + Ident(attempt.project().user));
}

absl::Status DropLedger(Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_RETURN_IF_ERROR(TakeFromLogins(attempt, *target));
  const absl::Status dropped = target->ExecScript("DROP SCHEMA IF EXISTS pgconvoy CASCADE");
  attempt.CloseTarget();
  return dropped;
}

// Returns those that are gone.
absl::StatusOr<std::vector<std::string>> DropLogins(Attempt& attempt, bool leave_role) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const std::vector<std::string> logins, AllLogins(*provisioner, attempt));
  PGC_ASSIGN_OR_RETURN(std::vector<std::string> dropped, DropAttemptLogins(*provisioner, attempt, logins));
  const auto leave = [&](pg::Connection& connection) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(connection, attempt, attempt.project().user));
    return leave_role && role.own
               ? connection.ExecScript("REVOKE " + Ident(attempt.project().user) + " FROM CURRENT_USER")
               : absl::OkStatus();
  };
  PGC_RETURN_IF_ERROR(InFencedTransaction(*provisioner, attempt, leave));
  return dropped;
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
    PGC_ASSIGN_OR_RETURN(const auto dropped, DropLogins(attempt, /*leave_role=*/true));
    for (const std::string& login : dropped) {
      cleanup->add_removed("login " + login);
    }
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
    PGC_RETURN_IF_ERROR(DropLogins(attempt, /*leave_role=*/false).status());
  }
  return result;
}

}  // namespace pgconvoy::worker
