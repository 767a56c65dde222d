#include "worker/core/takeover.h"

#include "common/base/planted.h"

namespace pgconvoy::worker {

bool IsOlderAttempt(int64_t its_fence, int64_t own_fence) {
  return its_fence < own_fence && !PGC_PLANTED(kOlderLoginsStay);
}

RoleAction DecideRole(bool exists, bool own) {
  if (!exists) {
    return RoleAction::kCreate;
  }
  return own || PGC_PLANTED(kAdoptForeignRole) ? RoleAction::kAlter : RoleAction::kForeign;
}

bool MayBeComplete(const FoundDatabase& database) {
  return database.final && database.own && !database.invalid && !database.shut;
}

DatabaseAction DecideDatabase(const FoundDatabase& database, bool complete) {
  if (!database.own) {
    return PGC_PLANTED(kDropForeignDatabase) ? DatabaseAction::kDrop : DatabaseAction::kForeign;
  }
  const bool keeps = MayBeComplete(database) && (complete || PGC_PLANTED(kKeepIncompleteDatabase));
  return keeps ? DatabaseAction::kKeep : DatabaseAction::kDrop;
}

bool EndsRollback(const ResultKey& result) {
  return result.phase == Phase::kCleanup && result.direction == Direction::kRollback;
}

bool Counts(const ResultKey& result, Phase phase, int64_t last_undone) {
  return result.phase == phase && result.direction == Direction::kForward &&
         (result.fence > last_undone || PGC_PLANTED(kUndoneResultsCount));
}

WritesAction DecideWrites(bool known, bool written, bool discard_writes) {
  if (known && (!written || PGC_PLANTED(kIgnoreTenantWrites))) {
    return WritesAction::kGoOn;
  }
  return known && discard_writes ? WritesAction::kSetAside : WritesAction::kGiveBack;
}

bool RemovesBackup(int64_t intent_fence, int64_t sealed_fence) {
  return intent_fence != sealed_fence && !PGC_PLANTED(kLeaveUnsealedBackup);
}

bool IsOwned(int64_t its_fence, int64_t newest_fence, int64_t next_fence, bool live) {
  if (PGC_PLANTED(kReconcileLive)) {
    return its_fence > newest_fence;
  }
  return its_fence > newest_fence || its_fence >= next_fence || (its_fence == newest_fence && live);
}

}  // namespace pgconvoy::worker
