// The worker's phases, run in this process against real servers, without a coordinator.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/plan/plan.h"
#include "tests/integration/fleet.h"
#include "worker/phases/phases.h"
#include "worker/phases/schema.h"

namespace pgconvoy::testing {

inline constexpr Phase kForward[] = {Phase::kFence,     Phase::kPreValidation,  Phase::kFreeze, Phase::kCredentials,
                                     Phase::kProvision, Phase::kBackup,         Phase::kCopy,   Phase::kVerify,
                                     Phase::kCutover,   Phase::kPostValidation, Phase::kCleanup};
inline constexpr Phase kRollback[] = {Phase::kFence,  Phase::kCutover, Phase::kProvision, Phase::kCredentials,
                                      Phase::kFreeze, Phase::kBackup,  Phase::kVerify,    Phase::kCleanup};

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

// On what the installation F seeds.
template <typename F>
class PhasesOn : public ::testing::Test {
 protected:
  explicit PhasesOn(const typename F::Options& options) : fleet_(options) {
    for (const auto& [name, value] : fleet_.env()) {
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }

  const std::string& ref() const { return ref_; }

  // What follows belongs to this migration and project; nothing of an earlier one is remembered.
  void BeginMigration(const std::string& id, const std::string& ref) {
    migration_ = id;
    ref_ = ref;
    done_.clear();
    reporter_.intents.clear();
  }

  std::unique_ptr<worker::Attempt> NewAttempt(Direction direction = Direction::kForward) {
    worker::AttemptGrant grant;
    grant.store_id = "store-under-test";
    grant.migration_id = migration_;
    grant.plan_hash = plan::PlanHash(fleet_.plan());
    grant.ref = ref_;
    grant.attributes = fleet_.attributes(ref_);
    grant.fence = ++fence_;
    grant.direction = direction;
    grant.discard_writes = discard_writes_;
    grant.done = done_;
    grant.intents = reporter_.intents;
    auto attempt = worker::Attempt::Create(fleet_.plan(), grant, pool_, schemas_, reporter_);
    EXPECT_TRUE(attempt.ok()) << Describe(attempt.status());
    return *std::move(attempt);
  }

  absl::Status Run(worker::Attempt& attempt, Phase phase) {
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
  absl::Status RunAll(worker::Attempt& attempt, const Phases& phases) {
    for (const Phase phase : phases) {
      if (absl::Status status = Run(attempt, phase); !status.ok()) {
        return status;
      }
    }
    return absl::OkStatus();
  }

  // Forward, `last` included.
  absl::Status RunTo(worker::Attempt& attempt, Phase last) {
    for (const Phase phase : kForward) {
      if (absl::Status status = Run(attempt, phase); !status.ok() || phase == last) {
        return status;
      }
    }
    return absl::OkStatus();
  }

  F fleet_;
  worker::SessionPool pool_;
  worker::SchemaCache schemas_;
  AcceptAll reporter_;
  std::vector<v1::PhaseResult> done_;
  std::string migration_ = "1";
  std::string ref_ = fleet_.refs()[0];
  bool discard_writes_ = false;
  int64_t fence_ = 0;
};

class PhasesFixture : public PhasesOn<Fleet> {
 protected:
  PhasesFixture() : PhasesOn({.projects = 2}) {}
};

}  // namespace pgconvoy::testing
