// The runtime on a real store: what it does when commits fail, are refused, or nobody knows what became of them.
#include "coordinator/runtime/runtime.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>

#include "common/pg/connection.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/unit/store/store_fixture.h"

namespace pgconvoy::runtime {
namespace {

// The one failpoint of this process, which fires once whenever it is armed: the commit is durable, and the runtime is
// told that it failed.
class LostCommit {
 public:
  LostCommit() {
    ::setenv("PGCONVOY_FAILPOINTS", "coordinator.commit.after=error@*", 1);
    ::setenv("PGCONVOY_FAILPOINTS_ONCE", fired_.c_str(), 1);
    std::ofstream(fired_) << "not armed";
  }
  void Arm() { std::filesystem::remove(fired_); }
  bool Fired() const { return std::filesystem::exists(fired_); }

 private:
  testing::TempDir folder_;
  const std::string fired_ = folder_.path() + "/fired";
};

class RecordingStream : public WorkerStream {
 public:
  void Send(Outbound message) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    messages_.push_back(std::move(message));
  }
  void Close(const absl::Status& why) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = why;
  }

  // The first message of a kind that fulfils the condition, waited for.
  template <typename Message>
  std::optional<Message> Find(const std::function<bool(const Message&)>& wanted = [](const Message&) {
    return true;
  }) {
    std::optional<Message> found;
    testing::Eventually([&] {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (const Outbound& message : messages_) {
        const auto* const candidate = std::get_if<Message>(&message);
        if (candidate != nullptr && wanted(*candidate)) {
          found = *candidate;
        }
      }
      return found.has_value() || closed_.has_value();
    });
    return found;
  }
  std::optional<core::SendAck> AckOf(int64_t seq) {
    const auto is_it = [seq](const core::SendAck& ack) { return ack.seq == seq; };
    const auto holds_it = [&](const Acks& acks) { return std::any_of(acks.acks.begin(), acks.acks.end(), is_it); };
    const auto found = Find<Acks>(holds_it);
    return found ? std::optional(*std::find_if(found->acks.begin(), found->acks.end(), is_it)) : std::nullopt;
  }
  template <typename Message>
  int Count() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int>(std::count_if(messages_.begin(), messages_.end(), [](const Outbound& message) {
      return std::holds_alternative<Message>(message);
    }));
  }
  std::optional<absl::Status> Closed() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return closed_;
  }

 private:
  std::mutex mutex_;
  std::vector<Outbound> messages_;
  std::optional<absl::Status> closed_;
};

class RuntimeTest : public store::StoreFixture, public Observer {
 protected:
  static void SetUpTestSuite() {
    lost_commit_ = std::make_unique<LostCommit>();
    StoreFixture::SetUpTestSuite();
  }
  void TearDown() override { runtime_.reset(); }

  void Start(const Options& options = {}) {
    runtime_ = std::make_unique<Runtime>(options);
    auto store = Open();
    auto term = store->Lead(std::nullopt);
    ASSERT_TRUE(term.ok()) << Describe(term.status());
    runtime_->Start(std::move(store), *std::move(term), this);
    ASSERT_TRUE(WaitLeading());
  }
  bool WaitLeading() {
    return testing::Eventually([this] { return runtime_->leading(); });
  }

  // Observer.
  void OnLeading(bool leading) override { terms_ += leading ? 1 : 0; }
  void OnReconcileDue(MigrationId) override {}
  void OnLeadLost(const absl::Status& why) override {
    lost_code_ = CodeOf(why);
    lead_lost_ = true;
  }

  std::future<core::Reply> Submit(const std::string& ref) {
    core::SubmitMigration submit;
    submit.actor = "test";
    submit.spec.name = "test";
    submit.spec.request_id = "request of " + ref;
    submit.spec.plan_json = "{}";
    submit.spec.phases = {Phase::kFence, Phase::kPreValidation, Phase::kCleanup};
    submit.spec.limits = {{"source", 8}, {"target", 8}};
    submit.projects = {{ref, "", 0, "source", "target"}};
    auto promise = std::make_shared<std::promise<core::Reply>>();
    runtime_->Submit(std::move(submit), [promise](const core::Reply& reply) { promise->set_value(reply); });
    return promise->get_future();
  }

  std::shared_ptr<RecordingStream> Connect(const std::vector<core::HeldProject>& held = {}) {
    auto stream = std::make_shared<RecordingStream>();
    stream_ = runtime_->NewStream();
    core::WorkerHello hello{stream_, "w1", "i1", "0.1.0", "localhost", 4, false, held};
    EXPECT_TRUE(runtime_->Connect(std::move(hello), stream).ok());
    return stream;
  }

  core::WorkerReport Report(const core::HeldProject& held, int64_t seq, decltype(core::WorkerReport::body) body) {
    return {stream_, held.migration, held.ref, held.fence, seq, std::move(body)};
  }

  // Holds up every commit as long as it lives.
  std::unique_ptr<pg::Connection> HoldUpCommits() {
    auto blocker = pg::Connection::Open(cluster_->Superuser(database_), {});
    EXPECT_TRUE(blocker.ok()) << Describe(blocker.status());
    EXPECT_TRUE((*blocker)->ExecScript("BEGIN; LOCK TABLE pgconvoy.leader IN ACCESS EXCLUSIVE MODE").ok());
    return *std::move(blocker);
  }
  bool WaitUntilACommitWaits() {
    return testing::Eventually([this] {
      return Query(
                 "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgconvoy-coordinator' AND datname "
                 "= "
                 "current_database() AND wait_event_type = 'Lock'") == "1";
    });
  }
  std::string Refs() const { return Query("SELECT string_agg(ref, ',' ORDER BY ref) FROM pgconvoy.project"); }

  static std::unique_ptr<LostCommit> lost_commit_;
  std::unique_ptr<Runtime> runtime_;
  StreamId stream_;
  std::atomic<int> terms_ = 0;
  std::atomic<bool> lead_lost_ = false;
  std::string lost_code_;
};

std::unique_ptr<LostCommit> RuntimeTest::lost_commit_;

#ifdef PGCONVOY_FAILPOINTS_ENABLED

TEST_F(RuntimeTest, ASubmissionWhoseCommitIsUnknownIsNotConfirmedAndIsFoundWhenAskedAgain) {
  Start();
  lost_commit_->Arm();
  EXPECT_EQ(CodeOf(Submit("acme").get().status), "PGC-STORE-UNAVAILABLE");
  ASSERT_TRUE(testing::Eventually([this] { return terms_ == 2; }));
  const core::Reply again = Submit("acme").get();
  EXPECT_EQ(again.status, absl::OkStatus());
  EXPECT_TRUE(again.existed);
  EXPECT_EQ(Refs(), "acme");
}

TEST_F(RuntimeTest, AReportWhoseCommitIsUnknownIsNotAcknowledgedAndCountsOnceWhenSentAgain) {
  Start();
  ASSERT_EQ(Submit("acme").get().status, absl::OkStatus());
  auto stream = Connect();
  const auto grant = stream->Find<Grant>();
  ASSERT_TRUE(grant.has_value());
  const core::HeldProject held{grant->grant.migration, "acme", grant->grant.projects[0].fence};
  ASSERT_TRUE(runtime_->Post(Report(held, 1, core::PhaseStarted{Phase::kFence})).ok());
  ASSERT_TRUE(stream->AckOf(1).has_value());

  lost_commit_->Arm();
  ASSERT_TRUE(runtime_->Post(Report(held, 2, core::PhaseDone{Phase::kFence, "{}", 0, 0, {}})).ok());
  EXPECT_FALSE(stream->AckOf(2).has_value());
  ASSERT_TRUE(stream->Closed().has_value());
  EXPECT_EQ(CodeOf(*stream->Closed()), "PGC-STORE-UNAVAILABLE");

  ASSERT_TRUE(testing::Eventually([this] { return terms_ == 2; }));
  stream = Connect({held});
  ASSERT_TRUE(runtime_->Post(Report(held, 2, core::PhaseDone{Phase::kFence, "{}", 0, 0, {}})).ok());
  const auto ack = stream->AckOf(2);
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->refused_reason, "");
  EXPECT_EQ(Query("SELECT count(*) FROM pgconvoy.event WHERE kind = 'PHASE_DONE'"), "1");
  EXPECT_EQ(Query("SELECT last_seq || ' ' || attempts FROM pgconvoy.project"), "2 1");
}

#endif

TEST_F(RuntimeTest, ACallWhoseCommitFailedHasLeftNothing) {
  Start();
  auto blocker = HoldUpCommits();
  auto reply = Submit("acme");
  ASSERT_TRUE(WaitUntilACommitWaits());
  Exec(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgconvoy-coordinator' "
      "AND datname = current_database()");
  EXPECT_EQ(CodeOf(reply.get().status), "PGC-STORE-UNAVAILABLE");
  blocker.reset();
  ASSERT_TRUE(testing::Eventually([this] { return terms_ == 2; }));
  EXPECT_EQ(Refs(), "");
  const core::Reply again = Submit("acme").get();
  EXPECT_EQ(again.status, absl::OkStatus());
  EXPECT_FALSE(again.existed);
}

TEST_F(RuntimeTest, OfAGroupThatTheStoreRefusesOnlyTheCallAtFaultFails) {
  Start();
  Exec("ALTER TABLE pgconvoy.project ADD CHECK (ref <> 'poison')");
  auto blocker = HoldUpCommits();
  auto before = Submit("before");
  ASSERT_TRUE(WaitUntilACommitWaits());
  // These three wait together and so are one group.
  auto first = Submit("first");
  auto poison = Submit("poison");
  auto last = Submit("last");
  blocker.reset();
  EXPECT_EQ(before.get().status, absl::OkStatus());
  EXPECT_EQ(first.get().status, absl::OkStatus());
  const absl::Status refused = poison.get().status;
  EXPECT_EQ(CodeOf(refused), "PGC-STORE-DATA");
  EXPECT_EQ(refused.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(last.get().status, absl::OkStatus());
  EXPECT_EQ(Refs(), "before,first,last");
}

TEST_F(RuntimeTest, AFullQueueRefusesAndForgetsNobody) {
  Options options;
  options.queue_capacity = 2;
  options.group_limit = 1;
  Start(options);
  auto blocker = HoldUpCommits();
  std::vector<std::future<core::Reply>> taken;
  taken.push_back(Submit("a"));
  ASSERT_TRUE(WaitUntilACommitWaits());
  std::string code;
  for (char ref = 'b'; ref <= 'z' && code.empty(); ++ref) {
    auto reply = Submit(std::string(1, ref));
    // Who is refused is told at once; nobody else before the commit.
    if (reply.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
      code = CodeOf(reply.get().status);
    } else {
      taken.push_back(std::move(reply));
    }
  }
  EXPECT_EQ(code, "PGC-COORD-OVERLOADED");
  EXPECT_LE(taken.size(), 4u) << "one that is committed, one that is applied, two that wait";
  blocker.reset();
  for (auto& reply : taken) {
    EXPECT_EQ(reply.get().status, absl::OkStatus());
  }
  EXPECT_EQ(Refs().size(), 2 * taken.size() - 1);
}

TEST_F(RuntimeTest, NothingOfAGroupLeavesBeforeTheOneThatItWasAppliedOn) {
  Start();
  ASSERT_EQ(Submit("acme").get().status, absl::OkStatus());
  auto stream = Connect();
  const auto grant = stream->Find<Grant>();
  ASSERT_TRUE(grant.has_value());
  const core::HeldProject held{grant->grant.migration, "acme", grant->grant.projects[0].fence};
  auto blocker = HoldUpCommits();
  ASSERT_TRUE(runtime_->Post(Report(held, 1, core::PhaseStarted{Phase::kFence})).ok());
  ASSERT_TRUE(WaitUntilACommitWaits());
  // What is known to the core already is not durable: neither what is new nor what is sent again is acknowledged.
  ASSERT_TRUE(runtime_->Post(Report(held, 1, core::PhaseStarted{Phase::kFence})).ok());
  ASSERT_TRUE(runtime_->Post(Report(held, 2, core::PhaseDone{Phase::kFence, "{}", 0, 0, {}})).ok());
  auto later = Submit("later");
  EXPECT_EQ(stream->Count<Acks>(), 0);
  Exec(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgconvoy-coordinator' "
      "AND datname = current_database()");
  EXPECT_EQ(CodeOf(later.get().status), "PGC-STORE-UNAVAILABLE");
  EXPECT_EQ(stream->Count<Acks>(), 0);
  blocker.reset();
  ASSERT_TRUE(testing::Eventually([this] { return terms_ == 2; }));
  EXPECT_EQ(Query("SELECT last_seq FROM pgconvoy.project"), "0");
  EXPECT_EQ(Refs(), "acme");
}

TEST_F(RuntimeTest, ALeaderWithoutWorkNoticesThatAnotherOneLeads) {
  Options options;
  options.lead_check_ms = 50;
  Start(options);
  auto other = Open();
  ASSERT_TRUE(other->Lead(std::nullopt).ok());
  EXPECT_TRUE(testing::Eventually([this] { return lead_lost_.load(); }));
  EXPECT_EQ(lost_code_, "PGC-STORE-EPOCH");
  EXPECT_FALSE(runtime_->leading());
}

TEST_F(RuntimeTest, StoppingEndsACommitThatTheStoreDoesNotAnswer) {
  Options options;
  options.stop_grace_ms = 100;
  Start(options);
  auto blocker = HoldUpCommits();
  auto reply = Submit("acme");
  ASSERT_TRUE(WaitUntilACommitWaits());
  runtime_->Stop();
  EXPECT_FALSE(reply.get().status.ok());
}

}  // namespace
}  // namespace pgconvoy::runtime
