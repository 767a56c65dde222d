// How an attempt ends towards the coordinator. It has no phases here, so that no server is needed; what phases do is
// tested on real servers.
#include "worker/runner/attempt_runner.h"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <mutex>

#include "common/base/clock.h"
#include "tests/support/wait.h"

namespace pgconvoy::worker {
namespace {

class AttemptRunnerTest : public ::testing::Test {
 protected:
  void Start() {
    AttemptGrant grant;
    grant.store_id = "store";
    grant.migration_id = "12";
    grant.ref = "acme";
    grant.fence = 7;
    running_ = std::async(std::launch::async, [this, grant = std::move(grant)]() mutable {
      return RunAttempt(plan_, std::move(grant), {}, {pool_, schemas_}, held_);
    });
  }
  void TearDown() override {
    // Ends an attempt that a failing test has left behind.
    held_.Revoke(v1::Revoke::LEASE_LOST);
  }

  // The next message to the coordinator; an empty one when none comes.
  v1::WorkerMessage Next() {
    v1::WorkerMessage message;
    testing::Eventually([&] {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (sent_.empty()) {
        return false;
      }
      message = std::move(sent_.front());
      sent_.pop_front();
      return true;
    });
    return message;
  }
  void Answer(const v1::WorkerMessage& message, const std::string& refused_reason = "") {
    v1::Ack ack;
    ack.set_seq(message.report().seq());
    ack.set_refused_reason(refused_reason);
    held_.Acknowledge(ack);
  }

  std::mutex mutex_;
  std::deque<v1::WorkerMessage> sent_;
  LeaseWatch lease_{Clock::System()};
  HeldProject held_{"12", "acme", 7, lease_, [this](const v1::WorkerMessage& message, bool) {
                      const std::lock_guard<std::mutex> lock(mutex_);
                      sent_.push_back(message);
                    }};
  v1::Plan plan_;
  SessionPool pool_;
  SchemaCache schemas_;
  // Last, because its destructor waits for the attempt.
  std::future<AttemptEnd> running_;
};

TEST_F(AttemptRunnerTest, SaysThatItIsDoneAndWaitsUntilThatIsDurable) {
  Start();
  const v1::WorkerMessage done = Next();
  EXPECT_TRUE(done.report().has_attempt_done());
  Answer(done);
  EXPECT_EQ(running_.get(), AttemptEnd::kRecorded);
  EXPECT_TRUE(sent_.empty());
}

TEST_F(AttemptRunnerTest, FailsWhenTheCoordinatorRefusesItsEnd) {
  Start();
  Answer(Next(), "ILLEGAL");
  const v1::WorkerMessage failed = Next();
  EXPECT_EQ(failed.report().failed().error().code(), "PGC-REPORT-REFUSED");
  EXPECT_EQ(failed.report().failed().error().verdict(), v1::PERMANENT);
  running_.get();
}

TEST_F(AttemptRunnerTest, FailsWhenThePlanCannotBeRendered) {
  plan_.mutable_source()->set_database("{no_such_attribute}");
  Start();
  const v1::WorkerMessage failed = Next();
  EXPECT_EQ(failed.report().failed().error().verdict(), v1::PERMANENT);
  EXPECT_TRUE(failed.report().failed().error().code().starts_with("PGC-PLAN-"))
      << failed.report().failed().error().code();
  Answer(failed);
  running_.get();
}

// Were it given back here, a hello could still list it afterwards.
TEST_F(AttemptRunnerTest, SaysNothingOfWhatItHasLostAndLeavesItToItsCallerToGiveItBack) {
  plan_.mutable_source()->set_database("{no_such_attribute}");
  held_.Revoke(v1::Revoke::LEASE_LOST);
  Start();
  EXPECT_EQ(running_.get(), AttemptEnd::kUnrecorded);
  EXPECT_TRUE(sent_.empty());
}

// The report may be lost with its stream, and goes with the attempt.
TEST_F(AttemptRunnerTest, LeavesItToItsCallerToGiveBackWhatWasCalledOff) {
  plan_.mutable_source()->set_database("{no_such_attribute}");
  held_.Revoke(v1::Revoke::CANCELLED);
  Start();
  EXPECT_EQ(running_.get(), AttemptEnd::kUnrecorded);
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_TRUE(sent_[0].report().has_failed());
}

}  // namespace
}  // namespace pgconvoy::worker
