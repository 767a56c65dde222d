#include "tests/unit/core/harness.h"

namespace pgconvoy::core {
namespace {

using K = CommandKind;

class CommandTest : public Harness {
 protected:
  // Three projects: p0 has made something and waits, p1 runs, p2 is pending.
  MigrationId Mixed() {
    const MigrationId migration = Submit(3, Spec());
    Hello(1, "w1", 2);
    std::vector<Running> granted = Grants();
    RunThrough(granted[0], Phase::kCredentials);
    Fail(granted[0], Verdict::kTransient);
    p1 = granted[1];
    Do(WorkerHeartbeat{StreamId{1}});
    return migration;
  }
  // Grants until nothing is left and lets every attempt succeed.
  void Drain() {
    for (std::vector<Running> granted = Grants(); !granted.empty(); granted = Grants()) {
      for (Running& running : granted) Finish(running);
    }
  }
  MigrationId Succeeded(int count = 2) {
    const MigrationId migration = Submit(count, Spec());
    Hello(1, "w1");
    Drain();
    EXPECT_EQ(StateOf(migration), MigrationState::kSucceeded);
    return migration;
  }
  MigrationId Failed() {
    const MigrationId migration = Submit(1, Spec());
    Hello(1, "w1");
    Running running = Grants().at(0);
    RunThrough(running, Phase::kPreValidation);
    Fail(running, Verdict::kPermanent);
    EXPECT_EQ(StateOf(migration), MigrationState::kFailed);
    return migration;
  }
  Running p1;
};

TEST_F(CommandTest, RefusesAnUnknownMigration) {
  const Reply reply = Order(K::kPause, MigrationId{9});
  EXPECT_EQ(reply.status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(reply.status), "PGC-MIGRATION-UNKNOWN");
}

TEST_F(CommandTest, PausesAndResumes) {
  const MigrationId migration = Submit(1, Spec());
  Hello(1, "w1");
  EXPECT_TRUE(Order(K::kPause, migration).status.ok());
  EXPECT_TRUE(Order(K::kPause, migration).status.ok());
  EXPECT_EQ(StateOf(migration), MigrationState::kPaused);
  EXPECT_TRUE(Grants().empty());
  EXPECT_TRUE(Order(K::kResume, migration).status.ok());
  EXPECT_TRUE(Order(K::kResume, migration).status.ok());
  EXPECT_EQ(Grants().size(), 1u);
}

TEST_F(CommandTest, FinishesWhatRunsWhilePaused) {
  const MigrationId migration = Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Order(K::kPause, migration);
  Finish(running);
  EXPECT_EQ(StateOf(migration), MigrationState::kSucceeded);
}

TEST_F(CommandTest, GrantsRollbacksWhilePaused) {
  const MigrationId migration = Submit(2, Spec());
  Hello(1, "w1", 1);
  Running running = Grants().at(0);
  RunThrough(running, Phase::kCredentials);
  Order(K::kPause, migration);
  Fail(running, Verdict::kPermanent);
  const std::vector<Running> granted = Grants();
  ASSERT_EQ(granted.size(), 1u);
  EXPECT_EQ(granted[0].project.direction, Direction::kRollback);
}

struct StateCase {
  const char* name;
  K first;
  K refused;
};

class WrongState : public CommandTest, public ::testing::WithParamInterface<StateCase> {};

TEST_P(WrongState, IsRefusedAndNamesTheState) {
  const MigrationId migration = Mixed();
  ASSERT_TRUE(Order(GetParam().first, migration).status.ok());
  const MigrationState state = StateOf(migration);
  const Reply reply = Order(GetParam().refused, migration);
  EXPECT_EQ(reply.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(reply.status), "PGC-MIGRATION-STATE");
  EXPECT_NE(MessageOf(reply.status).find(std::string(Name(state))), std::string::npos);
  EXPECT_EQ(StateOf(migration), state);
}

INSTANTIATE_TEST_SUITE_P(Command,
                         WrongState,
                         ::testing::Values(StateCase{"pause_cancelling", K::kCancel, K::kPause},
                                           StateCase{"resume_cancelling", K::kCancel, K::kResume},
                                           StateCase{"retry_cancelling", K::kCancel, K::kRetry},
                                           StateCase{"rollback_cancelling", K::kCancel, K::kRollback},
                                           StateCase{"pause_rolling_back", K::kRollback, K::kPause},
                                           StateCase{"cancel_rolling_back", K::kRollback, K::kCancel}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(CommandTest, RefusesCommandsOnAnEndedMigration) {
  const MigrationId migration = Succeeded();
  for (const K kind : {K::kPause, K::kResume, K::kCancel, K::kRetry, K::kRollback}) {
    EXPECT_EQ(CodeOf(Order(kind, migration).status), "PGC-MIGRATION-STATE");
  }
}

TEST_F(CommandTest, CancelsEachProjectTheWayItStands) {
  const MigrationId migration = Mixed();
  const Reply reply = Order(K::kCancel, migration);
  EXPECT_EQ(reply.projects_changed, 3);
  EXPECT_EQ(StateOf(migration), MigrationState::kCancelling);
  EXPECT_EQ(rows.project(migration, "p0").direction, Direction::kRollback);
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kWaiting);
  EXPECT_EQ(StateOf(migration, "p1"), ProjectState::kRunning);
  EXPECT_EQ(StateOf(migration, "p2"), ProjectState::kCancelled);
  const auto revokes = MessagesOf<SendRevoke>(last);
  ASSERT_EQ(revokes.size(), 1u);
  EXPECT_EQ(revokes[0].reason, RevokeReason::kCancelled);
  EXPECT_EQ(revokes[0].projects.at(0).ref, "p1");
  EXPECT_TRUE(Order(K::kCancel, migration).status.ok()) << "again";

  Fail(p1, Verdict::kAbandoned);
  EXPECT_EQ(StateOf(migration, "p1"), ProjectState::kCancelled);
  Drain();
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kCancelled);
  EXPECT_EQ(StateOf(migration), MigrationState::kCancelled);
}

TEST_F(CommandTest, LeavesAProjectThatSucceededBeforeItCouldBeCancelled) {
  const MigrationId migration = Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Order(K::kCancel, migration);
  Finish(running);
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kSucceeded);
  EXPECT_EQ(StateOf(migration), MigrationState::kCancelled);
}

TEST_F(CommandTest, CancelsAProjectWhoseWorkerWasLost) {
  const MigrationId migration = Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  RunThrough(running, Phase::kCredentials);
  Order(K::kCancel, migration);
  Reload();
  Pass(settings.lease_ttl_ms);
  EXPECT_EQ(rows.project(migration, "p0").direction, Direction::kRollback);
  Hello(2, "w2");
  Drain();
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kCancelled);
}

TEST_F(CommandTest, AsksAgainToStopWhenTheWorkerReconnects) {
  const MigrationId migration = Submit(1, Spec());
  Hello(1, "w1");
  const Running running = Grants().at(0);
  Order(K::kCancel, migration);
  const auto revokes = MessagesOf<SendRevoke>(Hello(2, "w1", 4, {Held(running)}));
  ASSERT_EQ(revokes.size(), 1u);
  EXPECT_EQ(revokes[0].reason, RevokeReason::kCancelled);
}

TEST_F(CommandTest, RetriesAFailedProjectOfAnEndedMigration) {
  const MigrationId migration = Failed();
  EXPECT_EQ(OrderEnded(K::kRetry, migration).projects_changed, 1);
  EXPECT_EQ(StateOf(migration), MigrationState::kRunning);
  EXPECT_EQ(rows.migration(migration).end_time, 0);
  EXPECT_EQ(rows.batches().at(BatchId{1}).projects_ended, 0);
  Drain();
  EXPECT_EQ(StateOf(migration), MigrationState::kSucceeded);
  EXPECT_FALSE(rows.project(migration, "p0").error.has_value());
}

TEST_F(CommandTest, RefusesToRetryWhatIsBusyElsewhereByNow) {
  const MigrationId migration = Failed();
  Submit(1, Spec("r2"));
  EXPECT_EQ(CodeOf(OrderEnded(K::kRetry, migration).status), "PGC-PROJECT-BUSY");
  EXPECT_FALSE(core->Holds(migration));
  EXPECT_EQ(StateOf(migration), MigrationState::kFailed);
}

TEST_F(CommandTest, DropsAReopenedMigrationThatHasNothingToRetry) {
  const MigrationId migration = Succeeded();
  const Reply reply = OrderEnded(K::kRetry, migration);
  EXPECT_TRUE(reply.status.ok());
  EXPECT_EQ(reply.projects_changed, 0);
  EXPECT_FALSE(core->Holds(migration));
  EXPECT_EQ(StateOf(migration), MigrationState::kSucceeded);
  EXPECT_TRUE(last.reconciles.empty());
  EXPECT_TRUE(TrySubmit(Spec("r2"), Inputs(2)).status.ok()) << "its projects are free again";
}

TEST_F(CommandTest, DoesNotRetryACancelledProjectByName) {
  const MigrationId migration = Submit(1, Spec());
  Order(K::kCancel, migration);
  const Reply reply = OrderEnded(K::kRetry, migration, "p0");
  EXPECT_EQ(reply.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(reply.status), "PGC-PROJECT-STATE");
  EXPECT_FALSE(core->Holds(migration));
}

TEST_F(CommandTest, RefusesAnUnknownProject) {
  const MigrationId migration = Submit(1, Spec());
  EXPECT_EQ(Order(K::kRetry, migration, "nobody").status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(Order(K::kRollback, migration, "nobody").status), "PGC-PROJECT-UNKNOWN");
}

TEST_F(CommandTest, RetriesARolledBackProjectFromTheBeginning) {
  const MigrationId migration = Submit(2, Spec());
  Hello(1, "w1", 1);
  Running running = Grants().at(0);
  RunThrough(running, Phase::kCredentials);
  Fail(running, Verdict::kPermanent);
  Running rollback = Grants().at(0);
  Finish(rollback);
  ASSERT_EQ(StateOf(migration, "p0"), ProjectState::kRolledBack);
  EXPECT_EQ(Order(K::kRetry, migration, "p0").projects_changed, 1);
  const Running again = Grants().at(0);
  EXPECT_EQ(again.project.ref, "p0");
  EXPECT_EQ(again.project.direction, Direction::kForward);
  EXPECT_EQ(again.project.phases, kShortPhases);
  EXPECT_FALSE(rows.project(migration, "p0").touched);
}

TEST_F(CommandTest, RetriesARollbackThatNeededAnOperatorInItsDirection) {
  const MigrationId migration = Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  RunThrough(running, Phase::kCredentials);
  Order(K::kCancel, migration);
  Fail(running, Verdict::kAbandoned);
  Running rollback = Grants().at(0);
  Fail(rollback, Verdict::kOperator);
  EXPECT_EQ(StateOf(migration), MigrationState::kCancelled);
  EXPECT_EQ(OrderEnded(K::kRetry, migration, "p0").projects_changed, 1);
  rollback = Grants().at(0);
  EXPECT_EQ(rollback.project.direction, Direction::kRollback);
  Finish(rollback);
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kCancelled);
}

TEST_F(CommandTest, RollsBackASucceededMigration) {
  const MigrationId migration = Succeeded();
  EXPECT_EQ(OrderEnded(K::kRollback, migration).projects_changed, 2);
  EXPECT_EQ(StateOf(migration), MigrationState::kRollingBack);
  Drain();
  EXPECT_EQ(StateOf(migration, "p1"), ProjectState::kRolledBack);
  EXPECT_EQ(StateOf(migration), MigrationState::kRolledBack);
}

TEST_F(CommandTest, RollsBackOneProject) {
  const MigrationId migration = Succeeded();
  Do(rows.TakeEnded(migration));
  EXPECT_EQ(Order(K::kRollback, migration, "p1", true).projects_changed, 1);
  EXPECT_EQ(StateOf(migration), MigrationState::kRunning);
  Running rollback = Grants().at(0);
  EXPECT_TRUE(rollback.project.discard_writes);
  Finish(rollback);
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kSucceeded);
  EXPECT_EQ(StateOf(migration, "p1"), ProjectState::kRolledBack);
  EXPECT_EQ(StateOf(migration), MigrationState::kFailed);
}

TEST_F(CommandTest, RollsBackEachUnendedProjectTheWayItStands) {
  const MigrationId migration = Mixed();
  EXPECT_EQ(Order(K::kRollback, migration).projects_changed, 3);
  EXPECT_EQ(StateOf(migration), MigrationState::kRollingBack);
  EXPECT_EQ(StateOf(migration, "p2"), ProjectState::kRolledBack);
  RunThrough(p1, Phase::kCredentials);
  Reload();
  Hello(2, "w1", 2, {Held(p1)});
  p1.stream = StreamId{2};
  Fail(p1, Verdict::kAbandoned);
  EXPECT_EQ(rows.project(migration, "p1").direction, Direction::kRollback);
  Drain();
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kRolledBack);
  EXPECT_EQ(StateOf(migration, "p1"), ProjectState::kRolledBack);
  EXPECT_EQ(StateOf(migration), MigrationState::kRolledBack);
}

TEST_F(CommandTest, RollsBackAProjectThatSucceededBeforeItCouldBeStopped) {
  const MigrationId migration = Submit(1, Spec());
  Hello(1, "w1");
  Running running = Grants().at(0);
  Order(K::kRollback, migration, "p0");
  Finish(running);
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kWaiting);
  Drain();
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kRolledBack);
}

TEST_F(CommandTest, AllowsToDiscardWritesWhereARollbackStoppedForThem) {
  const MigrationId migration = Succeeded(1);
  OrderEnded(K::kRollback, migration);
  Running rollback = Grants().at(0);
  EXPECT_FALSE(rollback.project.discard_writes);
  Fail(rollback, Verdict::kOperator, "PGC-TENANT-WROTE");
  EXPECT_EQ(StateOf(migration), MigrationState::kFailed);
  Do(rows.TakeEnded(migration));
  EXPECT_EQ(Order(K::kRollback, migration, "p0", true).projects_changed, 1);
  rollback = Grants().at(0);
  EXPECT_TRUE(rollback.project.discard_writes);
  Finish(rollback);
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kRolledBack);
}

TEST_F(CommandTest, ShutsOutALostAttemptThatReportedNothing) {
  const MigrationId migration = Submit(1, Spec());
  Hello(1, "w1");
  Grants();
  Order(K::kRollback, migration);
  Pass(settings.lease_ttl_ms);
  Hello(2, "w2");
  Running rollback = Grants().at(0);
  EXPECT_EQ(rollback.project.direction, Direction::kRollback);
  Finish(rollback);
  EXPECT_EQ(StateOf(migration, "p0"), ProjectState::kRolledBack);
}

TEST_F(CommandTest, RefusesToRollBackWhatIsRolledBack) {
  const MigrationId migration = Succeeded(1);
  OrderEnded(K::kRollback, migration);
  Drain();
  EXPECT_EQ(CodeOf(OrderEnded(K::kRollback, migration, "p0").status), "PGC-PROJECT-STATE");
}

TEST_F(CommandTest, NotesTheOperatorAndTheReason) {
  const MigrationId migration = Submit(1, Spec());
  Order(K::kPause, migration);
  const EventRow& event = rows.events().back();
  EXPECT_EQ(event.kind, "MIGRATION_PAUSED");
  EXPECT_EQ(event.actor, "operator:anna");
  EXPECT_EQ(event.rule, "M-01");
  EXPECT_EQ(event.detail_json, R"({"from":"RUNNING","operator_reason":"because"})");
}

// What was read from the store when it was decided may be old by the time it is written.
TEST_F(CommandTest, ABackupOfAProjectThatIsUnderWayIsNotPruned) {
  const MigrationId ended = Succeeded(2);
  Command prune;
  prune.kind = K::kPruneBackups;
  prune.actor = "anna";
  for (const char* const ref : {"p0", "p1"}) {
    BackupMark mark;
    mark.ref = ref;
    mark.result.migration = ended;
    mark.result.phase = Phase::kBackup;
    prune.backups.push_back(mark);
  }
  // Not committed: a mark replaces a result, which the committed rows here do not allow.
  Output done;
  core->Apply(prune, now, done);
  EXPECT_TRUE(done.replies.at(0).status.ok());
  EXPECT_EQ(done.writes.result_marks.size(), 2U);
  EXPECT_EQ(done.writes.events.at(0).kind, "BACKUP_PRUNED");

  Submit(1, Spec("r2"));
  done = {};
  core->Apply(prune, now, done);
  EXPECT_EQ(CodeOf(done.replies.at(0).status), "PGC-PROJECT-BUSY");
  EXPECT_TRUE(done.writes.result_marks.empty()) << "all or nothing";

  prune.kind = K::kBackupsRemoved;
  done = {};
  core->Apply(prune, now, done);
  EXPECT_TRUE(done.replies.at(0).status.ok()) << "their files are gone, whoever has come since";
}

TEST_F(CommandTest, NotesReachTheEventLogAndChangeNothingElse) {
  Command command;
  command.kind = K::kNote;
  command.actor = "operator:anna";
  command.notes = {{.migration = MigrationId{7},
                    .project_ref = "acme",
                    .kind = "PROJECT_MENDED",
                    .reason = "asked for",
                    .object = "role"}};
  Output out;
  core->Apply(command, now, out);
  EXPECT_TRUE(out.replies.at(0).status.ok());
  ASSERT_EQ(out.writes.events.size(), 1U);
  const EventRow& event = out.writes.events[0];
  EXPECT_EQ(event.migration, MigrationId{7});
  EXPECT_EQ(event.project_ref, "acme");
  EXPECT_EQ(event.kind, "PROJECT_MENDED");
  EXPECT_EQ(event.actor, "operator:anna");
  EXPECT_EQ(event.reason, "asked for");
  EXPECT_EQ(event.detail_json, R"({"object":"role"})");
  out.writes.events.clear();
  EXPECT_TRUE(out.writes.Empty());
}

TEST_F(CommandTest, AChangeOfCredentialsIsToldOfTheMigrationThatItChanges) {
  const MigrationId made = Succeeded(1);
  SubmitMigration submit;
  submit.actor = "anna";
  submit.reason = "leaked";
  submit.spec = Spec("again");
  submit.spec.credentials_of = made;
  submit.projects.push_back({.ref = "p0", .attributes_json = "", .source_server = "s", .target_server = "t"});
  Output out;
  core->Apply(submit, now, out);
  ASSERT_TRUE(out.replies.at(0).status.ok()) << out.replies.at(0).status;
  const auto told = std::find_if(out.writes.events.begin(), out.writes.events.end(),
                                 [](const EventRow& row) { return row.kind == "CREDENTIALS_CHANGE_SUBMITTED"; });
  ASSERT_NE(told, out.writes.events.end());
  EXPECT_EQ(told->migration, made);
  EXPECT_EQ(told->actor, "operator:anna");
  EXPECT_EQ(told->reason, "leaked");
}

}  // namespace
}  // namespace pgconvoy::core
