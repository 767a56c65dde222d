#include <algorithm>

#include "tests/unit/core/harness.h"

namespace pgconvoy::core {
namespace {

using ScheduleTest = Harness;

std::vector<std::string> Refs(const std::vector<Running>& granted) {
  std::vector<std::string> refs;
  for (const Running& running : granted) refs.push_back(running.project.ref);
  return refs;
}

TEST_F(ScheduleTest, FillsTheSlotsOfAWorkerFromOneBatch) {
  const MigrationId migration = Submit(8, Spec());
  Hello(1, "w1", 3);
  const Output out = DoSchedule();
  const auto grants = MessagesOf<SendGrant>(out);
  ASSERT_EQ(grants.size(), 1u);
  ASSERT_EQ(grants[0].projects.size(), 3u);
  EXPECT_EQ(grants[0].projects[0].phases, kShortPhases);
  EXPECT_FALSE(grants[0].projects[0].has_history);
  EXPECT_EQ(rows.project(migration, "p0").worker_id, "w1");
  EXPECT_EQ(rows.batches().at(grants[0].batch).worker_id, "w1");
  EXPECT_EQ(rows.attempts().size(), 3u);
  EXPECT_TRUE(Grants().empty()) << "no slot is left";
}

TEST_F(ScheduleTest, GivesTheNextProjectToTheWorkerWithMostFreeSlots) {
  Submit(12, Spec());
  Hello(1, "w1", 1);
  Hello(2, "w2", 3);
  Hello(3, "w3", 3);
  std::map<int64_t, int> per_stream;
  for (const Running& running : Grants()) ++per_stream[running.stream.value];
  EXPECT_EQ(per_stream, (std::map<int64_t, int>{{1, 1}, {2, 3}, {3, 3}}));
  EXPECT_EQ(rows.batches().at(BatchId{1}).worker_id, "w2");
  EXPECT_EQ(rows.batches().at(BatchId{2}).worker_id, "w3");
  EXPECT_EQ(rows.batches().at(BatchId{3}).worker_id, "w1");
}

TEST_F(ScheduleTest, RaisesTheFenceWithEveryGrant) {
  Submit(6, Spec());
  Hello(1, "w1", 6);
  int64_t before = 0;
  for (const Running& running : Grants()) {
    EXPECT_EQ(running.project.fence.value, before + 1);
    before = running.project.fence.value;
  }
  Reload();
  Hello(2, "w1", 6, {}, "i2");
  for (const Running& running : Grants()) {
    EXPECT_GT(running.project.fence.value, before);
    before = running.project.fence.value;
  }
}

struct LimitCase {
  const char* name;
  std::vector<ServerLimit> limits;
  std::string target;
  size_t granted;
  WaitCause cause;
};

class Limits : public Harness, public ::testing::WithParamInterface<LimitCase> {};

TEST_P(Limits, BoundWhatRunsOnAServer) {
  MigrationSpec spec = Spec();
  spec.limits = GetParam().limits;
  spec.batch_size = 2;
  std::vector<ProjectInput> projects = Inputs(20);
  for (ProjectInput& project : projects) project.target_server = GetParam().target;
  TrySubmit(spec, projects);
  Hello(1, "w1", 15);
  std::vector<Running> granted = Grants();
  ASSERT_EQ(granted.size(), GetParam().granted);
  EXPECT_EQ(core->WhyWaiting(MigrationId{1}, "p19", now), GetParam().cause);
  Finish(granted[0]);
  EXPECT_EQ(Grants().size(), 1u) << "a finished project frees its tokens";
}

INSTANTIATE_TEST_SUITE_P(
    Schedule,
    Limits,
    ::testing::Values(LimitCase{"source", {{"source", 3}, {"target", 9}}, "target", 3, WaitCause::kSourceTokens},
                      LimitCase{"target", {{"source", 9}, {"target", 2}}, "target", 2, WaitCause::kTargetTokens},
                      LimitCase{"in_place", {{"source", 1}}, "source", 1, WaitCause::kSourceTokens},
                      LimitCase{"unnamed", {}, "target", 8, WaitCause::kSourceTokens},
                      LimitCase{"slots", {{"source", 99}}, "", 15, WaitCause::kNoWorker}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(ScheduleTest, CountsTokensPerMigration) {
  MigrationSpec spec = Spec();
  spec.limits = {{"source", 2}, {"target", 2}};
  Submit(5, spec);
  spec.request_id = "r2";
  Submit(5, spec, "q");
  Hello(1, "w1", 10);
  EXPECT_EQ(Refs(Grants()), (std::vector<std::string>{"p0", "p1", "q0", "q1"}));
}

TEST_F(ScheduleTest, KeepsABatchWithItsHolderUntilNothingOfItIsReady) {
  Submit(8, Spec());
  Hello(1, "w1", 1);
  Hello(2, "w2", 1);
  std::vector<Running> granted = Grants();
  ASSERT_EQ(Refs(granted), (std::vector<std::string>{"p0", "p4"}));
  Finish(granted[0]);
  granted = Grants();
  EXPECT_EQ(Refs(granted), (std::vector<std::string>{"p1"}));
  EXPECT_EQ(granted[0].stream, StreamId{1});
}

TEST_F(ScheduleTest, GivesNothingToDrainingOrDisconnectedWorkers) {
  Submit(4, Spec());
  Hello(1, "w1");
  Hello(2, "w2");
  Do(WorkerHeartbeat{StreamId{1}, true});
  Do(WorkerGone{StreamId{2}});
  EXPECT_TRUE(Grants().empty());
  EXPECT_EQ(rows.workers().at("w1").state, "draining");
  EXPECT_EQ(core->WhyWaiting(MigrationId{1}, "p0", now), WaitCause::kNoWorker);
}

TEST_F(ScheduleTest, GivesTheRestOfADrainingWorkersBatchToAnother) {
  Submit(4, Spec());
  Hello(1, "w1", 1);
  std::vector<Running> granted = Grants();
  Do(WorkerHeartbeat{StreamId{1}, true});
  Hello(2, "w2", 1);
  EXPECT_TRUE(Grants().empty()) << "the batch is still in use";
  Finish(granted[0]);
  EXPECT_EQ(Refs(Grants()), (std::vector<std::string>{"p1"}));
}

TEST_F(ScheduleTest, SaysWhatAProjectWaitsFor) {
  const MigrationId migration = Submit(2, Spec());
  EXPECT_EQ(core->WhyWaiting(migration, "p0", now), WaitCause::kNoWorker);
  Hello(1, "w1", 1);
  EXPECT_EQ(core->WhyWaiting(migration, "p0", now), WaitCause::kBatchOrder);
  std::vector<Running> granted = Grants();
  EXPECT_EQ(core->WhyWaiting(migration, "p0", now), WaitCause::kNone);
  Fail(granted[0], Verdict::kTransient);
  EXPECT_EQ(core->WhyWaiting(migration, "p0", now), WaitCause::kRetryBackoff);
  Order(CommandKind::kPause, migration);
  EXPECT_EQ(core->WhyWaiting(migration, "p1", now), WaitCause::kPausedByUser);
  EXPECT_EQ(core->WhyWaiting(migration, "unknown", now), WaitCause::kNone);
}

TEST_F(ScheduleTest, DrainsTwoHundredThousandProjects) {
  constexpr int kProjects = 200'000;
  MigrationSpec spec = Spec();
  spec.phases = {Phase::kFence};
  spec.batch_size = 100;
  spec.limits = {{"source", 5'000}, {"target", 5'000}};
  SubmitMigration submit;
  submit.spec = spec;
  submit.projects = Inputs(kProjects);
  Output out;
  core->Apply(submit, now, out);
  ASSERT_EQ(out.writes.new_projects.size(), static_cast<size_t>(kProjects));
  for (int worker = 1; worker <= 20; ++worker) {
    WorkerHello hello;
    hello.stream = StreamId{worker};
    hello.worker_id = "w" + std::to_string(worker);
    hello.slots = 256;
    core->Apply(hello, now, out);
  }
  int finished = 0;
  size_t reconciled = 0;
  while (reconciled == 0) {
    out = {};
    core->Schedule(now, out);
    const auto grants = MessagesOf<SendGrant>(out);
    ASSERT_FALSE(grants.empty()) << "stuck after " << finished;
    out = {};
    for (const SendGrant& grant : grants) {
      for (const GrantedProject& project : grant.projects) {
        WorkerReport report{grant.stream, grant.migration, project.ref, project.fence, 1, {}};
        report.body = PhaseDone{Phase::kFence, "", 0, 0, {}};
        core->Apply(report, now, out);
        report.seq = 2;
        report.body = AttemptDone{};
        core->Apply(report, now, out);
        ++finished;
      }
    }
    reconciled = out.reconciles.size();
  }
  EXPECT_EQ(finished, kProjects);
  EXPECT_EQ(out.writes.migrations.at(0).state, MigrationState::kSucceeded);
  EXPECT_EQ(out.writes.migrations.at(0).counts[static_cast<size_t>(ProjectState::kSucceeded)], kProjects);
  EXPECT_EQ(core->CheckInvariants(), "");
}

}  // namespace
}  // namespace pgconvoy::core
