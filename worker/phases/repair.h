// What a project's migration left against what is there: its registry row, freeze, role, database and sealed password.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "pgconvoy/v1/plan.pb.h"
#include "pgconvoy/v1/worker_service.pb.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// One check for each difference: `message` says what it is, `passed` that it was mended, `remedy` why it was not. With
// `mend`, puts right what can be put right without a loss, in transactions that hold the project's fence row, raised to
// the grant's fence, which must be the highest that the store gave to the project: FENCED PGC-FENCE-STALE when an
// attempt has begun since. What is in doubt is never touched. `found` is filled as far as it came, also on an error.
absl::Status Repair(const v1::Plan& plan,
                    const std::string& store_id,
                    const v1::RepairTask& task,
                    SessionPool& pool,
                    SchemaCache& schemas,
                    Reporter& reporter,
                    v1::ProjectInspection& found);

}  // namespace pgconvoy::worker
