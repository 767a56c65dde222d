// A login that an older migration made gets a new password, or is taken away. Everything that is known of the login
// comes from that migration: whose role it is by the role's COMMENT, what its password was by the results that the
// coordinator hands on.
#include <algorithm>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/plan/secret_ref.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"
#include "worker/phases/phases.h"
#include "worker/phases/registry.h"
#include "worker/phases/roles.h"

namespace pgconvoy::worker {
namespace {

constexpr char kLaterCutover[] = R"sql(
SELECT 1 FROM pgconvoy.cutover
WHERE store_id = $1 AND project = $2 AND migration <> $3 AND fence > $4::bigint AND undone_fence IS NULL
)sql";
constexpr char kRewriteRecord[] = R"sql(
UPDATE pgconvoy.cutover SET credentials_fence = $5::bigint, after = $6::jsonb
WHERE store_id = $1 AND project = $2 AND migration = $3 AND fence = $4::bigint AND undone_fence IS NULL
)sql";

// What was in force before this change.
struct Former {
  // Of the newest of all.
  int64_t fence = 0;
  bool revoked = false;
  // Of the newest that had a password.
  int64_t verifier_fence = 0;
  std::string verifier;
};

absl::StatusOr<Former> FormerOf(const Attempt& attempt) {
  Former former;
  for (const v1::PhaseResult& result : attempt.grant().former) {
    if (!result.has_credentials()) {
      continue;
    }
    if (result.fence() > former.fence) {
      former.fence = result.fence();
      former.revoked = result.credentials().revoked();
    }
    if (!result.credentials().revoked() && result.fence() > former.verifier_fence) {
      former.verifier_fence = result.fence();
      former.verifier = result.credentials().verifier();
    }
  }
  if (former.verifier.empty()) {
    return MakeError(Verdict::kPermanent, "PGC-CREDENTIALS-UNKNOWN",
                     "migration " + attempt.made_by() + " has left no credentials of project " + attempt.grant().ref,
                     "only logins that a migration made, and that still are its own, can be changed");
  }
  return former;
}

// Whether a change that was submitted after this one stands.
bool IsSuperseded(const Attempt& attempt, const Former& former) {
  int64_t own = 0;
  for (const v1::Intent& intent : attempt.intents()) {
    own = std::max(own, intent.fence());
  }
  return own != 0 && former.fence > own;
}

absl::Status CheckOwnRole(pg::Connection& provisioner, const Attempt& attempt) {
  const std::string& user = attempt.project().user;
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(provisioner, attempt, user));
  if (role.own) {
    return absl::OkStatus();
  }
  return MakeError(Verdict::kPermanent, "PGC-CREDENTIALS-ROLE",
                   "role \"" + user + "\" " +
                       (role.exists ? "was not made by migration " + attempt.made_by() : "does not exist") +
                       "; nothing was changed",
                   "name the migration that made the project's login: only that one's can be changed");
}

absl::Status CheckRecord(pg::Connection& registrar, const Attempt& attempt, const CutoverRecord& record) {
  PGC_ASSIGN_OR_RETURN(const pg::Result later,
                       registrar.Exec(kLaterCutover, {attempt.grant().store_id, attempt.grant().ref,
                                                      attempt.made_by(), std::to_string(record.fence)}));
  if (later.rows() == 0) {
    return absl::OkStatus();
  }
  return MakeError(Verdict::kPermanent, "PGC-CREDENTIALS-SUPERSEDED",
                   "a later migration has cut project " + attempt.grant().ref + " over",
                   "change the credentials of that migration");
}

absl::StatusOr<CutoverRecord> RecordInForce(pg::Connection& registrar, const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const auto record, FindCutover(registrar, attempt));
  if (!record.has_value()) {
    return MakeError(Verdict::kPermanent, "PGC-CREDENTIALS-CUTOVER",
                     "the registry's database has no record of the cutover of migration " + attempt.made_by(),
                     "without it nobody can tell what the registry row should hold: see `pgconvoy repair`");
  }
  return *record;
}

absl::Status CheckRow(const RegistryValues& row, const CutoverRecord& record, Verdict verdict) {
  if (row == record.after) {
    return absl::OkStatus();
  }
  return MakeError(verdict, "PGC-CREDENTIALS-REGISTRY", "somebody has changed the registry row since the cutover",
                   "put the row right (see `pgconvoy repair`), then try again");
}

// The columns of cutover.set that hold the verifier, with this one in them.
absl::StatusOr<RegistryValues> ColumnsWith(const Attempt& attempt, const std::string& verifier) {
  PGC_ASSIGN_OR_RETURN(RegistryValues with, NewRegistryValues(attempt, verifier));
  PGC_ASSIGN_OR_RETURN(const RegistryValues without, NewRegistryValues(attempt, verifier + "."));
  std::erase_if(with, [&without](const auto& column) { return without.at(column.first) == column.second; });
  return with;
}

// In one transaction under the fence row, so that row and record cannot part.
absl::StatusOr<RegistryValues> Publish(Attempt& attempt, const std::string& verifier, int64_t credentials_fence) {
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_ASSIGN_OR_RETURN(const RegistryValues wanted, ColumnsWith(attempt, verifier));
  RegistryValues row;
  const absl::Status done = InFencedTransaction(*registrar, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(row, ReadRegistryRow(connection, attempt, /*lock=*/true));
    PGC_ASSIGN_OR_RETURN(const CutoverRecord record, RecordInForce(connection, attempt));
    const bool undoes = attempt.grant().direction == Direction::kRollback;
    PGC_RETURN_IF_ERROR(CheckRow(row, record, undoes ? Verdict::kOperator : Verdict::kPermanent));
    PGC_ASSIGN_OR_RETURN(const auto switched, SwitchRegistryRow(connection, attempt, row, wanted));
    if (!switched.has_value()) {
      return MakeError(Verdict::kTransient, "PGC-CUT-REGISTRY", "the registry row changed while it was switched");
    }
    for (const auto& [column, value] : *switched) {
      row[column] = value;
    }
    PGC_FAILPOINT("worker.rotate.before_published");
    return connection
        .Exec(kRewriteRecord, {attempt.grant().store_id, attempt.grant().ref, attempt.made_by(),
                               std::to_string(record.fence), std::to_string(credentials_fence), ToJson(row)})
        .status();
  });
  PGC_RETURN_IF_ERROR(done);
  PGC_FAILPOINT("worker.rotate.published");
  return row;
}

absl::Status ReportRole(Attempt& attempt, const v1::CredentialsResult* credentials) {
  v1::Intent intent;
  intent.set_kind(v1::Intent::ROLE);
  intent.set_server(attempt.login_server_name());
  intent.set_name(attempt.project().user);
  if (credentials != nullptr) {
    *intent.mutable_credentials() = *credentials;
  }
  return attempt.ReportIntent(intent);
}

absl::Status Alter(pg::Connection& provisioner, const Attempt& attempt, const std::string& how) {
  return InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_RETURN_IF_ERROR(CheckOwnRole(connection, attempt));
    return connection.ExecScript("ALTER ROLE " + Ident(attempt.project().user) + " " + how);
  });
}

// Sessions go after the right to begin new ones.
absl::StatusOr<int> ShutOut(Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_RETURN_IF_ERROR(Alter(*provisioner, attempt, "NOLOGIN PASSWORD NULL"));
  PGC_FAILPOINT("worker.revoke.shut");
  return EndSessions(*provisioner, attempt,
                     {{attempt.project().user}, /*older_attempts=*/false, /*own_role_only=*/false});
}

absl::StatusOr<v1::PhaseResult> Rotate(Attempt& attempt) {
  v1::PhaseResult result;
  v1::CredentialsResult& credentials = *result.mutable_credentials();
  PGC_ASSIGN_OR_RETURN(const Secret recipient, plan::ResolveSecret(attempt.plan().credentials().recipient(),
                                                                   /*allow_literal=*/true));
  const Secret password = RandomPassword();
  PGC_ASSIGN_OR_RETURN(const std::string sealed, SealTo(recipient.Reveal(), password));
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  credentials.set_user(attempt.project().user);
  credentials.set_verifier(ScramVerifier(password, kScramIterations));
  credentials.set_sealed_password(sealed);
  credentials.set_recipient(recipient.Reveal());

  // Sealed and durable before the role has it. The former one stays in the store, so whichever of the two the role has
  // when this process dies, its password can be opened; the next attempt makes a third.
  PGC_RETURN_IF_ERROR(ReportRole(attempt, &credentials));
  PGC_FAILPOINT("worker.rotate.sealed");
  PGC_RETURN_IF_ERROR(Alter(*provisioner, attempt, "LOGIN PASSWORD " + Literal(credentials.verifier())));
  PGC_FAILPOINT("worker.rotate.changed");
  const auto session = SessionPool::Open(attempt.login_server(), attempt.project().user, password,
                                         attempt.login_database(), attempt.names().application_name, {});
  if (!session.ok()) {
    return Annotate(session.status(), "test login with the new credentials");
  }
  PGC_FAILPOINT("worker.rotate.tested");
  return result;
}

absl::StatusOr<v1::PhaseResult> Revoke(Attempt& attempt) {
  v1::PhaseResult result;
  PGC_RETURN_IF_ERROR(ReportRole(attempt, nullptr));
  PGC_RETURN_IF_ERROR(ShutOut(attempt).status());
  PGC_FAILPOINT("worker.revoke.ended");
  result.mutable_credentials()->set_user(attempt.project().user);
  result.mutable_credentials()->set_revoked(true);
  return result;
}

}  // namespace

absl::StatusOr<v1::PhaseResult> CheckChange(Attempt& attempt) {
  v1::PhaseResult result;
  v1::ChecksResult& checks = *result.mutable_checks();
  PGC_RETURN_IF_ERROR(FormerOf(attempt).status());
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_RETURN_IF_ERROR(CheckOwnRole(*provisioner, attempt));
  if (attempt.has_cutover()) {
    PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
    PGC_ASSIGN_OR_RETURN(const CutoverRecord record, RecordInForce(*registrar, attempt));
    PGC_RETURN_IF_ERROR(CheckRecord(*registrar, attempt, record));
    PGC_ASSIGN_OR_RETURN(const RegistryValues row, ReadRegistryRow(*registrar, attempt, /*lock=*/false));
    PGC_RETURN_IF_ERROR(attempt.rotates() ? CheckRow(row, record, Verdict::kPermanent) : absl::OkStatus());
  }
  v1::CheckResult& check = *checks.add_checks();
  check.set_name("own-login");
  check.set_passed(true);
  return result;
}

absl::StatusOr<v1::PhaseResult> ChangeCredentials(Attempt& attempt) {
  return attempt.rotates() ? Rotate(attempt) : Revoke(attempt);
}

absl::StatusOr<v1::PhaseResult> PublishCredentials(Attempt& attempt) {
  v1::PhaseResult result;
  v1::CutoverResult& cutover = *result.mutable_cutover();
  const v1::PhaseResult* const changed = attempt.Result(Phase::kCredentials);
  if (changed == nullptr) {
    return MakeError(Verdict::kPermanent, "PGC-CREDENTIALS-UNKNOWN", "there are no new credentials to publish");
  }
  PGC_ASSIGN_OR_RETURN(const RegistryValues row,
                       Publish(attempt, changed->credentials().verifier(), changed->fence()));
  cutover.set_credentials_fence(changed->fence());
  for (const auto& [column, value] : row) {
    if (value.has_value()) {
      (*cutover.mutable_after())[column] = *value;
    }
  }
  return result;
}

absl::StatusOr<v1::PhaseResult> UnpublishCredentials(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult& undo = *result.mutable_undo();
  PGC_ASSIGN_OR_RETURN(const Former former, FormerOf(attempt));
  if (IsSuperseded(attempt, former)) {
    undo.add_undone("the registry row stays: the login was changed again later");
    return result;
  }
  PGC_RETURN_IF_ERROR(Publish(attempt, former.verifier, former.verifier_fence).status());
  undo.add_undone("the registry row has the former credentials again");
  return result;
}

absl::StatusOr<v1::PhaseResult> UndoChange(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult& undo = *result.mutable_undo();
  const std::string& user = attempt.project().user;
  PGC_ASSIGN_OR_RETURN(const Former former, FormerOf(attempt));
  if (IsSuperseded(attempt, former)) {
    undo.add_undone("role " + user + " stays as it is: it was changed again later");
    return result;
  }
  if (former.revoked) {
    PGC_RETURN_IF_ERROR(ShutOut(attempt).status());
    undo.add_undone("role " + user + " may not log in again");
    return result;
  }
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_RETURN_IF_ERROR(Alter(*provisioner, attempt, "LOGIN PASSWORD " + Literal(former.verifier)));
  PGC_FAILPOINT("worker.rotate.undone");
  undo.add_undone("role " + user + " has its former password again");
  return result;
}

// Verifiers cannot be read back; whether the role may log in can.
absl::StatusOr<v1::PhaseResult> VerifyChangeUndone(Attempt& attempt) {
  v1::PhaseResult result;
  result.mutable_undo();
  PGC_ASSIGN_OR_RETURN(const Former former, FormerOf(attempt));
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt, attempt.project().user));
  if (!role.own || role.can_login == former.revoked) {
    return MakeError(Verdict::kOperator, "PGC-CREDENTIALS-ROLE",
                     "role \"" + attempt.project().user + "\" is not as it was before its credentials were changed",
                     "see `pgconvoy repair`");
  }
  return result;
}

absl::StatusOr<v1::PhaseResult> CleanupChange(Attempt& attempt) {
  v1::PhaseResult result;
  if (attempt.grant().direction == Direction::kRollback) {
    result.mutable_undo();
  } else {
    result.mutable_cleanup();
  }
  return result;
}

}  // namespace pgconvoy::worker
