// What every phase would do to a project, as lines for people: `pgconvoy submit --dry-run`.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pgconvoy/v1/worker_service.pb.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// One line a step, "login@server/database: statement"; secrets are shown as ***. Reads the source's schema, changes
// nothing.
absl::StatusOr<std::vector<v1::PhaseDescription>> DescribeProject(Attempt& attempt);

}  // namespace pgconvoy::worker
