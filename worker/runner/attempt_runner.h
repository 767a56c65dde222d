// Runs one attempt from its first phase to its last and tells the coordinator.
#pragma once

#include <memory>
#include <vector>

#include "pgconvoy/v1/plan.pb.h"
#include "worker/phases/attempt.h"
#include "worker/phases/schema.h"
#include "worker/phases/sessions.h"
#include "worker/runner/held_project.h"

namespace pgconvoy::worker {

// What an attempt needs besides its grant. Referred to, not owned.
struct AttemptTools {
  SessionPool& pool;
  SchemaCache& schemas;
};

enum class AttemptEnd {
  // The coordinator has recorded how it ended.
  kRecorded,
  // Nobody knows whether it has heard of the end. The caller gives the project back, but only once it no longer lists
  // it among those that it holds: a hello in between would name a project of which nothing is ever reported again.
  kUnrecorded,
};

// Blocks until the attempt has ended and its last report is durable, or until it must stop without a word because its
// lease is lost. Never throws; every outcome is a report or a log line.
AttemptEnd RunAttempt(const v1::Plan& plan,
                      AttemptGrant grant,
                      const std::vector<Phase>& phases,
                      AttemptTools tools,
                      HeldProject& held);

}  // namespace pgconvoy::worker
