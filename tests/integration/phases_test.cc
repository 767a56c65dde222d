// The worker's phases, run in this process against real servers, without a coordinator.
#include <gtest/gtest.h>
#include <stdlib.h>

#include "common/base/error.h"
#include "common/plan/plan.h"
#include "tests/integration/fleet.h"
#include "worker/phases/phases.h"
#include "worker/phases/reconcile.h"
#include "worker/phases/schema.h"

namespace pgconvoy::testing {
namespace {

using worker::Attempt;
using worker::AttemptGrant;

// What a coordinator with a durable store would do: accept everything.
class AcceptAll : public worker::Reporter {
 public:
  absl::Status Intent(const v1::Intent& intent) override {
    intents.push_back(intent);
    return absl::OkStatus();
  }
  void Progress(int64_t, int64_t) override {}
  absl::Status Checkpoint() override { return absl::OkStatus(); }
  std::vector<v1::Intent> intents;
};

constexpr Phase kForward[] = {Phase::kFence,     Phase::kPreValidation,  Phase::kFreeze, Phase::kCredentials,
                              Phase::kProvision, Phase::kBackup,         Phase::kCopy,   Phase::kVerify,
                              Phase::kCutover,   Phase::kPostValidation, Phase::kCleanup};
constexpr Phase kRollback[] = {Phase::kFence,  Phase::kCutover, Phase::kProvision, Phase::kCredentials,
                               Phase::kFreeze, Phase::kBackup,  Phase::kVerify,    Phase::kCleanup};

class PhasesTest : public ::testing::Test {
 protected:
  PhasesTest() : fleet_({.projects = 2}) {
    for (const auto& [name, value] : fleet_.env()) {
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }

  std::unique_ptr<Attempt> NewAttempt(Direction direction = Direction::kForward) {
    AttemptGrant grant;
    grant.store_id = "store-under-test";
    grant.migration_id = "1";
    grant.plan_hash = plan::PlanHash(fleet_.plan());
    grant.ref = fleet_.refs()[0];
    grant.fence = ++fence_;
    grant.direction = direction;
    grant.done = done_;
    grant.intents = reporter_.intents;
    auto attempt = Attempt::Create(fleet_.plan(), grant, pool_, schemas_, reporter_);
    EXPECT_TRUE(attempt.ok()) << Describe(attempt.status());
    return *std::move(attempt);
  }

  absl::Status Run(Attempt& attempt, Phase phase) {
    auto result = worker::RunPhase(attempt, phase);
    if (!result.ok()) {
      return Annotate(result.status(), Name(phase));
    }
    result->set_phase(static_cast<v1::Phase>(phase));
    result->set_direction(static_cast<v1::Direction>(attempt.grant().direction));
    result->set_fence(attempt.grant().fence);
    attempt.AddResult(*result);
    done_.push_back(*result);
    return absl::OkStatus();
  }

  template <typename Phases>
  absl::Status RunAll(Attempt& attempt, const Phases& phases) {
    for (const Phase phase : phases) {
      if (absl::Status status = Run(attempt, phase); !status.ok()) {
        return status;
      }
    }
    return absl::OkStatus();
  }

  Fleet fleet_;
  worker::SessionPool pool_;
  worker::SchemaCache schemas_;
  AcceptAll reporter_;
  std::vector<v1::PhaseResult> done_;
  int64_t fence_ = 0;
};

TEST_F(PhasesTest, OneAttemptIsolatesAProject) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunAll(*attempt, kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotIsolated(fleet_.refs()[0]), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(PhasesTest, EveryPhaseCanBeRepeatedByTheNextAttempt) {
  for (const Phase phase : kForward) {
    {
      const auto attempt = NewAttempt();
      ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
      ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
      // Its report never arrived.
      done_.pop_back();
    }
    const auto attempt = NewAttempt();
    ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
    ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
  }
  EXPECT_EQ(fleet_.WhyNotIsolated(fleet_.refs()[0]), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(PhasesTest, RollbackFromEveryPhaseLeavesNothing) {
  const std::string before = fleet_.SourceHash(fleet_.refs()[0]);
  for (size_t last = 0; last < std::size(kForward); ++last) {
    SCOPED_TRACE(Name(kForward[last]));
    done_.clear();
    {
      const auto attempt = NewAttempt();
      for (size_t i = 0; i <= last; ++i) {
        ASSERT_EQ(Describe(Run(*attempt, kForward[i])), "OK");
      }
    }
    const auto attempt = NewAttempt(Direction::kRollback);
    ASSERT_EQ(Describe(RunAll(*attempt, kRollback)), "OK");
    EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[0]), "");
    EXPECT_EQ(fleet_.Leftovers(), "");
  }
  EXPECT_EQ(fleet_.SourceHash(fleet_.refs()[0]), before);
}

TEST_F(PhasesTest, AnOlderAttemptIsRefusedByTheFence) {
  const auto old = NewAttempt();
  ASSERT_EQ(Describe(Run(*old, Phase::kFence)), "OK");
  const auto young = NewAttempt();
  ASSERT_EQ(Describe(Run(*young, Phase::kFence)), "OK");
  for (const Phase phase : {Phase::kFence, Phase::kFreeze, Phase::kCredentials}) {
    const absl::Status refused = Run(*old, phase);
    EXPECT_EQ(VerdictOf(refused), Verdict::kFenced) << Describe(refused);
  }
}

TEST_F(PhasesTest, ASourceThatWasWrittenToIsNotCutOver) {
  const auto attempt = NewAttempt();
  for (const Phase phase : kForward) {
    if (phase == Phase::kCutover) {
      break;
    }
    ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
  }
  fleet_.source().Exec(
      "platform",
      "SET session_replication_role = replica; UPDATE auth.users SET aud = 'changed' WHERE id = (SELECT "
      "id FROM auth.users WHERE project_ref = '" +
          fleet_.refs()[0] + "' LIMIT 1)");
  EXPECT_EQ(CodeOf(Run(*attempt, Phase::kCutover)), "PGC-CUT-SOURCE-DIRTY");
}

TEST_F(PhasesTest, ATargetThatWasWrittenToIsNotRolledBack) {
  {
    const auto attempt = NewAttempt();
    ASSERT_EQ(Describe(RunAll(*attempt, kForward)), "OK");
  }
  const std::string ref = fleet_.refs()[0];
  fleet_.target().Exec("project_" + ref, "UPDATE auth.sessions SET tag = 'written by the tenant'");
  const std::string written = fleet_.TargetHash(ref);
  {
    const auto attempt = NewAttempt(Direction::kRollback);
    const absl::Status refused = RunAll(*attempt, kRollback);
    EXPECT_EQ(CodeOf(refused), "PGC-ROLLBACK-WRITES") << Describe(refused);
    EXPECT_EQ(VerdictOf(refused), Verdict::kOperator);
  }
  EXPECT_EQ(fleet_.TargetHash(ref), written);
  EXPECT_EQ(fleet_.target().QueryValue("postgres",
                                       "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'project_" + ref + "'"),
            "t");
}

TEST_F(PhasesTest, TheReconcilerRemovesWhatADeadAttemptLeft) {
  {
    const auto attempt = NewAttempt();
    for (const Phase phase : {Phase::kFence, Phase::kPreValidation, Phase::kCredentials, Phase::kProvision,
                              Phase::kBackup, Phase::kCopy}) {
      ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
    }
  }
  EXPECT_NE(fleet_.Leftovers(), "");
  const auto& server = fleet_.plan().servers().at("isolated");
  const auto spared = worker::Reconcile(pool_, server, "store-under-test", {fleet_.refs()[0]});
  ASSERT_TRUE(spared.ok()) << Describe(spared.status());
  EXPECT_TRUE(spared->empty());
  const auto removed = worker::Reconcile(pool_, server, "store-under-test", {});
  ASSERT_TRUE(removed.ok()) << Describe(removed.status());
  EXPECT_FALSE(removed->empty());
  EXPECT_EQ(fleet_.Leftovers(), "");
}

}  // namespace
}  // namespace pgconvoy::testing
