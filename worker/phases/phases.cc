#include "worker/phases/phases.h"

#include <span>
#include <string>

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

using PhaseFunction = absl::StatusOr<v1::PhaseResult> (*)(Attempt&);

struct Row {
  Phase phase;
  PhaseFunction forward;
  // Null: the direction does not run it.
  PhaseFunction rollback;
};

constexpr Row kPhases[] = {
    {Phase::kFence, RunFence, RunFence},
    {Phase::kPreValidation, RunPreValidation, nullptr},
    {Phase::kFreeze, RunFreeze, UndoFreeze},
    {Phase::kCredentials, RunCredentials, UndoCredentials},
    {Phase::kProvision, RunProvision, UndoProvision},
    {Phase::kBackup, RunBackup, UndoBackup},
    {Phase::kCopy, RunCopy, nullptr},
    {Phase::kTransform, RunTransform, UndoTransform},
    {Phase::kVerify, RunVerify, VerifyRollback},
    {Phase::kCutover, RunCutover, UndoCutover},
    {Phase::kPostValidation, RunPostValidation, nullptr},
    {Phase::kCleanup, RunCleanup, CleanupRollback},
};

// Of a migration that changes the credentials of an older one.
constexpr Row kChangePhases[] = {
    {Phase::kFence, RunFence, RunFence},
    {Phase::kPreValidation, CheckChange, nullptr},
    {Phase::kCredentials, ChangeCredentials, UndoChange},
    {Phase::kVerify, nullptr, VerifyChangeUndone},
    {Phase::kCutover, PublishCredentials, UnpublishCredentials},
    {Phase::kCleanup, CleanupChange, CleanupChange},
};

std::span<const Row> PhasesOf(const Attempt& attempt) {
  return attempt.changes_credentials() ? std::span<const Row>(kChangePhases) : std::span<const Row>(kPhases);
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunPhase(Attempt& attempt, Phase phase) {
  for (const Row& row : PhasesOf(attempt)) {
    const PhaseFunction run = attempt.grant().direction == Direction::kForward ? row.forward : row.rollback;
    if (row.phase == phase && run != nullptr) {
      return run(attempt);
    }
  }
  return MakeError(Verdict::kPermanent, "PGC-PHASE-UNKNOWN",
                   "this worker cannot run phase " + std::string(Name(phase)),
                   "use a worker of the coordinator's version");
}

}  // namespace pgconvoy::worker
