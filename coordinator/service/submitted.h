// The answer to whoever submitted a migration, also when its request id is one that was seen before.
//
// Thread safety: from any thread; FindSubmitted does not wait for the store.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/service/backend.h"
#include "pgconvoy/v1/migration.pb.h"

namespace pgconvoy::service {

// What tells one submission from another.
struct Submitted {
  std::string plan_hash;
  // store::RefsDigest of its projects.
  std::string refs_digest;
};
Submitted WhatIsSubmitted(const core::SubmitMigration& submit);

// Reads the migration that `reply` names on the pool and gives it to `done`, on a thread of the pool or on this one.
// AlreadyExists PGC-RPC-REUSED-ID when the request id is that of a migration with another plan or other projects,
// PGC-COORD-OVERLOADED, and the error of `reply`.
void FindSubmitted(const Backend& backend,
                   const core::Reply& reply,
                   Submitted submitted,
                   std::function<void(absl::StatusOr<v1::Migration>)> done);

}  // namespace pgconvoy::service
