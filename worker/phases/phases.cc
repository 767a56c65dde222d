#include "worker/phases/phases.h"

#include <string>

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

using PhaseFunction = absl::StatusOr<v1::PhaseResult> (*)(Attempt&);

struct Row {
  Phase phase;
  PhaseFunction forward;
  // Null: a rollback does not run it.
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

}  // namespace

absl::StatusOr<v1::PhaseResult> RunPhase(Attempt& attempt, Phase phase) {
  for (const Row& row : kPhases) {
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
