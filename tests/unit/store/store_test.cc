#include "coordinator/store/store.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/support/wait.h"
#include "tests/unit/store/store_fixture.h"

namespace pgconvoy::core {

// Every field, for comparison: a row that comes back from the store must be what went in.
bool operator==(const ErrorInfo& a, const ErrorInfo& b) {
  return std::tie(a.verdict, a.code, a.message, a.remedy) == std::tie(b.verdict, b.code, b.message, b.remedy);
}
bool operator==(const ServerLimit& a, const ServerLimit& b) {
  return std::tie(a.server, a.max_projects) == std::tie(b.server, b.max_projects);
}
bool operator==(const MigrationSpec& a, const MigrationSpec& b) {
  return std::tie(a.name, a.request_id, a.plan_json, a.plan_hash, a.phases, a.limits, a.batch_size, a.batch_bytes,
                  a.max_attempts, a.initial_backoff_ms, a.max_backoff_ms, a.rollback_on_failure, a.credentials_of) ==
         std::tie(b.name, b.request_id, b.plan_json, b.plan_hash, b.phases, b.limits, b.batch_size, b.batch_bytes,
                  b.max_attempts, b.initial_backoff_ms, b.max_backoff_ms, b.rollback_on_failure, b.credentials_of);
}
bool operator==(const MigrationRow& a, const MigrationRow& b) {
  return std::tie(a.id, a.spec, a.state, a.create_time, a.end_time, a.counts, a.rows_copied, a.bytes_copied,
                  a.estimated_bytes) == std::tie(b.id, b.spec, b.state, b.create_time, b.end_time, b.counts,
                                                 b.rows_copied, b.bytes_copied, b.estimated_bytes);
}
bool operator==(const BatchRow& a, const BatchRow& b) {
  return std::tie(a.id, a.migration, a.state, a.source_server, a.target_server, a.projects, a.projects_ended,
                  a.estimated_bytes, a.worker_id) == std::tie(b.id, b.migration, b.state, b.source_server,
                                                              b.target_server, b.projects, b.projects_ended,
                                                              b.estimated_bytes, b.worker_id);
}
bool operator==(const ProjectRow& a, const ProjectRow& b) {
  return std::tie(a.id, a.migration, a.batch, a.ref, a.attributes_json, a.state, a.direction, a.phase, a.fence,
                  a.attempts, a.failures, a.losses, a.done_forward, a.done_rollback, a.touched, a.cancelling,
                  a.discard_writes, a.last_seq, a.worker_id, a.not_before, a.error, a.warnings, a.rows_copied,
                  a.bytes_copied, a.estimated_bytes) ==
         std::tie(b.id, b.migration, b.batch, b.ref, b.attributes_json, b.state, b.direction, b.phase, b.fence,
                  b.attempts, b.failures, b.losses, b.done_forward, b.done_rollback, b.touched, b.cancelling,
                  b.discard_writes, b.last_seq, b.worker_id, b.not_before, b.error, b.warnings, b.rows_copied,
                  b.bytes_copied, b.estimated_bytes);
}
bool operator==(const WorkerRow& a, const WorkerRow& b) {
  return std::tie(a.id, a.incarnation, a.version, a.host, a.slots, a.state, a.last_seen) ==
         std::tie(b.id, b.incarnation, b.version, b.host, b.slots, b.state, b.last_seen);
}
bool operator==(const Counters& a, const Counters& b) {
  return std::tie(a.next_fence, a.next_migration, a.next_batch, a.next_project) ==
         std::tie(b.next_fence, b.next_migration, b.next_batch, b.next_project);
}

}  // namespace pgconvoy::core

namespace pgconvoy::store {
namespace {

class StoreTest : public StoreFixture {
 protected:
  // A store that leads.
  std::unique_ptr<Store> Lead() {
    auto store = Open();
    auto term = store->Lead(std::nullopt);
    EXPECT_TRUE(term.ok()) << Describe(term.status());
    term_ = *std::move(term);
    return store;
  }

  std::string EventCount() const { return Query("SELECT count(*) FROM pgconvoy.event"); }

  Term term_;
};

core::ProjectRow BusyProject() {
  core::ProjectRow row = SomeProject(1001, 1, "p-1");
  row.state = ProjectState::kRunning;
  row.direction = Direction::kRollback;
  row.phase = Phase::kCopy;
  row.fence = {42};
  row.attempts = 3;
  row.failures = 2;
  row.losses = 1;
  row.done_forward = 0xFFFFFFFF;
  row.done_rollback = 6;
  row.touched = true;
  row.cancelling = true;
  row.discard_writes = true;
  row.last_seq = 17;
  row.worker_id = "w \"1\"";
  row.not_before = 1'700'000'000'789;
  row.error = core::ErrorInfo{Verdict::kOperator, "PGC-X-Y", "it's {broken}, \"really\"", "fix\\it"};
  row.warnings = {"one", "two, with \"quotes\""};
  row.rows_copied = 100;
  row.bytes_copied = 1'000'000'000'000;
  return row;
}

TEST_F(StoreTest, GivesBackEveryRowAsItWasWritten) {
  auto store = Lead();
  ASSERT_TRUE(store->Commit(SomeFleet(1, 2)).ok());
  core::Writes writes;
  writes.migrations = {SomeMigration(1)};
  writes.migrations[0].state = MigrationState::kPaused;
  writes.migrations[0].counts[static_cast<size_t>(ProjectState::kRunning)] = 1;
  writes.batches = {SomeBatch(1, 1)};
  writes.batches[0].state = BatchState::kLeased;
  writes.batches[0].worker_id = "w1";
  writes.projects = {BusyProject()};
  core::WorkerRow worker{"w1", "i1", "0.1", "host", 4, "connected", 1'700'000'000'001};
  writes.workers = {worker};
  ASSERT_TRUE(store->Commit(writes).ok());

  Lead();
  const core::Snapshot& snapshot = term_.snapshot;
  EXPECT_EQ(snapshot.counters, (core::Counters{10, 2, 2, 1003}));
  EXPECT_EQ(snapshot.migrations, writes.migrations);
  EXPECT_EQ(snapshot.batches, writes.batches);
  EXPECT_EQ(snapshot.projects, (std::vector{BusyProject(), SomeProject(1002, 1, "p-2")}));
  EXPECT_EQ(snapshot.workers, writes.workers);
}

TEST_F(StoreTest, LoadsOfEndedMigrationsTheHeaderOnly) {
  auto store = Lead();
  ASSERT_TRUE(store->Commit(SomeFleet(1, 1)).ok());
  core::Writes writes;
  writes.migrations = {SomeMigration(1)};
  writes.migrations[0].state = MigrationState::kFailed;
  writes.migrations[0].end_time = 1'700'000'001'000;
  ASSERT_TRUE(store->Commit(writes).ok());

  auto next = Lead();
  EXPECT_EQ(term_.snapshot.migrations, writes.migrations);
  EXPECT_TRUE(term_.snapshot.batches.empty());
  EXPECT_TRUE(term_.snapshot.projects.empty());

  const auto reopened = next->LoadMigration({1});
  ASSERT_TRUE(reopened.ok() && reopened->has_value());
  EXPECT_EQ((*reopened)->migration, writes.migrations[0]);
  EXPECT_EQ((*reopened)->batches, std::vector{SomeBatch(1, 1)});
  EXPECT_EQ((*reopened)->projects, std::vector{SomeProject(1001, 1, "p-1")});
  const auto unknown = next->LoadMigration({2});
  EXPECT_TRUE(unknown.ok() && !unknown->has_value());
  EXPECT_EQ(*next->LoadPlan({1}), SomeMigration(1).spec.plan_json);
}

TEST_F(StoreTest, WritesTheLastOfSeveralRowsWithOneKey) {
  auto store = Lead();
  ASSERT_TRUE(store->Commit(SomeFleet(1, 1)).ok());
  core::Writes writes;
  writes.projects = {SomeProject(1001, 1, "p-1"), BusyProject()};
  ASSERT_TRUE(store->Commit(writes).ok());
  Lead();
  EXPECT_EQ(term_.snapshot.projects, std::vector{BusyProject()});
}

// Of project 1001.
core::PhaseResultRow SomeResult(int64_t fence, Phase phase, const char* payload) {
  return {{1001}, {1}, {fence}, phase, Direction::kForward, 1'700'000'000'000, payload};
}

TEST_F(StoreTest, HandsBackTheLatestResultOfEachPhaseAndAllIntents) {
  auto store = Lead();
  ASSERT_TRUE(store->Commit(SomeFleet(1, 2)).ok());
  core::Writes writes;
  writes.results = {SomeResult(5, Phase::kFence, R"("FENCE")"),
                    SomeResult(5, Phase::kBackup, R"({"phase":"BACKUP","fence":"5","n":2})"),
                    SomeResult(9, Phase::kFence, R"({"phase":"FENCE","fence":"9","n":3})")};
  writes.intents = {
      {{1001}, {1}, {9}, 2, R"({"i":3})"}, {{1001}, {1}, {5}, 7, R"({"i":2})"}, {{1001}, {1}, {5}, 1, R"({"i":1})"}};
  ASSERT_TRUE(store->Commit(writes).ok());
  const auto histories = store->LoadHistory({{1001}, {1002}});
  ASSERT_TRUE(histories.ok());
  ASSERT_EQ(histories->size(), 1u);
  const History& history = histories->at({1001});
  EXPECT_EQ(history.results_json, (std::vector<std::string>{R"({"phase":"BACKUP","fence":"5","n":2})",
                                                            R"({"phase":"FENCE","fence":"9","n":3})"}));
  EXPECT_EQ(history.intents_json, (std::vector<std::string>{R"({"i":1})", R"({"i":2})", R"({"i":3})"}));
}

TEST_F(StoreTest, ResultsThatComeTogetherShareARowAndAreReadOneByOne) {
  auto store = Lead();
  ASSERT_TRUE(store->Commit(SomeFleet(1, 1)).ok());
  core::Writes writes;
  writes.results = {SomeResult(5, Phase::kBackup, R"({"phase":"BACKUP","fence":"5","n":1})"),
                    SomeResult(5, Phase::kCopy, R"("COPY")")};
  ASSERT_TRUE(store->Commit(writes).ok());
  writes.results = {SomeResult(5, Phase::kVerify, R"("VERIFY")")};
  ASSERT_TRUE(store->Commit(writes).ok());
  EXPECT_EQ(Query("SELECT count(*) FROM pgconvoy.phase_report"), "2");
  EXPECT_EQ(Query("SELECT string_agg(concat_ws(' ', phase, direction, fence, payload->>'fence', payload->>'n'), ',' "
                  "ORDER BY end_time, place, phase) FROM pgconvoy.phase_result"),
            "BACKUP FORWARD 5 5 1,VERIFY FORWARD 5 5,COPY FORWARD 5 5");
  EXPECT_EQ(store->LoadHistory({{1001}})->at({1001}).results_json.size(), 3U);
}

TEST_F(StoreTest, AMarkChangesItsResultAndNoOtherOfItsRow) {
  auto store = Lead();
  ASSERT_TRUE(store->Commit(SomeFleet(1, 1)).ok());
  core::Writes writes;
  writes.results = {SomeResult(5, Phase::kProvision, R"("PROVISION")"),
                    SomeResult(5, Phase::kBackup, R"({"phase":"BACKUP","n":1})"),
                    SomeResult(5, Phase::kCopy, R"("COPY")")};
  ASSERT_TRUE(store->Commit(writes).ok());
  core::Writes mark;
  mark.result_marks = {SomeResult(5, Phase::kBackup, R"({"phase":"BACKUP","n":2})")};
  ASSERT_TRUE(store->Commit(mark).ok());
  EXPECT_EQ(Query("SELECT payload->>'n' FROM pgconvoy.backup_result WHERE fence = 5"), "2");
  EXPECT_EQ(Query("SELECT string_agg(phase, ',' ORDER BY place) FROM pgconvoy.phase_result"),
            "PROVISION,BACKUP,COPY");
}

// ---- who may write ---------------------------------------------------------------------------------------------

TEST_F(StoreTest, TakingTheLeadEndsTheTermOfTheLeaderBefore) {
  auto first = Lead();
  const int64_t first_epoch = term_.epoch;
  const std::string store_id = term_.store_id;
  auto second = Lead();
  EXPECT_EQ(term_.epoch, first_epoch + 1);
  EXPECT_EQ(term_.store_id, store_id);

  EXPECT_FALSE(first->Commit(SomeFleet(1, 1)).ok());
  EXPECT_EQ(EventCount(), "0");
  const auto again = first->Lead(first_epoch);
  EXPECT_EQ(CodeOf(again.status()), "PGC-STORE-EPOCH");
  EXPECT_EQ(VerdictOf(again.status()), Verdict::kFenced);
  EXPECT_TRUE(second->Commit(SomeFleet(1, 1)).ok());
}

TEST_F(StoreTest, RefusesACommitUnderAnEarlierEpochAndChangesNothing) {
  auto store = Lead();
  Exec("UPDATE pgconvoy.leader SET epoch = epoch + 1");
  EXPECT_EQ(CodeOf(store->Commit(SomeFleet(1, 1))), "PGC-STORE-EPOCH");
  EXPECT_EQ(EventCount(), "0");
  EXPECT_EQ(Query("SELECT count(*) FROM pgconvoy.migration"), "0");
  EXPECT_EQ(Query("SELECT next_fence FROM pgconvoy.leader"), "1");
}

TEST_F(StoreTest, NeverWritesThroughASessionThatHasNotTakenTheLead) {
  auto store = Lead();
  Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgconvoy-coordinator'");
  // libpqxx connects anew within these; none of the commits may be let through by the new session.
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(store->Commit(SomeFleet(1, 1)).ok());
  }
  EXPECT_EQ(EventCount(), "0");
  const auto again = store->Lead(term_.epoch);
  ASSERT_TRUE(again.ok()) << Describe(again.status());
  EXPECT_EQ(again->epoch, term_.epoch + 1);
  EXPECT_TRUE(store->Commit(SomeFleet(1, 1)).ok());
}

TEST_F(StoreTest, GoesOnAfterTheServerHasRestarted) {
  auto store = Lead();
  ASSERT_TRUE(store->Commit(SomeFleet(1, 1)).ok());
  cluster_->Restart();
  EXPECT_FALSE(store->Commit(SomeFleet(2, 1)).ok());
  const auto term = store->Lead(term_.epoch);
  ASSERT_TRUE(term.ok()) << Describe(term.status());
  EXPECT_EQ(term->snapshot.projects.size(), 1u);
  EXPECT_TRUE(store->Commit(SomeFleet(2, 1)).ok());
}

// ---- errors ----------------------------------------------------------------------------------------------------

TEST_F(StoreTest, SaysOfARefusedValueThatNothingWasWritten) {
  auto store = Lead();
  ASSERT_TRUE(store->Commit(SomeFleet(1, 1)).ok());
  core::Writes twin = SomeFleet(2, 1);
  twin.new_migrations[0].spec.request_id = "request-1";
  const absl::Status status = store->Commit(twin);
  EXPECT_EQ(CodeOf(status), "PGC-STORE-DATA");
  EXPECT_NE(MessageOf(status).find("23505"), std::string::npos) << status;
  EXPECT_EQ(MessageOf(status).find("request-1"), std::string::npos) << "row data in an error";
  EXPECT_EQ(EventCount(), "1");
  EXPECT_TRUE(store->Commit(SomeFleet(2, 1)).ok());
}

TEST_F(StoreTest, RefusesToUpdateAProjectThatDoesNotExist) {
  auto store = Lead();
  core::Writes writes;
  writes.projects = {SomeProject(1, 1, "ghost")};
  EXPECT_EQ(CodeOf(store->Commit(writes)), "PGC-STORE-DATA");
}

TEST_F(StoreTest, InterruptFreesACommitThatWaits) {
  auto store = Lead();
  // A lock that the commit needs, held until this connection is closed.
  auto blocker = pg::Connection::Open(cluster_->Superuser(database_), {});
  ASSERT_TRUE(blocker.ok());
  ASSERT_TRUE((*blocker)->ExecScript("BEGIN; LOCK TABLE pgconvoy.leader IN ACCESS EXCLUSIVE MODE").ok());
  auto commit = std::async(std::launch::async, [&store] { return store->Commit(SomeFleet(1, 1)); });
  ASSERT_TRUE(testing::Eventually([this] {
    return Query(
               "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgconvoy-coordinator' "
               "AND wait_event_type = 'Lock'") == "1";
  }));
  store->Interrupt();
  EXPECT_FALSE(commit.get().ok());
}

TEST(StoreOpen, RefusesAServerThatMayForget) {
  for (const std::string setting : {"fsync", "full_page_writes", "synchronous_commit"}) {
    testing::PgCluster cluster({.durable = true, .settings = {setting + " = off"}});
    const auto store = Store::Open(cluster.SocketConninfo(), "test:1");
    EXPECT_EQ(CodeOf(store.status()), "PGC-STORE-UNSAFE") << setting;
    EXPECT_NE(RemedyOf(store.status()).find(setting), std::string::npos);
  }
}

TEST(StoreOpen, SaysThatAServerCannotBeReached) {
  const auto store = Store::Open("host=127.0.0.1 port=1 password=geheim dbname=x", "test:1");
  EXPECT_EQ(CodeOf(store.status()), "PGC-STORE-UNREACHABLE");
  EXPECT_EQ(Describe(store.status()).find("geheim"), std::string::npos);
}

TEST(StoreOpen, RefusesAConnectionStringWithoutRepeatingIt) {
  const auto store = Store::Open("host=x password='geheim", "test:1");
  EXPECT_EQ(CodeOf(store.status()), "PGC-STORE-CONNINFO");
  EXPECT_EQ(Describe(store.status()).find("geheim"), std::string::npos);
}

}  // namespace
}  // namespace pgconvoy::store
