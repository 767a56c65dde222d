// Known bugs that the simulation must be able to find. Compiled to nothing unless a target defines
// PGCONVOY_PLANTED_BUGS, which only tests/sim does; there, one of them at a time can be switched on.
//
// Thread safety: Choose before other threads start; the rest from any thread.
#pragma once

#ifdef PGCONVOY_PLANTED_BUGS

#include <string_view>

namespace pgconvoy::planted {

// clang-format off
#define PGC_PLANTED_BUG_LIST(X)                                                                                    \
  /* coordinator/core */                                                                                           \
  X(kSkipReportFenceCheck) X(kSkipHolderCheck) X(kRecordReportTwice) X(kReuseFence) X(kFenceCounterNotWritten)     \
  X(kFencePhaseNotRepeated) X(kForgetIntent) X(kForgetResult) X(kIntentDoesNotTouch)                               \
  X(kNeverExpireLeases) X(kExpiryKeepsProject) X(kHelloIgnoresHeld)                                                \
  X(kBackoffNeverEnds) X(kRetryForEver) X(kCancelForgetsRollback) X(kRetryKeepsDone)                               \
  X(kLoadForgetsRequests) X(kLoadForgetsDone) X(kPausedGrants) X(kTokensIgnored) X(kMigrationEndsEarly)            \
  X(kStopForgotten) X(kFailedWithoutRollback) X(kBusyIgnored)                                                      \
  /* worker/core */                                                                                                \
  X(kNeverWaitDurable) X(kCopyBeforeSealIsDurable) X(kCutoverBeforeDurable) X(kReportLostLease)                    \
  X(kDoubtIsPermanent) X(kOlderLoginsStay) X(kAdoptForeignRole) X(kDropForeignDatabase)                            \
  X(kKeepIncompleteDatabase) X(kIgnoreTenantWrites) X(kLeaveUnsealedBackup)                                        \
  X(kReconcileLive) X(kUndoneResultsCount)                                                                         \
  /* tests/sim: the shell around the core, and the phases */                                                       \
  X(kAckBeforeCommit) X(kFailedCommitCounts) X(kDoubtfulCommitCounts) X(kNoEpochCheck) X(kEpochNotRaised)          \
  X(kUnacknowledgedForgotten) X(kSealAfterRole) X(kPlainPasswordInIntent) X(kSkipTerminate) X(kSkipFenceRaise)     \
  X(kRaiseBackwards) X(kLedgerOutsideTransaction) X(kNoLedgerRead)                                                 \
  X(kSkipLastChunk) X(kCopyOtherTenant) X(kCutoverTwice) X(kSkipSourceCheck) X(kSkipFreeze)                        \
  X(kThawForgotten) X(kCreateUnderFinalName) X(kLoginNotDropped) X(kRollbackLeavesRole)                            \
  X(kFenceRowNotRead) X(kFenceRowNotLocked) X(kDropUnderFinalName) X(kOwnsOtherMigrations) X(kUndoesOtherCutover)  \
  X(kTransformRecordNotRead) X(kTransformRecordLater) X(kUndoesTransformTwice) X(kUndoneOverTenantWrites)          \
  X(kFallbackRecordOverwritten) X(kFallbackRecordLater) X(kFallbackStaysOut) X(kLetsInForOtherMigration)
// clang-format on

enum class Bug {
  kNone,
#define PGC_PLANTED_ENUMERATOR(name) name,
  PGC_PLANTED_BUG_LIST(PGC_PLANTED_ENUMERATOR)
#undef PGC_PLANTED_ENUMERATOR
};

inline Bug chosen = Bug::kNone;

inline bool Is(Bug bug) { return __builtin_expect(chosen != Bug::kNone, 0) && chosen == bug; }
inline void Choose(Bug bug) { chosen = bug; }

struct Named {
  Bug bug;
  std::string_view name;
};
inline constexpr Named kBugs[] = {
#define PGC_PLANTED_NAME(name) {Bug::name, #name},
    PGC_PLANTED_BUG_LIST(PGC_PLANTED_NAME)
#undef PGC_PLANTED_NAME
};

}  // namespace pgconvoy::planted

#define PGC_PLANTED(name) ::pgconvoy::planted::Is(::pgconvoy::planted::Bug::name)
#else
#define PGC_PLANTED(name) false
#endif
