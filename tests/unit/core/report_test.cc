#include <algorithm>

#include "tests/unit/core/harness.h"

namespace pgconvoy::core {
namespace {

class ReportTest : public Harness {
 protected:
  // One project on one worker.
  Running Begin(const MigrationSpec& spec) {
    Submit(1, spec);
    Hello(1, "w1");
    return Grants().at(0);
  }
  const ProjectRow& p0() const { return rows.project(MigrationId{1}, "p0"); }
  // Lets every backoff pass and takes the next grant of p0.
  Running Again() {
    Pass(60'000);
    ++stream_;
    Hello(stream_, "w1", 4, {}, "i" + std::to_string(stream_));
    return Grants().at(0);
  }
  int stream_ = 1;
};

TEST_F(ReportTest, RecordsEveryPhaseAndEndsTheProject) {
  Running running = Begin(Spec());
  Finish(running);
  EXPECT_EQ(p0().state, ProjectState::kSucceeded);
  EXPECT_EQ(rows.results().size(), kShortPhases.size());
  EXPECT_EQ(rows.attempts().at(running.project.fence).outcome, "succeeded");
  EXPECT_EQ(StateOf(MigrationId{1}), MigrationState::kSucceeded);
  EXPECT_EQ(rows.migration(MigrationId{1}).end_time, now.wall);
  EXPECT_FALSE(core->Holds(MigrationId{1}));
  EXPECT_EQ(rows.batches().at(BatchId{1}).state, BatchState::kDone);
}

TEST_F(ReportTest, PhasesThatEndTogetherShareAnEvent) {
  Submit(2, Spec());
  Hello(1, "w1");
  const std::vector<Running> granted = Grants();
  const auto done = [this](const Running& running, int64_t seq, Phase phase, Output& out) {
    core->Apply(WorkerReport{running.stream, running.migration, running.project.ref, running.project.fence, seq,
                             PhaseDone{phase, "{}", 0, 0, {}}},
                now, out);
  };
  Output out;
  done(granted.at(0), 1, Phase::kFence, out);
  done(granted.at(0), 2, Phase::kPreValidation, out);
  done(granted.at(1), 1, Phase::kFence, out);
  done(granted.at(0), 3, Phase::kCredentials, out);
  std::vector<std::string> told;
  for (const EventRow& event : out.writes.events) {
    EXPECT_EQ(event.kind, "PHASE_DONE");
    EXPECT_EQ(event.actor, "worker:w1");
    told.push_back(event.project_ref + " " + event.rule + " " + event.detail_json);
  }
  const auto detail = [](const Running& running, const std::string& phases) {
    return R"( {"direction":"FORWARD","fence":")" + std::to_string(running.project.fence.value) + R"(","phases":")" +
           phases + R"("})";
  };
  EXPECT_EQ(told, (std::vector<std::string>{"p0 P-02" + detail(granted[0], "FENCE,PRE_VALIDATION"),
                                            "p1 P-01" + detail(granted[1], "FENCE"),
                                            "p0 P-04" + detail(granted[0], "CREDENTIALS")}));
  EXPECT_EQ(out.writes.results.size(), 4U);
}

TEST_F(ReportTest, PhasesThatEndWithTheirAttemptAreToldWithItsEnd) {
  Submit(1, Spec());
  Hello(1, "w1");
  const Running running = Grants().at(0);
  Output out;
  int64_t seq = 0;
  const auto report = [&](auto body) {
    core->Apply(WorkerReport{running.stream, running.migration, running.project.ref, running.project.fence, ++seq,
                             std::move(body)},
                now, out);
  };
  std::string names;
  for (const Phase phase : running.project.phases) {
    report(PhaseDone{phase, "{}", 0, 0, {}});
    names += (names.empty() ? "" : ",") + std::string(Name(phase));
  }
  report(AttemptDone{});
  EXPECT_EQ(out.writes.projects.at(0).state, ProjectState::kSucceeded);
  std::vector<std::string> kinds;
  for (const EventRow& event : out.writes.events) {
    kinds.push_back(event.kind);
  }
  EXPECT_EQ(kinds, (std::vector<std::string>{"PROJECT_STATE", "MIGRATION_SUCCEEDED"}));
  EXPECT_NE(out.writes.events[0].detail_json.find(R"("phases":")" + names + '"'), std::string::npos);
}

TEST_F(ReportTest, AcknowledgesAResentReportAndRecordsItOnce) {
  Submit(2, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Finish(running);
  const int64_t last_seq = running.seq;
  running.seq = last_seq - 1;
  EXPECT_EQ(Report(running, AttemptDone{}).refused_reason, "") << "even after the attempt has ended";
  EXPECT_EQ(rows.project(MigrationId{1}, "p0").last_seq, last_seq);
}

TEST_F(ReportTest, RefusesAStaleFence) {
  Running running = Begin(Spec());
  --running.project.fence.value;
  EXPECT_EQ(Report(running, PhaseStarted{Phase::kFence}).refused_reason, "LEASE_LOST");
}

TEST_F(ReportTest, RefusesAnotherWorkersReport) {
  Running running = Begin(Spec());
  Hello(2, "w2");
  running.stream = StreamId{2};
  EXPECT_EQ(Report(running, PhaseStarted{Phase::kFence}).refused_reason, "LEASE_LOST");
}

struct IllegalCase {
  const char* name;
  decltype(WorkerReport::body) body;
  int64_t seq;
};

class Illegal : public Harness, public ::testing::WithParamInterface<IllegalCase> {};

TEST_P(Illegal, IsRefusedAndChangesNothing) {
  Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  RunThrough(running, Phase::kFence);
  const Output out = Do(WorkerReport{running.stream, running.migration, "p0", running.project.fence,
                                     running.seq + GetParam().seq, GetParam().body});
  EXPECT_EQ(AckIn(out).refused_reason, "ILLEGAL");
  EXPECT_FALSE(AckIn(out).refused_message.empty());
  EXPECT_TRUE(out.writes.projects.empty());
  ASSERT_EQ(out.writes.events.size(), 1u);
  EXPECT_EQ(out.writes.events[0].kind, "REPORT_REFUSED");
  Finish(running = [&] {
    Running rest = running;
    rest.project.phases.erase(rest.project.phases.begin());
    return rest;
  }());
  EXPECT_EQ(StateOf(MigrationId{1}), MigrationState::kSucceeded);
}

INSTANTIATE_TEST_SUITE_P(Report,
                         Illegal,
                         ::testing::Values(IllegalCase{"gap", PhaseStarted{Phase::kPreValidation}, 2},
                                           IllegalCase{"phase_not_in_plan", PhaseStarted{Phase::kCopy}, 1},
                                           IllegalCase{"phase_out_of_order",
                                                       PhaseDone{Phase::kCredentials, "", 0, 0, {}}, 1},
                                           IllegalCase{"phase_done_twice", PhaseDone{Phase::kFence, "", 0, 0, {}}, 1},
                                           IllegalCase{"done_too_early", AttemptDone{}, 1}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(ReportTest, TakesTheEndOfAnAttemptOfWhichAReportWasRefused) {
  Running running = Begin(Spec());
  RunThrough(running, Phase::kFence);
  EXPECT_EQ(Report(running, PhaseStarted{Phase::kCopy}).refused_reason, "ILLEGAL");
  EXPECT_EQ(Report(running, PhaseDone{Phase::kCopy, "", 0, 0, {}}).refused_reason, "ILLEGAL");
  EXPECT_EQ(Fail(running, Verdict::kPermanent, "PGC-REPORT-REFUSED").refused_reason, "");
  EXPECT_EQ(p0().state, ProjectState::kFailed);
}

TEST_F(ReportTest, LetsTheNextAttemptLeaveOutWhatIsDone) {
  Running running = Begin(Spec());
  RunThrough(running, Phase::kPreValidation);
  Fail(running, Verdict::kTransient);
  EXPECT_EQ(p0().state, ProjectState::kWaiting);
  const Running next = Again();
  EXPECT_EQ(next.project.phases, (std::vector<Phase>{Phase::kFence, Phase::kCredentials, Phase::kCleanup}));
  EXPECT_TRUE(next.project.has_history);
  EXPECT_GT(next.project.fence, running.project.fence);
}

TEST_F(ReportTest, BacksOffLongerAfterEveryTransientError) {
  MigrationSpec spec = Spec();
  spec.initial_backoff_ms = 1'000;
  spec.max_backoff_ms = 3'000;
  Running running = Begin(spec);
  for (const MonotonicMs whole : {1'000, 2'000, 3'000, 3'000}) {
    Fail(running, Verdict::kTransient);
    const MonotonicMs pause = p0().not_before - now.wall;
    EXPECT_GE(pause, whole / 2);
    EXPECT_LE(pause, whole);
    EXPECT_EQ(p0().error->code, "PGC-TEST-ERROR");
    now.mono += pause - 1;
    now.wall += pause - 1;
    Do(Tick{});
    EXPECT_TRUE(Grants().empty());
    EXPECT_EQ(core->NextDeadline(), now.mono + 1);
    Pass(1);
    running = Grants().at(0);
  }
}

TEST_F(ReportTest, KeepsABackoffOverAReload) {
  Running running = Begin(Spec());
  Fail(running, Verdict::kTransient);
  const MonotonicMs pause = p0().not_before - now.wall;
  Reload();
  Hello(2, "w1");
  EXPECT_TRUE(Grants().empty());
  Pass(pause);
  EXPECT_EQ(Grants().size(), 1u);
}

TEST_F(ReportTest, NeedsAnOperatorOnceItsAttemptsAreUsedUp) {
  MigrationSpec spec = Spec();
  spec.max_attempts = 3;
  Running running = Begin(spec);
  Fail(running, Verdict::kTransient);
  running = Again();
  Fail(running, Verdict::kInDoubt);
  running = Again();
  Fail(running, Verdict::kTransient, "PGC-LAST-ERROR");
  EXPECT_EQ(p0().state, ProjectState::kNeedsOperator);
  EXPECT_EQ(p0().error->code, "PGC-RETRIES-EXHAUSTED");
  EXPECT_NE(p0().error->message.find("PGC-LAST-ERROR: it broke"), std::string::npos);
  EXPECT_EQ(StateOf(MigrationId{1}), MigrationState::kFailed);
}

struct EndCase {
  const char* name;
  Verdict verdict;
  // Phases that the attempt finished before it failed.
  Phase last;
  bool rollback_on_failure;
  ProjectState state;
  Direction direction;
  const char* code;
};

class AttemptEnd : public Harness, public ::testing::WithParamInterface<EndCase> {};

TEST_P(AttemptEnd, FollowsTheVerdict) {
  MigrationSpec spec = Spec();
  spec.rollback_on_failure = GetParam().rollback_on_failure;
  const MigrationId migration = Submit(1, spec);
  Hello(1, "w1");
  Running running = Grants().at(0);
  RunThrough(running, GetParam().last);
  EXPECT_EQ(Fail(running, GetParam().verdict).refused_reason, "");
  const ProjectRow& row = rows.project(migration, "p0");
  EXPECT_EQ(row.state, GetParam().state);
  EXPECT_EQ(row.direction, GetParam().direction);
  EXPECT_EQ(row.error ? row.error->code : "", GetParam().code);
}

using V = Verdict;
using S = ProjectState;
INSTANTIATE_TEST_SUITE_P(Report,
                         AttemptEnd,
                         ::testing::Values(EndCase{"untouched", V::kPermanent, Phase::kPreValidation, true,
                                                   S::kFailed, Direction::kForward, "PGC-TEST-ERROR"},
                                           EndCase{"touched", V::kPermanent, Phase::kCredentials, true, S::kWaiting,
                                                   Direction::kRollback, "PGC-TEST-ERROR"},
                                           EndCase{"kept", V::kPermanent, Phase::kCredentials, false, S::kFailed,
                                                   Direction::kForward, "PGC-TEST-ERROR"},
                                           EndCase{"operator", V::kOperator, Phase::kCredentials, true,
                                                   S::kNeedsOperator, Direction::kForward, "PGC-TEST-ERROR"},
                                           EndCase{"fenced", V::kFenced, Phase::kFence, true, S::kNeedsOperator,
                                                   Direction::kForward, "PGC-STORE-REGRESSED"},
                                           EndCase{"abandoned", V::kAbandoned, Phase::kCredentials, true, S::kWaiting,
                                                   Direction::kForward, ""}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(ReportTest, CountsNoFailureForAnAbandonedAttempt) {
  Running running = Begin(Spec());
  Fail(running, Verdict::kAbandoned);
  EXPECT_EQ(p0().failures, 0);
  EXPECT_EQ(rows.attempts().at(running.project.fence).outcome, "abandoned");
  EXPECT_EQ(Grants().size(), 1u) << "at once";
}

TEST_F(ReportTest, TakesAnIntentForSomethingToUndo) {
  Running running = Begin(Spec());
  RunThrough(running, Phase::kPreValidation);
  EXPECT_FALSE(p0().touched);
  Report(running, IntentReported{"{}"});
  EXPECT_TRUE(p0().touched);
  EXPECT_EQ(rows.intents().size(), 1u);
  Fail(running, Verdict::kPermanent);
  EXPECT_EQ(p0().direction, Direction::kRollback);
}

TEST_F(ReportTest, KeepsTheErrorOfAProjectThatRolledItselfBack) {
  Running running = Begin(Spec());
  RunThrough(running, Phase::kCredentials);
  Fail(running, Verdict::kPermanent, "PGC-THE-CAUSE");
  Running rollback = Grants().at(0);
  EXPECT_EQ(rollback.project.direction, Direction::kRollback);
  EXPECT_EQ(rollback.project.phases,
            (std::vector<Phase>{Phase::kFence, Phase::kCredentials, Phase::kVerify, Phase::kCleanup}));
  RunThrough(rollback, Phase::kCredentials);
  Fail(rollback, Verdict::kTransient, "PGC-PASSING");
  rollback = Again();
  EXPECT_EQ(rollback.project.phases, (std::vector<Phase>{Phase::kFence, Phase::kVerify, Phase::kCleanup}));
  Finish(rollback);
  EXPECT_EQ(p0().state, ProjectState::kRolledBack);
  EXPECT_EQ(p0().error->code, "PGC-THE-CAUSE");
  EXPECT_EQ(StateOf(MigrationId{1}), MigrationState::kFailed);
}

TEST_F(ReportTest, NeedsAnOperatorWhenARollbackCannotGoOn) {
  Running running = Begin(Spec());
  RunThrough(running, Phase::kCredentials);
  Fail(running, Verdict::kPermanent);
  Running rollback = Grants().at(0);
  Fail(rollback, Verdict::kPermanent, "PGC-ROLLBACK-BROKE");
  EXPECT_EQ(p0().state, ProjectState::kNeedsOperator);
  EXPECT_EQ(p0().error->code, "PGC-ROLLBACK-BROKE");
}

TEST_F(ReportTest, EndsWithWarningsWhenAPhaseWarned) {
  Running running = Begin(Spec());
  Report(running, PhaseDone{Phase::kFence, "", 0, 0, {"slow"}});
  running.project.phases.erase(running.project.phases.begin());
  Finish(running);
  EXPECT_EQ(p0().state, ProjectState::kSucceededWithWarnings);
  EXPECT_EQ(p0().warnings, std::vector<std::string>{"slow"});
  EXPECT_EQ(StateOf(MigrationId{1}), MigrationState::kSucceededWithWarnings);
}

TEST_F(ReportTest, AWarningThatIsSaidAgainCountsOnce) {
  Running running = Begin(Spec());
  Report(running, PhaseDone{Phase::kFence, "", 0, 0, {"slow"}});
  Report(running, PhaseDone{Phase::kPreValidation, "", 0, 0, {"slow", "old"}});
  EXPECT_EQ(p0().warnings, (std::vector<std::string>{"slow", "old"}));
}

TEST_F(ReportTest, KeepsAHundredWarningsOfAProject) {
  Running running = Begin(Spec());
  std::vector<std::string> warnings;
  for (int i = 0; i < 99; ++i) {
    warnings.push_back("warning " + std::to_string(i));
  }
  Report(running, PhaseDone{Phase::kFence, "", 0, 0, warnings});
  Report(running, PhaseDone{Phase::kPreValidation, "", 0, 0, {"last", "too many"}});
  ASSERT_EQ(p0().warnings.size(), 100u);
  EXPECT_EQ(p0().warnings.back(), "last");
}

TEST_F(ReportTest, RefusesAPhaseWhenNoneIsLeft) {
  Running running = Begin(Spec());
  RunThrough(running, kShortPhases.back());
  const SendAck ack = Report(running, PhaseStarted{kShortPhases.back()});
  EXPECT_EQ(ack.refused_reason, "ILLEGAL");
  EXPECT_EQ(ack.refused_message, "CLEANUP is not next in this attempt; no phase is left");
}

TEST_F(ReportTest, RefusesWhatIsSaidOfAProjectThatDoesNotExist) {
  Running running = Begin(Spec());
  running.project.ref = "nobody";
  EXPECT_EQ(Report(running, PhaseStarted{Phase::kFence}).refused_reason, "LEASE_LOST");
}

TEST_F(ReportTest, RefusesWhatComesOnAStreamThatNobodyHasOpened) {
  Running running = Begin(Spec());
  running.stream = StreamId{99};
  EXPECT_EQ(Report(running, PhaseStarted{Phase::kFence}).refused_reason, "LEASE_LOST");
  Do(WorkerRelease{StreamId{99}, {Held(running)}});
  EXPECT_EQ(p0().state, ProjectState::kRunning);
}

TEST_F(ReportTest, WritesAnOperatorsWordsAsJson) {
  const MigrationId migration = Submit(1, Spec());
  Command pause;
  pause.kind = CommandKind::kPause;
  pause.migration = migration;
  pause.actor = "anna";
  pause.reason = "a \"b\" \\ c\n\x01";
  Do(pause);
  EXPECT_EQ(rows.events().back().detail_json, R"({"from":"RUNNING","operator_reason":"a \"b\" \\ c\u000a\u0001"})");
}

class CopyTest : public ReportTest {
 protected:
  Running BeginCopy() {
    MigrationSpec spec = Spec();
    spec.phases = {Phase::kFence, Phase::kBackup, Phase::kCopy};
    Running running = Begin(spec);
    RunThrough(running, Phase::kBackup);
    Report(running, PhaseStarted{Phase::kCopy});
    return running;
  }
};

TEST_F(CopyTest, WritesProgressOnlySoOften) {
  Running running = BeginCopy();
  Report(running, Progress{10, 100});
  EXPECT_EQ(p0().rows_copied, 10);
  EXPECT_EQ(Report(running, Progress{20, 200}).refused_reason, "");
  EXPECT_EQ(p0().rows_copied, 10);
  now.mono += settings.progress_interval_ms;
  Report(running, Progress{30, 300});
  EXPECT_EQ(p0().rows_copied, 30);
  EXPECT_EQ(rows.migration(MigrationId{1}).bytes_copied, 300);
}

TEST_F(CopyTest, SumsWhatCopyReports) {
  Running running = BeginCopy();
  Report(running, Progress{99, 999});
  Report(running, PhaseDone{Phase::kCopy, "", 40, 400, {}});
  Report(running, AttemptDone{});
  EXPECT_EQ(p0().rows_copied, 40);
  EXPECT_EQ(rows.migration(MigrationId{1}).rows_copied, 40);
  EXPECT_EQ(rows.migration(MigrationId{1}).bytes_copied, 400);
}

TEST_F(CopyTest, TakesAReportAfterProgressThatARestartForgot) {
  Running running = BeginCopy();
  Report(running, Progress{1, 1});
  Report(running, Progress{2, 2});
  Report(running, Progress{3, 3});
  Reload();
  Hello(2, "w1", 4, {Held(running)});
  running.stream = StreamId{2};
  EXPECT_EQ(Report(running, PhaseDone{Phase::kCopy, "", 4, 4, {}}).refused_reason, "");
  ++running.seq;
  EXPECT_EQ(Report(running, AttemptDone{}).refused_reason, "ILLEGAL") << "only once";
}

TEST_F(ReportTest, SaysInAnEventWhichRuleDecidedAndWhy) {
  Running running = Begin(Spec());
  Finish(running);
  const auto& events = rows.events();
  const auto found =
      std::find_if(events.begin(), events.end(), [](const EventRow& row) { return row.rule == "T-03"; });
  ASSERT_NE(found, events.end());
  EXPECT_EQ(found->kind, "PROJECT_STATE");
  EXPECT_EQ(found->actor, "worker:w1");
  EXPECT_EQ(found->reason, "every forward phase is durable");
  EXPECT_EQ(found->detail_json,
            R"({"from":"RUNNING","to":"SUCCEEDED","direction":"FORWARD","fence":"1","worker":"w1"})");
  EXPECT_EQ(events.back().kind, "MIGRATION_SUCCEEDED");
}

}  // namespace
}  // namespace pgconvoy::core
