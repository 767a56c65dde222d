// A forward attempt that cannot open the encrypted backup of an earlier one.
#include "tests/unit/core/harness.h"

namespace pgconvoy::core {
namespace {

class LockedBackup : public Harness {
 protected:
  // A project whose first attempt has done every phase up to `last_done` when its worker is replaced.
  Running TakenOverAfter(Phase last_done, std::vector<Phase> phases) {
    MigrationSpec spec = Spec();
    spec.phases = std::move(phases);
    Submit(1, spec);
    Hello(1, "w1");
    Running first = Grants().at(0);
    RunThrough(first, last_done);
    Hello(2, "w1", 4, {}, "i2");
    return Grants().at(0);
  }
  std::vector<Phase> AfterLocked(Running& running) {
    EXPECT_EQ(Report(running, PhaseStarted{Phase::kFence}).refused_reason, "");
    EXPECT_EQ(Report(running, PhaseDone{Phase::kFence, "{}", 0, 0, {}}).refused_reason, "");
    EXPECT_EQ(Fail(running, Verdict::kTransient, "PGC-BACKUP-LOCKED").refused_reason, "");
    Pass(60'000);
    Hello(3, "w1", 4, {}, "i3");
    return Grants().at(0).project.phases;
  }
  static std::vector<Phase> Moving() {
    return {Phase::kFence, Phase::kPreValidation, Phase::kProvision, Phase::kBackup,
            Phase::kCopy,  Phase::kVerify,        Phase::kCutover,   Phase::kCleanup};
  }
};

TEST_F(LockedBackup, IsTakenOnceMoreByTheNextAttempt) {
  Running running = TakenOverAfter(Phase::kBackup, Moving());
  EXPECT_EQ(running.project.phases,
            (std::vector<Phase>{Phase::kFence, Phase::kCopy, Phase::kVerify, Phase::kCutover, Phase::kCleanup}));
  EXPECT_EQ(AfterLocked(running), (std::vector<Phase>{Phase::kFence, Phase::kBackup, Phase::kCopy, Phase::kVerify,
                                                      Phase::kCutover, Phase::kCleanup}));
}

TEST_F(LockedBackup, TakesWhatWasLoadedFromItWithIt) {
  Running running = TakenOverAfter(Phase::kCopy, Moving());
  EXPECT_EQ(AfterLocked(running), (std::vector<Phase>{Phase::kFence, Phase::kBackup, Phase::kCopy, Phase::kVerify,
                                                      Phase::kCutover, Phase::kCleanup}));
}

TEST_F(LockedBackup, IsNeverTakenOnceMoreAfterACutover) {
  Running running = TakenOverAfter(Phase::kCutover, Moving());
  EXPECT_EQ(AfterLocked(running), (std::vector<Phase>{Phase::kFence, Phase::kCleanup}));
}

TEST_F(LockedBackup, IsNeverTakenOnceMoreAfterAChangeInPlace) {
  Running running = TakenOverAfter(Phase::kTransform, {Phase::kFence, Phase::kPreValidation, Phase::kBackup,
                                                       Phase::kTransform, Phase::kVerify, Phase::kCleanup});
  EXPECT_EQ(AfterLocked(running), (std::vector<Phase>{Phase::kFence, Phase::kVerify, Phase::kCleanup}));
}

}  // namespace
}  // namespace pgconvoy::core
