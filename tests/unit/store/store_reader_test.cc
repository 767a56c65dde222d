#include "coordinator/store/store_reader.h"

#include <gtest/gtest.h>

#include "common/crypto/crypto.h"
#include "tests/unit/store/store_fixture.h"

namespace pgconvoy::store {
namespace {

class StoreReaderTest : public StoreFixture {
 protected:
  void SetUp() override {
    store_ = Open();
    ASSERT_TRUE(store_->Lead(std::nullopt).ok());
    reader_ = std::make_unique<StoreReader>(Conninfo(), 2);
  }

  void Commit(const core::Writes& writes) {
    const absl::Status status = store_->Commit(writes);
    ASSERT_TRUE(status.ok()) << Describe(status);
  }

  std::string ChainProblem() {
    const auto report = reader_->VerifyChain();
    return report.ok() ? report->problem : Describe(report.status());
  }

  std::unique_ptr<Store> store_;
  std::unique_ptr<StoreReader> reader_;
};

TEST_F(StoreReaderTest, PagesThroughAllProjectsInOrderOfRef) {
  Commit(SomeFleet(1, 25));
  Commit(SomeFleet(2, 3));
  std::vector<std::string> refs;
  PageRequest request{10, ""};
  std::vector<size_t> sizes;
  do {
    const auto page = reader_->ListProjects({1}, {}, request);
    ASSERT_TRUE(page.ok()) << Describe(page.status());
    sizes.push_back(page->rows.size());
    for (const ProjectView& view : page->rows) {
      refs.push_back(view.row.ref);
    }
    request.token = page->next_token;
  } while (!request.token.empty());
  EXPECT_EQ(sizes, (std::vector<size_t>{10, 10, 5}));
  EXPECT_EQ(refs.size(), 25u);
  EXPECT_TRUE(std::is_sorted(refs.begin(), refs.end()));
  EXPECT_EQ(std::adjacent_find(refs.begin(), refs.end()), refs.end());
}

TEST_F(StoreReaderTest, ListsOnlyTheStatesAskedFor) {
  core::Writes writes = SomeFleet(1, 3);
  writes.new_projects[1].state = ProjectState::kFailed;
  Commit(writes);
  const auto page = reader_->ListProjects({1}, {ProjectState::kFailed, ProjectState::kRunning}, {});
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->rows.size(), 1u);
  EXPECT_EQ(page->rows[0].row.ref, "p-2");
  EXPECT_NE(page->rows[0].update_time, 0);
}

TEST_F(StoreReaderTest, RefusesAPageTokenThatItHasNotMade) {
  for (const std::string& token : {std::string("forged!"), Base64Encode("a\nb\nc\nd"), Base64Encode("-1")}) {
    EXPECT_EQ(CodeOf(reader_->ListBatches({1}, {10, token}).status()), "PGC-API-PAGE-TOKEN") << token;
    EXPECT_EQ(CodeOf(reader_->ListBackups({}, "", {10, token}).status()), "PGC-API-PAGE-TOKEN") << token;
  }
}

TEST_F(StoreReaderTest, ListsMigrationsNewestFirst) {
  for (int64_t id = 1; id <= 3; ++id) {
    Commit(SomeFleet(id, 1));
  }
  const auto first = reader_->ListMigrations({2, ""});
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(first->rows.size(), 2u);
  EXPECT_EQ(first->rows[0].id.value, 3);
  const auto rest = reader_->ListMigrations({2, first->next_token});
  ASSERT_TRUE(rest.ok());
  ASSERT_EQ(rest->rows.size(), 1u);
  EXPECT_EQ(rest->rows[0].id.value, 1);
  EXPECT_EQ(rest->next_token, "");
}

TEST_F(StoreReaderTest, ShowsAProjectWithItsAttemptsResultsAndIntents) {
  core::Writes writes = SomeFleet(1, 1);
  core::AttemptRow attempt{{1001},
                           {1},
                           1,
                           {5},
                           Direction::kForward,
                           "w1",
                           1'700'000'000'000,
                           1'700'000'000'500,
                           Phase::kCopy,
                           "failed",
                           core::ErrorInfo{Verdict::kTransient, "PGC-A", "m", "r"}};
  writes.attempts = {attempt};
  writes.results = {
      {{1001}, {1}, {5}, Phase::kFence, Direction::kForward, 1'700'000'000'100, R"({"phase":"FENCE"})"}};
  writes.intents = {{{1001}, {1}, {5}, 1, R"({"b":2})"}};
  Commit(writes);
  const auto detail = reader_->GetProject({1}, "p-1");
  ASSERT_TRUE(detail.ok()) << Describe(detail.status());
  EXPECT_EQ(detail->project.row.attributes_json, writes.new_projects[0].attributes_json);
  ASSERT_EQ(detail->attempts.size(), 1u);
  EXPECT_EQ(detail->attempts[0].end_time, attempt.end_time);
  EXPECT_EQ(detail->attempts[0].error->verdict, Verdict::kTransient);
  EXPECT_EQ(detail->results_json, std::vector<std::string>{R"({"phase":"FENCE"})"});
  EXPECT_EQ(detail->intents_json, std::vector<std::string>{R"({"b":2})"});
  EXPECT_EQ(reader_->GetProject({1}, "p-9").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(reader_->GetMigration({9}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(StoreReaderTest, ListsEventsOfOneProjectOldestFirst) {
  core::Writes writes = SomeFleet(1, 1);
  writes.events = {SomeEvent("ONE"), SomeEvent("TWO"), SomeEvent("THREE")};
  writes.events[1].project_ref = "p-2";
  Commit(writes);
  const auto all = reader_->ListEvents(std::nullopt, "", {});
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->rows.size(), 3u);
  EXPECT_EQ(all->rows[0].seq, 1);
  EXPECT_EQ(all->rows[0].row.detail_json, SomeEvent("").detail_json);
  EXPECT_EQ(all->rows[0].row.time, SomeEvent("").time);
  const auto one = reader_->ListEvents(MigrationId{1}, "p-1", {1, ""});
  ASSERT_TRUE(one.ok());
  ASSERT_EQ(one->rows.size(), 1u);
  EXPECT_EQ(one->rows[0].row.kind, "ONE");
  const auto rest = reader_->ListEvents(MigrationId{1}, "p-1", {1, one->next_token});
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ(rest->rows.at(0).row.kind, "THREE");
  EXPECT_TRUE(reader_->ListEvents(MigrationId{2}, "", {})->rows.empty());
}

TEST_F(StoreReaderTest, FindsBackupsByMigrationRefAndFence) {
  core::Writes writes = SomeFleet(1, 3);
  for (int64_t i = 1; i <= 3; ++i) {
    const std::string payload = R"({"phase":"BACKUP","n":)" + std::to_string(i) + "}";
    writes.results.push_back({{1000 + i}, {1}, {10 + i}, Phase::kBackup, Direction::kForward, 1, payload});
    writes.results.push_back({{1000 + i}, {1}, {20 + i}, Phase::kBackup, Direction::kRollback, 1, payload});
  }
  Commit(writes);
  const auto first = reader_->ListBackups(MigrationId{1}, "", {2, ""});
  ASSERT_TRUE(first.ok()) << Describe(first.status());
  ASSERT_EQ(first->rows.size(), 2u);
  const auto rest = reader_->ListBackups(std::nullopt, "", {2, first->next_token});
  ASSERT_TRUE(rest.ok());
  ASSERT_EQ(rest->rows.size(), 1u);
  EXPECT_EQ(rest->rows[0].ref, "p-3");
  EXPECT_EQ(reader_->ListBackups(std::nullopt, "p-2", {})->rows.size(), 1u);
  EXPECT_EQ(reader_->FindBackup("p-2", {12})->payload_json, R"({"phase":"BACKUP","n":2})");
  EXPECT_FALSE(reader_->FindBackup("p-2", {13}).ok());
}

TEST_F(StoreReaderTest, CountsAsLiveWhatHasNotEndedOrNeedsAnOperator) {
  core::Writes writes = SomeFleet(1, 3);
  writes.new_projects[0].state = ProjectState::kSucceeded;
  writes.new_projects[1].state = ProjectState::kNeedsOperator;
  Commit(writes);
  store::LiveRefs live = *reader_->ListLiveRefs(10);
  std::vector<std::string>& refs = live.refs;
  std::sort(refs.begin(), refs.end());
  EXPECT_EQ(refs, (std::vector<std::string>{"p-2", "p-3"}));
  EXPECT_EQ(live.next_fence.value, writes.counters->next_fence);
  EXPECT_EQ(reader_->ListLiveRefs(1)->refs.size(), 2u) << "one more than the limit says that there are more";
}

TEST_F(StoreReaderTest, ReadsOnAfterTheServerHasRestarted) {
  Commit(SomeFleet(1, 1));
  ASSERT_TRUE(reader_->GetMigration({1}).ok());
  cluster_->Restart();
  EXPECT_TRUE(reader_->GetMigration({1}).ok());
}

// ---- the chain -------------------------------------------------------------------------------------------------

class EventChainTest : public StoreReaderTest {
 protected:
  void SetUp() override {
    StoreReaderTest::SetUp();
    Commit(SomeFleet(1, 1));
    for (int group = 0; group < 3; ++group) {
      core::Writes writes;
      writes.events = {SomeEvent("A"), SomeEvent("B")};
      writes.events[1].migration = {0};
      writes.events[1].detail_json = "";
      Commit(writes);
    }
  }
};

TEST_F(EventChainTest, VerifiesAnUntouchedLog) {
  const auto report = reader_->VerifyChain();
  ASSERT_TRUE(report.ok()) << Describe(report.status());
  EXPECT_EQ(report->problem, "");
  EXPECT_EQ(report->links, 4);
  EXPECT_EQ(report->events, 7);
  EXPECT_EQ(report->head, Query("SELECT chain_head FROM pgconvoy.leader"));
}

TEST_F(EventChainTest, GoesOnUnderTheNextLeader) {
  auto next = Open();
  ASSERT_TRUE(next->Lead(std::nullopt).ok());
  core::Writes writes;
  writes.events = {SomeEvent("C")};
  ASSERT_TRUE(next->Commit(writes).ok());
  EXPECT_EQ(ChainProblem(), "");
}

TEST_F(EventChainTest, NamesTheEventThatWasAltered) {
  Exec("UPDATE pgconvoy.event SET reason = 'nothing to see' WHERE seq IN (5, 6)");
  EXPECT_EQ(ChainProblem(), "event 5 was altered or moved");
}

TEST_F(EventChainTest, NamesTheFirstOfEventsThatChangedPlaces) {
  for (const std::string& pair : {std::string("4, 5"), std::string("5, 6")}) {
    const std::string first = pair.substr(0, 1);
    const std::string second = pair.substr(3);
    const std::string swap = "UPDATE pgconvoy.event SET seq = -seq WHERE seq IN (" + pair +
                             "); UPDATE pgconvoy.event SET seq = " + first + " + " + second + " + seq WHERE seq < 0";
    Exec(swap);
    EXPECT_EQ(ChainProblem(), "event " + first + " was altered or moved");
    Exec(swap);
    EXPECT_EQ(ChainProblem(), "");
  }
}

TEST_F(EventChainTest, NamesTheGroupWhenTheSumsOfItsRowsAreGone) {
  Exec("UPDATE pgconvoy.event SET reason = 'nothing to see' WHERE seq = 5");
  Exec("UPDATE pgconvoy.event_link SET row_sums = '' WHERE first_seq = 4");
  EXPECT_EQ(ChainProblem(), "events 4 to 5: one was altered or moved, or their link was");
}

TEST_F(EventChainTest, NamesTheEventThatWasRemoved) {
  Exec("DELETE FROM pgconvoy.event WHERE seq = 3");
  EXPECT_EQ(ChainProblem(), "event 3 is missing");
}

TEST_F(EventChainTest, NamesTheFirstEventOfAGroupThatWasRemoved) {
  Exec("DELETE FROM pgconvoy.event WHERE seq IN (4, 5); DELETE FROM pgconvoy.event_link WHERE first_seq = 4");
  EXPECT_EQ(ChainProblem(), "event 4 is missing, or its link is");
}

TEST_F(EventChainTest, NamesTheFirstEventOfAnEndThatWasCutOff) {
  Exec("DELETE FROM pgconvoy.event WHERE seq > 5; DELETE FROM pgconvoy.event_link WHERE first_seq > 5");
  EXPECT_EQ(ChainProblem(), "event 6 is missing, and what came after it");
}

TEST_F(EventChainTest, NamesAnEventThatWasAdded) {
  Exec("INSERT INTO pgconvoy.event VALUES (8, now(), 1, '', 'FORGED', 'operator:x', '', '', NULL)");
  EXPECT_EQ(ChainProblem(), "event 8 was added, or its link was removed");
}

TEST_F(EventChainTest, StillHoldsAHeadThatWasNotedEarlier) {
  const std::string noted = Query("SELECT digest FROM pgconvoy.event_link WHERE first_seq = 2");
  EXPECT_EQ(reader_->VerifyChain(noted)->problem, "");
  EXPECT_NE(reader_->VerifyChain("0123")->problem, "");
}

}  // namespace
}  // namespace pgconvoy::store
