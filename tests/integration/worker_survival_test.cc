// kill -9 of a worker at every place where it matters, on the way there and on the way back, and of everything at once.
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

constexpr int kKilled = 128 + SIGKILL;

// One fleet for all the places; each place takes the next project of it.
class KilledWorker : public ::testing::TestWithParam<const char*> {
 public:
  static void TearDownTestSuite() { fleet_.reset(); }

 protected:
  static Fleet& fleet() {
    if (!fleet_ || next_ == fleet_->refs().size()) {
      fleet_.reset();
      fleet_ = std::make_unique<Fleet>(Fleet::Options{.projects = 24});
      fleet_->StartCoordinator();
      next_ = 0;
    }
    return *fleet_;
  }

  static std::string NextProject() { return fleet().refs().at(next_++); }

  // Starts a worker that dies at `place`, sees it die there, and starts one that lives.
  static void DieAndComeBack(const std::string& place) {
    ASSERT_EQ(fleet_->StartWorker("w", place + "=kill").Wait(), kKilled) << fleet_->WorkerLog("w");
    fleet_->StartWorker("w");
  }

 private:
  static inline std::unique_ptr<Fleet> fleet_;
  static inline size_t next_ = 0;
};

class KilledForward : public KilledWorker {};

TEST_P(KilledForward, LosesNothing) {
  const std::string ref = NextProject();
  const std::string migration = fleet().Submit({ref});
  DieAndComeBack(GetParam());
  EXPECT_EQ(fleet().WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  EXPECT_EQ(fleet().WhyNotIsolated(ref), "");
  EXPECT_EQ(fleet().Leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Phases,
                         KilledForward,
                         ::testing::Values("worker.phase.FENCE.started",
                                           "worker.fence.raised",
                                           "worker.phase.FENCE.done",
                                           "worker.phase.PRE_VALIDATION.done",
                                           "worker.freeze.before_commit",
                                           "worker.phase.FREEZE.done",
                                           "worker.credentials.sealed",
                                           "worker.credentials.created",
                                           "worker.phase.CREDENTIALS.done",
                                           "worker.provision.before_create",
                                           "worker.provision.created",
                                           "worker.provision.renamed",
                                           "worker.phase.PROVISION.done",
                                           "worker.backup.table",
                                           "backup.file_written",
                                           "backup.before_manifest",
                                           "backup.after_manifest",
                                           "worker.backup.before_seal",
                                           "worker.backup.sealed",
                                           "worker.phase.BACKUP.done",
                                           "worker.copy.chunk_sent",
                                           "worker.copy.before_commit",
                                           "worker.copy.after_commit",
                                           "worker.phase.COPY.done",
                                           "worker.verify.before_finish",
                                           "worker.phase.VERIFY.done",
                                           "worker.cutover.before_commit",
                                           "worker.cutover.after_commit",
                                           "worker.phase.CUTOVER.done",
                                           "worker.phase.POST_VALIDATION.started",
                                           "worker.phase.POST_VALIDATION.done",
                                           "worker.cleanup.ledger_dropped",
                                           "worker.phase.CLEANUP.done"));

class RolledBackFrom : public KilledWorker {};

// The worker dies there, and the operator wants the project back as it was.
TEST_P(RolledBackFrom, LeavesTheProjectAsItWas) {
  const std::string ref = NextProject();
  const std::string before = fleet().SourceHash(ref);
  const std::string migration = fleet().Submit({ref});
  ASSERT_EQ(fleet().StartWorker("w", std::string("worker.phase.") + GetParam() + "=kill").Wait(), kKilled);
  fleet().Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
  fleet().StartWorker("w");
  const v1::MigrationState ended = fleet().WaitEnded(migration).state();
  EXPECT_TRUE(ended == v1::MIGRATION_ROLLED_BACK || ended == v1::MIGRATION_CANCELLED)
      << v1::MigrationState_Name(ended) << fleet().WorkerLog("w");
  EXPECT_EQ(fleet().WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet().SourceHash(ref), before);
  EXPECT_EQ(fleet().Leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Phases,
                         RolledBackFrom,
                         ::testing::Values("FENCE.started",
                                           "FENCE.done",
                                           "PRE_VALIDATION.done",
                                           "FREEZE.done",
                                           "CREDENTIALS.done",
                                           "PROVISION.done",
                                           "BACKUP.done",
                                           "COPY.done",
                                           "VERIFY.done",
                                           "CUTOVER.done",
                                           "POST_VALIDATION.done",
                                           "CLEANUP.done"));

class KilledBackward : public KilledWorker {};

TEST_P(KilledBackward, UndoesEverything) {
  const std::string ref = NextProject();
  const std::string migration = fleet().Submit({ref});
  fleet().StartWorker("w");
  ASSERT_EQ(fleet().WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  fleet().worker("w").Kill(SIGKILL);
  const std::string before = fleet().SourceHash(ref);

  fleet().Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
  DieAndComeBack(GetParam());
  EXPECT_EQ(fleet().WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK);
  EXPECT_EQ(fleet().WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet().SourceHash(ref), before);
  EXPECT_EQ(fleet().Leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Phases,
                         KilledBackward,
                         ::testing::Values("worker.rollback.FENCE.started",
                                           "worker.rollback.FENCE.done",
                                           "worker.rollback.CUTOVER.done",
                                           "worker.database.before_drop",
                                           "worker.rollback.PROVISION.done",
                                           "worker.rollback.CREDENTIALS.done",
                                           "worker.rollback.FREEZE.done",
                                           "worker.rollback.BACKUP.done",
                                           "worker.rollback.VERIFY.done",
                                           "worker.rollback.CLEANUP.done"));

// The templates are removed when a migration has ended; the worker dies in the middle of that.
TEST(KilledReconciler, StandsInNobodysWay) {
  Fleet fleet({.projects = 2});
  fleet.StartCoordinator();
  const std::string first = fleet.Submit({fleet.refs()[0]});
  EXPECT_EQ(fleet.StartWorker("w", "worker.template.before_drop=kill").Wait(), kKilled) << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.WaitEnded(first).state(), v1::MIGRATION_SUCCEEDED);

  fleet.StartWorker("w");
  const std::string second = fleet.Submit({fleet.refs()[1]});
  EXPECT_EQ(fleet.WaitEnded(second).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.WhyNotIsolated(fleet.refs()[1]), "");
  EXPECT_TRUE(Eventually([&fleet] {
    return fleet.target().QueryValue(
               "postgres",
               "SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'pgc\\_%') + (SELECT "
               "count(*) FROM pg_roles WHERE rolname LIKE 'pgc\\_%')") == "0";
  })) << "templates are left over";
}

class EverythingAtOnce : public ::testing::TestWithParam<const char*> {};

// The worker is held in the phase; then worker and coordinator die together.
TEST_P(EverythingAtOnce, LosesNothing) {
  const std::string phase = GetParam();
  Fleet fleet({.projects = 2});
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  fleet.StartWorker("w", "worker.phase." + phase + ".started=sleep(600000)@*");
  v1::Phase wanted{};
  ASSERT_TRUE(v1::Phase_Parse(phase, &wanted));
  fleet.WaitPhase(migration, fleet.refs()[0], wanted);
  fleet.worker("w").Kill(SIGKILL);
  fleet.KillCoordinator();

  fleet.StartCoordinator();
  fleet.StartWorker("w");
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
  }
  EXPECT_EQ(fleet.Leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Phases, EverythingAtOnce, ::testing::Values("PROVISION", "BACKUP", "COPY", "CUTOVER"));

class ServerRestart : public ::testing::Test {
 protected:
  // Two projects are in the middle of COPY when `outage` happens.
  void RunThrough(const std::function<void(Fleet&)>& outage) {
    Fleet fleet({.projects = 4});
    fleet.StartCoordinator();
    const std::string migration = fleet.Submit();
    fleet.StartWorker("w", "worker.copy.chunk_sent=sleep(1500)@2");
    fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
    outage(fleet);
    EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
    for (const std::string& ref : fleet.refs()) {
      EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
    }
    EXPECT_EQ(fleet.Leftovers(), "");
  }
};

TEST_F(ServerRestart, OfTheSourceDuringCopyLosesNothing) {
  RunThrough([](Fleet& fleet) { fleet.source().Restart(); });
}

TEST_F(ServerRestart, OfTheTargetDuringCopyLosesNothing) {
  RunThrough([](Fleet& fleet) { fleet.target().Restart(); });
}

TEST_F(ServerRestart, OfTheStoreDuringCopyLosesNothing) {
  RunThrough([](Fleet& fleet) { fleet.store().Restart(); });
}

TEST_F(ServerRestart, ACrashOfTheTargetDuringCopyLosesNothing) {
  RunThrough([](Fleet& fleet) {
    fleet.target().Kill();
    fleet.target().Start();
  });
}

TEST_F(ServerRestart, ACrashOfTheStoreDuringCopyLosesNothing) {
  RunThrough([](Fleet& fleet) {
    fleet.store().Kill();
    fleet.store().Start();
  });
}

}  // namespace
}  // namespace pgconvoy::testing
