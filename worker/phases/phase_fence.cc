#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/phases/control.h"
#include "worker/phases/phases.h"
#include "worker/phases/roles.h"
#include "worker/phases/transform_store.h"

namespace pgconvoy::worker {
namespace {

// Sessions of older attempts may hold the fence row in a transaction that nobody will end, so they go first; those
// that came in meanwhile go again once the row is ours and their logins are shut.
absl::Status FenceRegistry(Attempt& attempt, v1::FenceResult& result) {
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_RETURN_IF_ERROR(EnsureRegistryTables(*registrar));
  const SessionFilter older{{}, /*older_attempts=*/true, /*own_role_only=*/true};
  PGC_ASSIGN_OR_RETURN(const int before, EndSessions(*registrar, attempt, older));
  PGC_RETURN_IF_ERROR(RaiseFence(*registrar, attempt));
  PGC_FAILPOINT("worker.fence.registry_raised");
  PGC_ASSIGN_OR_RETURN(const int after, EndSessions(*registrar, attempt, older));
  result.set_sessions_ended(result.sessions_ended() + before + after);
  return absl::OkStatus();
}

absl::Status FenceLogins(Attempt& attempt, v1::FenceResult& result) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_RETURN_IF_ERROR(EnsureControlTables(*provisioner));
  PGC_ASSIGN_OR_RETURN(const int before,
                       EndSessions(*provisioner, attempt, {{}, /*older_attempts=*/true, /*own_role_only=*/false}));
  std::vector<std::string> logins;
  {
    PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(*provisioner));
    PGC_RETURN_IF_ERROR(RaiseFence(*provisioner, attempt));
    PGC_ASSIGN_OR_RETURN(logins, AttemptLogins(*provisioner, attempt, attempt.grant().fence));
    PGC_RETURN_IF_ERROR(ShutLogins(*provisioner, logins));
    PGC_FAILPOINT("worker.fence.before_commit");
    PGC_RETURN_IF_ERROR(transaction->Commit());
  }
  PGC_FAILPOINT("worker.fence.raised");
  PGC_ASSIGN_OR_RETURN(const int after, EndSessions(*provisioner, attempt,
                                                    {logins, /*older_attempts=*/true, /*own_role_only=*/false}));
  PGC_ASSIGN_OR_RETURN(const auto dropped, DropAttemptLogins(*provisioner, attempt, logins));
  for (const std::string& login : dropped) {
    result.add_logins_dropped(login);
  }
  result.set_sessions_ended(result.sessions_ended() + before + after);
  return absl::OkStatus();
}

// All sessions of the transformer that an attempt has opened are its own.
absl::Status FenceTransform(Attempt& attempt, v1::FenceResult& result) {
  PGC_ASSIGN_OR_RETURN(PooledSession transformer, attempt.Transformer());
  PGC_RETURN_IF_ERROR(EnsureTransformTables(*transformer));
  const SessionFilter older{{}, /*older_attempts=*/true, /*own_role_only=*/true};
  PGC_ASSIGN_OR_RETURN(const int before, EndSessions(*transformer, attempt, older));
  {
    PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(*transformer));
    PGC_RETURN_IF_ERROR(RaiseTransformFence(*transformer, attempt));
    PGC_RETURN_IF_ERROR(transaction->Commit());
  }
  PGC_ASSIGN_OR_RETURN(const int after, EndSessions(*transformer, attempt, older));
  result.set_sessions_ended(result.sessions_ended() + before + after);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunFence(Attempt& attempt) {
  v1::PhaseResult result;
  if (attempt.has_registry()) {
    PGC_RETURN_IF_ERROR(FenceRegistry(attempt, *result.mutable_fence_result()));
  }
  if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(FenceLogins(attempt, *result.mutable_fence_result()));
  }
  if (attempt.has_transform()) {
    PGC_RETURN_IF_ERROR(FenceTransform(attempt, *result.mutable_fence_result()));
  }
  return result;
}

}  // namespace pgconvoy::worker
