#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/pg/pg_error.h"
#include "common/plan/secret_ref.h"
#include "worker/core/sql.h"
#include "worker/core/takeover.h"
#include "worker/phases/access.h"
#include "worker/phases/control.h"
#include "worker/phases/phases.h"
#include "worker/phases/roles.h"

namespace pgconvoy::worker {
namespace {

absl::StatusOr<std::string> Recipient(const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const Secret key,
                       plan::ResolveSecret(attempt.plan().credentials().recipient(), /*allow_literal=*/true));
  return key.Reveal();
}

absl::Status SetRole(pg::Connection& connection, const Attempt& attempt, const std::string& verifier) {
  const std::string& user = attempt.project().user;
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(connection, attempt, user));
  const RoleAction action = DecideRole(role.exists, role.own);
  if (action == RoleAction::kForeign) {
    return MakeError(Verdict::kOperator, "PGC-CRED-EXISTS",
                     "role \"" + user + "\" exists already and was not made by this migration",
                     "roll back the migration that made it, or rename it, or choose another credentials.user in the "
                     "plan; then retry");
  }
  const std::string verb = action == RoleAction::kAlter ? "ALTER ROLE " : "CREATE ROLE ";
  return connection.ExecScript(verb + Ident(user) + " LOGIN PASSWORD " + Literal(verifier) + "; COMMENT ON ROLE " +
                               Ident(user) + " IS " + Literal(attempt.OwnerComment()) + "; GRANT " + Ident(user) +
                               " TO CURRENT_USER");
}

// A database that is still to come cannot be tried. The control database lets nobody in but the provisioner, so
// "permission denied for database", which the server says only after the password was accepted, is the proof that is
// looked for there.
absl::Status TestLogin(const Attempt& attempt, const std::string& user, const Secret& password) {
  const std::string& named = attempt.login_server().control_database();
  const std::string control = named.empty() ? "pgconvoy" : named;
  const auto session = SessionPool::Open(attempt.login_server(), user, password,
                                         attempt.has_target() ? control : attempt.login_database(),
                                         attempt.names().application_name, {});
  if (session.ok() || (attempt.has_target() && pg::SqlStateOf(session.status()) == "42501")) {
    return absl::OkStatus();
  }
  return Annotate(session.status(), "test login with the new credentials");
}

absl::Status MakeLogin(Attempt& attempt, pg::Connection& provisioner, const std::string& verifier) {
  const auto set_role = [&](pg::Connection& connection) { return SetRole(connection, attempt, verifier); };
  return attempt.has_target() ? InFencedTransaction(provisioner, attempt, set_role) : GiveAccess(attempt, set_role);
}

absl::Status DropLogin(Attempt& attempt, v1::UndoResult& undo) {
  const std::string& user = attempt.project().user;
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt, user));
  if (!role.exists || !role.own) {
    return absl::OkStatus();
  }
  PGC_RETURN_IF_ERROR(InFencedTransaction(
      *provisioner, attempt, [&](pg::Connection& connection) { return ShutLogins(connection, {user}); }));
  PGC_ASSIGN_OR_RETURN(const int ended, EndSessions(*provisioner, attempt,
                                                    {{user}, /*older_attempts=*/false, /*own_role_only=*/false}));
  PGC_FAILPOINT("worker.credentials.shut");
  // A member of the role blocks nothing, but the login of this attempt is of no use without it.
  PGC_RETURN_IF_ERROR(DropRoles(*provisioner, attempt, {attempt.names().login, user}));
  undo.add_undone("dropped role " + user + ", " + std::to_string(ended) + " session(s) ended");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunCredentials(Attempt& attempt) {
  v1::PhaseResult result;
  v1::CredentialsResult* const credentials = result.mutable_credentials();
  const std::string& user = attempt.project().user;
  Secret password = RandomPassword();
  PGC_ASSIGN_OR_RETURN(const std::string recipient, Recipient(attempt));
  PGC_ASSIGN_OR_RETURN(const std::string sealed, SealTo(recipient, password));
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  // Computed here, so that the server never sees the password, not even in a statement.
  const std::string verifier = ScramVerifier(password, kScramIterations);
  credentials->set_user(user);
  credentials->set_verifier(verifier);
  credentials->set_sealed_password(sealed);
  credentials->set_recipient(recipient);

  // Sealed and durable before the role exists: there is never a role whose password nobody can open.
  v1::Intent intent;
  intent.set_kind(v1::Intent::ROLE);
  intent.set_server(attempt.login_server_name());
  intent.set_name(user);
  *intent.mutable_credentials() = *credentials;
  PGC_RETURN_IF_ERROR(attempt.ReportIntent(intent));
  PGC_FAILPOINT("worker.credentials.sealed");

  PGC_RETURN_IF_ERROR(MakeLogin(attempt, *provisioner, verifier));
  PGC_FAILPOINT("worker.credentials.created");
  PGC_RETURN_IF_ERROR(TestLogin(attempt, user, password));
  attempt.password = std::move(password);
  return result;
}

absl::StatusOr<v1::PhaseResult> UndoCredentials(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult* const undo = result.mutable_undo();
  PGC_RETURN_IF_ERROR(attempt.has_target() ? DropLogin(attempt, *undo) : TakeAccessBack(attempt, *undo));
  return result;
}

}  // namespace pgconvoy::worker
