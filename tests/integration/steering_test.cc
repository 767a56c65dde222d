// What an operator does to a migration, and what tenants do at the wrong moment.
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/integration/fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

class Steering : public ::testing::Test {
 protected:
  Steering() : fleet_({.projects = 4, .lease_ttl = "30s"}) { fleet_.StartCoordinator(); }

  void ExpectAllIsolated() {
    for (const std::string& ref : fleet_.refs()) {
      EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");
    }
    EXPECT_EQ(fleet_.Leftovers(), "");
  }
  void ExpectAllUntouched() {
    for (const std::string& ref : fleet_.refs()) {
      EXPECT_EQ(fleet_.WhyNotUntouched(ref), "");
    }
    EXPECT_EQ(fleet_.Leftovers(), "");
  }

  Fleet fleet_;
};

TEST_F(Steering, ARowWrittenToTheSourceBeforeCutoverIsNotLost) {
  const std::string& ref = fleet_.refs()[0];
  const std::string migration = fleet_.Submit({ref});
  fleet_.StartWorker("w", "worker.phase.CUTOVER.started=sleep(2000)");
  fleet_.WaitPhase(migration, ref, v1::CUTOVER);
  // Past the freeze, as only somebody who owns the tables can.
  fleet_.source().Exec(
      "platform",
      "SET session_replication_role = replica; UPDATE auth.users SET aud = 'written late' WHERE id = "
      "(SELECT id FROM auth.users WHERE project_ref = '" +
          ref + "' LIMIT 1)");
  const std::string written = fleet_.SourceHash(ref);
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_FAILED);
  EXPECT_EQ(fleet_.GetProject(migration, ref).error().code(), "PGC-CUT-SOURCE-DIRTY") << fleet_.WorkerLog("w");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet_.SourceHash(ref), written);

  fleet_.Retry(migration, ref);
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  EXPECT_EQ(
      fleet_.target().QueryValue("project_" + ref, "SELECT count(*) FROM auth.users WHERE aud = 'written late'"),
      "1");
  EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");
}

TEST_F(Steering, ARowWrittenToTheTargetIsNotLostInARollback) {
  const std::string& ref = fleet_.refs()[0];
  const std::string migration = fleet_.Submit({ref});
  fleet_.StartWorker("w");
  ASSERT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  fleet_.target().Exec("project_" + ref, "UPDATE auth.sessions SET tag = 'written by the tenant'");
  const std::string written = fleet_.TargetHash(ref);

  fleet_.Rollback(migration, ref, /*discard_writes=*/false);
  const v1::Migration stopped = fleet_.WaitEnded(migration);
  EXPECT_EQ(stopped.projects_need_operator(), 1) << stopped.ShortDebugString();
  EXPECT_EQ(fleet_.GetProject(migration, ref).error().code(), "PGC-ROLLBACK-WRITES");
  EXPECT_EQ(fleet_.TargetHash(ref), written);

  fleet_.Rollback(migration, ref, /*discard_writes=*/true);
  fleet_.WaitEnded(migration);
  EXPECT_EQ(fleet_.GetProject(migration, ref).state(), v1::ROLLED_BACK);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref), "");
}

TEST_F(Steering, APauseFinishesWhatRunsAndGrantsNothingNew) {
  const std::string migration = fleet_.Submit();
  fleet_.StartWorker("w", "worker.phase.COPY.started=sleep(1500)", /*slots=*/1);
  fleet_.WaitPhase(migration, fleet_.refs()[0], v1::COPY);
  fleet_.Pause(migration);
  ASSERT_TRUE(Eventually([&] { return fleet_.Get(migration).projects_running() == 0; }));
  const v1::Migration paused = fleet_.Get(migration);
  EXPECT_EQ(paused.state(), v1::MIGRATION_PAUSED);
  EXPECT_GE(paused.projects_succeeded(), 1);
  EXPECT_LT(paused.projects_succeeded(), 4);
  fleet_.Resume(migration);
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  ExpectAllIsolated();
}

TEST_F(Steering, ACancelUndoesWhatHasBegunAndBeginsNothing) {
  const std::string migration = fleet_.Submit();
  fleet_.StartWorker("w", "worker.phase.COPY.started=sleep(1500)@*", /*slots=*/2);
  fleet_.WaitPhase(migration, fleet_.refs()[0], v1::COPY);
  fleet_.Cancel(migration);
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_CANCELLED);
  ExpectAllUntouched();
}

TEST_F(Steering, ARolledBackProjectCanBeMovedAgain) {
  const std::string& ref = fleet_.refs()[0];
  const std::string migration = fleet_.Submit({ref});
  fleet_.StartWorker("w");
  ASSERT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  fleet_.Rollback(migration, ref, /*discard_writes=*/false);
  fleet_.WaitEnded(migration);
  ASSERT_EQ(fleet_.WhyNotUntouched(ref), "");
  fleet_.Retry(migration, ref);
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(Steering, AFailingPostValidationRollsTheProjectBack) {
  // An application's login that may connect everywhere: the isolation that the plan asks for cannot be shown.
  const std::string& ref = fleet_.refs()[0];
  const std::string migration = fleet_.Submit({ref});
  fleet_.StartWorker("w", "worker.phase.POST_VALIDATION.started=sleep(1500)");
  fleet_.WaitPhase(migration, ref, v1::POST_VALIDATION);
  fleet_.target().Exec("postgres", "GRANT \"project_" + ref + "\" TO tenant_other");
  const v1::Migration ended = fleet_.WaitEnded(migration);
  EXPECT_EQ(ended.state(), v1::MIGRATION_FAILED) << fleet_.WorkerLog("w");
  EXPECT_EQ(fleet_.GetProject(migration, ref).state(), v1::ROLLED_BACK);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(Steering, ADrainedWorkerGivesBackWhatItHoldsAndExitsWithZero) {
  const std::string migration = fleet_.Submit();
  fleet_.StartWorker("w", "worker.phase.COPY.started=sleep(1000)", /*slots=*/2);
  fleet_.WaitPhase(migration, fleet_.refs()[0], v1::COPY);
  fleet_.worker("w").Kill(SIGTERM);
  EXPECT_EQ(fleet_.worker("w").Wait(), 0) << fleet_.WorkerLog("w");
  const v1::Migration left = fleet_.Get(migration);
  EXPECT_EQ(left.projects_running(), 0) << "its lease was not given back: " << left.ShortDebugString();
  EXPECT_GE(left.projects_succeeded(), 1);
  fleet_.StartWorker("other");
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  ExpectAllIsolated();
}

TEST_F(Steering, ACoordinatorThatIsToldToStopExitsWithZeroAndItsWorkersGoOn) {
  const std::string migration = fleet_.Submit();
  fleet_.StartWorker("w", "worker.phase.COPY.started=sleep(1000)");
  fleet_.WaitPhase(migration, fleet_.refs()[0], v1::COPY);
  fleet_.coordinator().Kill(SIGTERM);
  EXPECT_EQ(fleet_.coordinator().Wait(), 0) << fleet_.CoordinatorLog();
  fleet_.StartCoordinator();
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  EXPECT_NE(fleet_.WorkerLog("w").find("the coordinator is restarting"), std::string::npos) << fleet_.WorkerLog("w");
  for (const std::string& ref : fleet_.refs()) {
    EXPECT_EQ(fleet_.GetProject(migration, ref).attempts(), 1) << ref;
  }
  ExpectAllIsolated();
}

}  // namespace
}  // namespace pgconvoy::testing
