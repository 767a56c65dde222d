#include "worker/core/attempt_rules.h"

#include "common/base/planted.h"

namespace pgconvoy::worker {

bool MustBeDurable(Phase phase) {
  if (phase == Phase::kBackup && PGC_PLANTED(kCopyBeforeSealIsDurable)) {
    return false;
  }
  return phase == Phase::kBackup || phase == Phase::kVerify || phase == Phase::kCutover;
}

bool NeedsDurableResults(Phase phase) { return phase == Phase::kCutover && !PGC_PLANTED(kCutoverBeforeDurable); }

bool StopLeads(const Cause& failure, const Cause& stop) {
  return stop.verdict == Verdict::kFenced && stop.code != failure.code;
}

Ending EndingOf(const Cause& error) {
  if (error.code == kLeaseLostCode && !PGC_PLANTED(kReportLostLease)) {
    return Ending::kGiveBack;
  }
  // Called off is what it was; waiting for the answer would find the same stop again.
  return error.verdict == Verdict::kAbandoned ? Ending::kReport : Ending::kReportAndWait;
}

Verdict ReportedVerdict(Verdict verdict) {
  if (verdict == Verdict::kInDoubt && PGC_PLANTED(kDoubtIsPermanent)) {
    return Verdict::kPermanent;
  }
  return verdict == Verdict::kInDoubt ? Verdict::kTransient : verdict;
}

}  // namespace pgconvoy::worker
