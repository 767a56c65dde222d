#include "worker/core/attempt_rules.h"

#include <gtest/gtest.h>

#include "worker/core/lease.h"
#include "worker/core/report_log.h"

namespace pgconvoy::worker {
namespace {

TEST(AttemptRules, WaitForWhatTheNextPhaseBuildsOn) {
  EXPECT_TRUE(MustBeDurable(Phase::kBackup));
  EXPECT_TRUE(MustBeDurable(Phase::kVerify));
  EXPECT_TRUE(MustBeDurable(Phase::kCutover));
  EXPECT_FALSE(MustBeDurable(Phase::kCopy));
  EXPECT_TRUE(NeedsDurableResults(Phase::kCutover));
  EXPECT_FALSE(NeedsDurableResults(Phase::kVerify));
}

TEST(AttemptRules, BlameALostLeaseForWhatWentWrongMeanwhile) {
  const Cause lost{Verdict::kFenced, kLeaseLostCode};
  EXPECT_TRUE(StopLeads({Verdict::kTransient, "PGC-PG-LOST"}, lost));
  EXPECT_FALSE(StopLeads(lost, lost));
  EXPECT_FALSE(StopLeads({Verdict::kTransient, "PGC-PG-LOST"}, {Verdict::kAbandoned, "PGC-ABANDONED"}));
}

TEST(AttemptRules, EndWithoutAReportOnlyWhenTheLeaseIsLost) {
  EXPECT_EQ(EndingOf({Verdict::kFenced, kLeaseLostCode}), Ending::kGiveBack);
  EXPECT_EQ(EndingOf({Verdict::kFenced, "PGC-FENCE-STALE"}), Ending::kReportAndWait);
  EXPECT_EQ(EndingOf({Verdict::kAbandoned, "PGC-ABANDONED"}), Ending::kReport);
}

TEST(AttemptRules, ReportDoubtAsSomethingThatPasses) {
  EXPECT_EQ(ReportedVerdict(Verdict::kInDoubt), Verdict::kTransient);
  EXPECT_EQ(ReportedVerdict(Verdict::kOperator), Verdict::kOperator);
}

TEST(ReportLog, KeepsWhatIsNotAcknowledgedInOrder) {
  ReportLog<char> log;
  for (const char report : {'a', 'b', 'c'}) {
    log.Add(report);
  }
  log.Acknowledge(2);
  log.Acknowledge(1);
  EXPECT_TRUE(log.IsDurable(2));
  EXPECT_FALSE(log.IsDurable(3));
  ASSERT_EQ(log.unacknowledged().size(), 1u);
  EXPECT_EQ(log.unacknowledged().front().report, 'c');
  EXPECT_EQ(log.next_seq(), 4);
}

TEST(ReportLog, KeepsTheFirstReasonToStopUnlessTheLeaseIsLost) {
  ReportLog<char> log;
  EXPECT_TRUE(log.Stop(StopReason::kCalledOff));
  EXPECT_FALSE(log.Stop(StopReason::kReportRefused));
  EXPECT_EQ(log.stop(), StopReason::kCalledOff);
  EXPECT_TRUE(log.Stop(StopReason::kLeaseLost));
  EXPECT_EQ(log.stop(), StopReason::kLeaseLost);
}

TEST(Lease, CountsASilenceThatIsOver) {
  Lease lease(0);
  lease.SetTtl(1'000);
  lease.Heard(900);
  EXPECT_EQ(lease.Lapses(1'800), 0);
  EXPECT_EQ(lease.Lapses(1'801), 1);
  lease.Heard(5'000);
  EXPECT_EQ(lease.Lapses(5'000), 1);
}

}  // namespace
}  // namespace pgconvoy::worker
