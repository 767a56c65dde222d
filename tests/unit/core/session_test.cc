#include "tests/unit/core/harness.h"

namespace pgconvoy::core {
namespace {

class SessionTest : public Harness {
 protected:
  const ProjectRow& Row(const std::string& ref) const { return rows.project(MigrationId{1}, ref); }
};

TEST_F(SessionTest, WelcomesAWorkerFirst) {
  const Output out = Hello(1, "w1");
  ASSERT_EQ(out.messages.size(), 1u);
  EXPECT_EQ(std::get<SendWelcome>(out.messages[0]).stream, StreamId{1});
  EXPECT_EQ(rows.workers().at("w1").state, "connected");
}

TEST_F(SessionTest, EndsTheLeasesOfASilentWorker) {
  Submit(3, Spec());
  Hello(1, "w1", 2);
  const std::vector<Running> granted = Grants();
  Pass(settings.lease_ttl_ms - 1);
  EXPECT_EQ(Row("p0").state, ProjectState::kRunning);
  Pass(1);
  EXPECT_EQ(Row("p0").state, ProjectState::kWaiting);
  EXPECT_EQ(Row("p0").losses, 1);
  EXPECT_EQ(Row("p0").worker_id, "");
  EXPECT_EQ(rows.attempts().at(granted[0].project.fence).outcome, "lost");
  EXPECT_EQ(rows.workers().at("w1").state, "lost");
  EXPECT_EQ(rows.batches().at(BatchId{1}).state, BatchState::kWaiting);
  const auto revokes = MessagesOf<SendRevoke>(last);
  ASSERT_EQ(revokes.size(), 1u);
  EXPECT_EQ(revokes[0].projects.size(), 2u);
  EXPECT_EQ(revokes[0].reason, RevokeReason::kLeaseLost);
}

TEST_F(SessionTest, TakesAnyMessageForASignOfLife) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Pass(settings.lease_ttl_ms - 1);
  Report(running, PhaseStarted{Phase::kFence});
  Pass(settings.lease_ttl_ms - 1);
  Do(WorkerHeartbeat{StreamId{1}});
  Pass(settings.lease_ttl_ms - 1);
  EXPECT_EQ(Row("p0").state, ProjectState::kRunning);
  EXPECT_EQ(core->NextDeadline(), now.mono + 1);
}

TEST_F(SessionTest, GivesWorkAgainToAWorkerThatSpeaksAfterItsLeasesEnded) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running old = Grants().at(0);
  Pass(settings.lease_ttl_ms);
  EXPECT_TRUE(Grants().empty());
  EXPECT_EQ(Report(old, PhaseStarted{Phase::kFence}).refused_reason, "LEASE_LOST");
  EXPECT_EQ(rows.workers().at("w1").state, "connected");
  EXPECT_EQ(Grants().size(), 1u);
}

TEST_F(SessionTest, KeepsTheLeasesOfAWorkerWhoseStreamClosed) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Do(WorkerGone{StreamId{1}});
  Hello(2, "w1", 4, {Held(running)});
  EXPECT_EQ(Row("p0").state, ProjectState::kRunning);
  running.stream = StreamId{2};
  Finish(running);
  EXPECT_EQ(Row("p0").state, ProjectState::kSucceeded);
}

TEST_F(SessionTest, RecordsWhenALostWorkerWasLastHeard) {
  Hello(1, "w1");
  Pass(1'000);
  Do(WorkerHeartbeat{StreamId{1}});
  const WallMs heard = now.wall;
  Pass(settings.lease_ttl_ms + 5'000);
  Do(Tick{});
  EXPECT_EQ(rows.workers().at("w1").state, "lost");
  EXPECT_EQ(rows.workers().at("w1").last_seen, heard);
}

TEST_F(SessionTest, RefusesASupersededStream) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Hello(2, "w1", 4, {Held(running)});
  EXPECT_EQ(Report(running, PhaseStarted{Phase::kFence}).refused_reason, "LEASE_LOST");
  EXPECT_TRUE(Do(WorkerHeartbeat{StreamId{1}, true}).writes.Empty());
  Do(WorkerGone{StreamId{1}});
  EXPECT_EQ(Row("p0").state, ProjectState::kRunning);
}

TEST_F(SessionTest, TakesAHelloOfAnotherWorkerForTheEndOfTheStreamsFirst) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Hello(1, "w2");
  EXPECT_EQ(Report(running, PhaseStarted{Phase::kFence}).refused_reason, "LEASE_LOST");
  EXPECT_EQ(Row("p0").state, ProjectState::kRunning) << "w1 may come back within its lease";
  Hello(2, "w1", 4, {Held(running)});
  running.stream = StreamId{2};
  running.seq = 0;
  EXPECT_EQ(Report(running, PhaseStarted{Phase::kFence}).refused_reason, "");
}

TEST_F(SessionTest, TakesBackAGrantThatNeverArrived) {
  Submit(2, Spec());
  Hello(1, "w1");
  const std::vector<Running> granted = Grants();
  Hello(2, "w1", 4, {Held(granted[0])});
  EXPECT_EQ(Row("p0").state, ProjectState::kRunning);
  EXPECT_EQ(Row("p1").state, ProjectState::kWaiting);
  EXPECT_EQ(Row("p1").losses, 0);
  EXPECT_EQ(rows.attempts().at(granted[1].project.fence).outcome, "abandoned");
}

TEST_F(SessionTest, RevokesWhatAWorkerHoldsWithoutALease) {
  Submit(2, Spec());
  Hello(1, "w1");
  std::vector<Running> granted = Grants();
  granted[1].project.fence.value += 100;
  const Output out = Hello(2, "w1", 4, {Held(granted[0]), Held(granted[1]), {MigrationId{9}, "unknown", Fence{1}}});
  const auto revokes = MessagesOf<SendRevoke>(out);
  ASSERT_EQ(revokes.size(), 1u);
  ASSERT_EQ(revokes[0].projects.size(), 2u);
  EXPECT_EQ(revokes[0].projects[0].ref, "p1");
  EXPECT_EQ(revokes[0].projects[1].ref, "unknown");
  EXPECT_TRUE(std::holds_alternative<SendWelcome>(out.messages[0]));
}

TEST_F(SessionTest, VoidsWhatAnOlderIncarnationHeld) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running old = Grants().at(0);
  const Output out = Hello(2, "w1", 4, {}, "i2");
  EXPECT_EQ(Row("p0").state, ProjectState::kWaiting);
  EXPECT_EQ(Row("p0").losses, 1);
  EXPECT_EQ(MessagesOf<SendRevoke>(out).at(0).stream, StreamId{1});
  EXPECT_EQ(Report(old, PhaseStarted{Phase::kFence}).refused_reason, "LEASE_LOST");
  EXPECT_EQ(Grants().at(0).stream, StreamId{2});
}

TEST_F(SessionTest, NeedsAnOperatorAfterTooManyLosses) {
  settings.max_lost_attempts = 3;
  core = std::make_unique<Core>(settings, kSeed);
  Submit(1, Spec());
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(Row("p0").state, i == 1 ? ProjectState::kPending : ProjectState::kWaiting);
    Hello(i, "w1", 4, {}, "i" + std::to_string(i));
    ASSERT_EQ(Grants().size(), 1u);
    Pass(settings.lease_ttl_ms);
  }
  EXPECT_EQ(Row("p0").state, ProjectState::kNeedsOperator);
  EXPECT_EQ(Row("p0").error->code, "PGC-WORKER-LOSSES");
  EXPECT_EQ(StateOf(MigrationId{1}), MigrationState::kFailed);
}

TEST_F(SessionTest, TakesBackReleasedProjectsAtOnce) {
  Submit(1, Spec());
  Hello(1, "w1");
  const Running running = Grants().at(0);
  Do(WorkerRelease{StreamId{1}, {Held(running), {MigrationId{1}, "p0", Fence{77}}}});
  EXPECT_EQ(Row("p0").state, ProjectState::kWaiting);
  EXPECT_EQ(rows.attempts().at(running.project.fence).outcome, "abandoned");
  EXPECT_EQ(Grants().size(), 1u);
}

TEST_F(SessionTest, RenewsEveryLeaseOnceWhenATermBegins) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  now.mono += settings.lease_ttl_ms * 10;
  Reload();
  Pass(settings.lease_ttl_ms - 1);
  EXPECT_EQ(Row("p0").state, ProjectState::kRunning);
  Hello(2, "w1", 4, {Held(running)});
  running.stream = StreamId{2};
  Finish(running);
  EXPECT_EQ(Row("p0").state, ProjectState::kSucceeded);
}

TEST_F(SessionTest, KnowsADrainedWorkerFromALostOne) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Do(WorkerHeartbeat{StreamId{1}, /*draining=*/true});
  Finish(running);
  Do(WorkerGone{StreamId{1}});
  EXPECT_EQ(rows.workers().at("w1").state, "drained");
  Reload();
  EXPECT_EQ(core->NextDeadline(), std::nullopt);
}

TEST_F(SessionTest, EndsTheLeasesOfAWorkerThatDoesNotComeBackToANewTerm) {
  Submit(1, Spec());
  Hello(1, "w1");
  Grants();
  Reload();
  EXPECT_EQ(core->NextDeadline(), now.mono + settings.lease_ttl_ms);
  Pass(settings.lease_ttl_ms);
  EXPECT_EQ(Row("p0").state, ProjectState::kWaiting);
  EXPECT_EQ(rows.workers().at("w1").state, "lost");
  EXPECT_EQ(core->NextDeadline(), std::nullopt);
}

}  // namespace
}  // namespace pgconvoy::core
