#include "worker/runner/held_project.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kTtlMs = 10'000;
constexpr int64_t kSilenceMs = kTtlMs + 1;

// Stands still unless the test moves it.
class ManualClock : public Clock {
 public:
  MonotonicMs NowMonotonic() override { return now_; }
  WallMs NowWall() override { return now_; }
  void Pass(int64_t ms) { now_ += ms; }

 private:
  std::atomic<MonotonicMs> now_ = 1'000;
};

class LeaseTest : public ::testing::Test {
 protected:
  LeaseTest() { lease_.SetTtl(kTtlMs); }

  ManualClock clock_;
  LeaseWatch lease_{clock_};
};

TEST_F(LeaseTest, HasNotLapsedWhileTheCoordinatorIsHeard) {
  for (int i = 0; i < 10; ++i) {
    clock_.Pass(kTtlMs / 2);
    EXPECT_EQ(lease_.Lapses(), 0);
    lease_.Heard();
  }
  EXPECT_EQ(lease_.Lapses(), 0);
}

TEST_F(LeaseTest, LapsesBeforeTheCoordinatorGivesTheWorkAway) {
  clock_.Pass(kTtlMs - 1);
  EXPECT_EQ(lease_.Lapses(), 1);
}

TEST_F(LeaseTest, StaysLapsedAfterTheCoordinatorIsHeardAgain) {
  clock_.Pass(kSilenceMs);
  lease_.Heard();
  EXPECT_EQ(lease_.Lapses(), 1);
  clock_.Pass(kSilenceMs);
  EXPECT_EQ(lease_.Lapses(), 2);
  lease_.Heard();
  EXPECT_EQ(lease_.Lapses(), 2);
}

TEST_F(LeaseTest, CountsALongSilenceOnce) {
  clock_.Pass(100 * kSilenceMs);
  EXPECT_EQ(lease_.Lapses(), 1);
  clock_.Pass(100 * kSilenceMs);
  EXPECT_EQ(lease_.Lapses(), 1);
}

class HeldProjectTest : public LeaseTest {
 protected:
  std::unique_ptr<HeldProject> Hold() {
    return std::make_unique<HeldProject>(
        "12", "acme", 7, lease_, [this](const v1::WorkerMessage& message, bool) { sent_.push_back(message); });
  }

  static v1::Report Started(v1::Phase phase) {
    v1::Report report;
    report.mutable_phase_started()->set_phase(phase);
    return report;
  }
  static v1::Ack AckUpTo(int64_t seq) {
    v1::Ack ack;
    ack.set_seq(seq);
    return ack;
  }
  static v1::Ack Refusal(int64_t seq, const std::string& reason) {
    v1::Ack ack = AckUpTo(seq);
    ack.set_refused_reason(reason);
    ack.set_refused_message("as told");
    return ack;
  }
  static std::vector<int64_t> Numbers(const std::vector<v1::WorkerMessage>& messages) {
    std::vector<int64_t> numbers;
    for (const v1::WorkerMessage& message : messages) {
      numbers.push_back(message.report().seq());
    }
    return numbers;
  }
  std::string StopCode() { return CodeOf(held_->Checkpoint()); }

  // Of one thread: the test's.
  std::vector<v1::WorkerMessage> sent_;
  std::unique_ptr<HeldProject> held_ = Hold();
};

TEST_F(HeldProjectTest, NumbersReportsFromOneAndSignsThem) {
  EXPECT_EQ(held_->Post(Started(v1::FENCE)), 1);
  EXPECT_EQ(held_->Post(Started(v1::BACKUP)), 2);
  ASSERT_THAT(Numbers(sent_), ElementsAre(1, 2));
  EXPECT_EQ(sent_[1].report().migration_id(), "12");
  EXPECT_EQ(sent_[1].report().project_ref(), "acme");
  EXPECT_EQ(sent_[1].report().fence(), 7);
  EXPECT_EQ(sent_[1].report().phase_started().phase(), v1::BACKUP);
}

TEST_F(HeldProjectTest, KeepsReportsInOrderUntilTheyAreAcknowledged) {
  for (const v1::Phase phase : {v1::FENCE, v1::PRE_VALIDATION, v1::BACKUP}) {
    held_->Post(Started(phase));
  }
  EXPECT_THAT(Numbers(held_->Unacknowledged()), ElementsAre(1, 2, 3));
  EXPECT_EQ(held_->Unacknowledged()[2].SerializeAsString(), sent_[2].SerializeAsString());
  held_->Acknowledge(AckUpTo(2));
  EXPECT_THAT(Numbers(held_->Unacknowledged()), ElementsAre(3));
  // A late answer to what was sent twice.
  held_->Acknowledge(AckUpTo(1));
  EXPECT_THAT(Numbers(held_->Unacknowledged()), ElementsAre(3));
  held_->Acknowledge(AckUpTo(3));
  EXPECT_THAT(held_->Unacknowledged(), IsEmpty());
  EXPECT_EQ(held_->Post(Started(v1::COPY)), 4);
}

TEST_F(HeldProjectTest, WaitsUntilAReportIsDurable) {
  const int64_t seq = held_->Post(Started(v1::FENCE));
  std::future<absl::Status> waiting = std::async(std::launch::async, [&] { return held_->WaitDurable(seq); });
  held_->Acknowledge(AckUpTo(seq));
  EXPECT_EQ(waiting.get(), absl::OkStatus());
}

TEST_F(HeldProjectTest, SendsAnIntentBeforeItWaitsForIt) {
  // Acknowledged in advance, so that the wait has nothing to wait for.
  held_->Acknowledge(AckUpTo(1));
  EXPECT_EQ(held_->Intent(v1::Intent()), absl::OkStatus());
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_TRUE(sent_[0].report().has_intent());
}

TEST_F(HeldProjectTest, SendsProgressAtMostOnceASecond) {
  for (int i = 1; i <= 1000; ++i) {
    held_->Progress(i, 10 * i);
  }
  // A thousand calls may take longer than a second, but not one a second.
  ASSERT_FALSE(sent_.empty());
  EXPECT_LT(sent_.size(), 1000u);
  EXPECT_EQ(sent_[0].report().progress().rows(), 1);
  EXPECT_EQ(sent_[0].report().progress().bytes(), 10);
}

TEST_F(HeldProjectTest, MayGoOnWhileNothingSpeaksAgainstIt) { EXPECT_EQ(held_->Checkpoint(), absl::OkStatus()); }

TEST_F(HeldProjectTest, StopsWhenTheCoordinatorIsSilent) {
  clock_.Pass(kSilenceMs);
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
  EXPECT_EQ(VerdictOf(held_->Checkpoint()), Verdict::kFenced);
}

TEST_F(HeldProjectTest, StaysStoppedWhenTheCoordinatorIsHeardAgain) {
  clock_.Pass(kSilenceMs);
  lease_.Heard();
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
}

TEST_F(HeldProjectTest, MayBeGrantedAfterASilenceThatEndedBefore) {
  clock_.Pass(kSilenceMs);
  lease_.Heard();
  const auto next = Hold();
  EXPECT_EQ(next->Checkpoint(), absl::OkStatus());
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
}

TEST_F(HeldProjectTest, EndsAWaitWhenTheCoordinatorFallsSilent) {
  const int64_t seq = held_->Post(Started(v1::FENCE));
  std::future<absl::Status> waiting = std::async(std::launch::async, [&] { return held_->WaitDurable(seq); });
  clock_.Pass(kSilenceMs);
  EXPECT_EQ(CodeOf(waiting.get()), "PGC-LEASE-LOST");
}

TEST_F(HeldProjectTest, EndsAWaitWhenItIsCalledOff) {
  const int64_t seq = held_->Post(Started(v1::FENCE));
  std::future<absl::Status> waiting = std::async(std::launch::async, [&] { return held_->WaitDurable(seq); });
  held_->Revoke(v1::Revoke::CANCELLED);
  const absl::Status status = waiting.get();
  EXPECT_EQ(CodeOf(status), "PGC-ABANDONED");
  EXPECT_EQ(VerdictOf(status), Verdict::kAbandoned);
}

TEST_F(HeldProjectTest, HasLostItsLeaseHoweverItWasCalledOffBefore) {
  held_->Revoke(v1::Revoke::CANCELLED);
  ASSERT_EQ(StopCode(), "PGC-ABANDONED");
  held_->Revoke(v1::Revoke::LEASE_LOST);
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
  held_->Revoke(v1::Revoke::CANCELLED);
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
}

TEST_F(HeldProjectTest, HasLostItsLeaseWhenItWasCalledOffAndThenHeardNothing) {
  held_->Revoke(v1::Revoke::CANCELLED);
  clock_.Pass(kSilenceMs);
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
  lease_.Heard();
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
}

TEST_F(HeldProjectTest, StopsWhenAReportComesTooLate) {
  held_->Post(Started(v1::FENCE));
  held_->Acknowledge(Refusal(1, "LEASE_LOST"));
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
}

TEST_F(HeldProjectTest, StopsForGoodWhenAReportIsRefused) {
  const int64_t seq = held_->Post(Started(v1::FENCE));
  held_->Acknowledge(Refusal(seq, "ILLEGAL"));
  const absl::Status status = held_->WaitDurable(seq);
  EXPECT_EQ(CodeOf(status), "PGC-REPORT-REFUSED");
  EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
  EXPECT_NE(MessageOf(status).find("as told"), std::string::npos);
}

TEST_F(HeldProjectTest, RemembersThatItsLeaseIsLostWhenAReportIsRefusedAfterwards) {
  held_->Revoke(v1::Revoke::LEASE_LOST);
  held_->Acknowledge(Refusal(1, "ILLEGAL"));
  EXPECT_EQ(StopCode(), "PGC-LEASE-LOST");
}

TEST_F(HeldProjectTest, GivesItselfBackByName) {
  held_->GiveBack();
  ASSERT_EQ(sent_.size(), 1u);
  ASSERT_EQ(sent_[0].release().projects_size(), 1);
  EXPECT_EQ(sent_[0].release().projects(0).SerializeAsString(), held_->ToProto().SerializeAsString());
  EXPECT_EQ(held_->ToProto().migration_id(), "12");
  EXPECT_EQ(held_->ToProto().project_ref(), "acme");
  EXPECT_EQ(held_->ToProto().fence(), 7);
}

}  // namespace
}  // namespace pgconvoy::worker
