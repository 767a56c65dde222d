// What a project needs, measured at its source. Reads only.
//
// Thread safety: none needed; one attempt, one thread.
#pragma once

#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// Reads every row of the project once, on the server. Bytes are those of the rows as the source stores them, for the
// target with as much for indexes as the source's tables have, for the backup the rows as text before compression.
absl::StatusOr<v1::Estimate> EstimateProject(Attempt& attempt);

}  // namespace pgconvoy::worker
