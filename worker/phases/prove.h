// The conservation proof: for every table that projects share, the rows of all targets and the rows of the source that
// belong to no migrated project add up to the whole table. So no row was lost, none was invented, none is in two
// targets. The source is read under one snapshot.
//
// A sum of digests says more than a count: a row that became another shows too. Columns that the plan leaves out or
// gives new values are not compared, and the check says which.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "worker/phases/inspect.h"

namespace pgconvoy::worker {

// One check for each table of the plan with a condition. PGC-PROVE-PLAN when there is none, or no target.
absl::StatusOr<std::vector<v1::CheckResult>> ProveConservation(const Inspector& inspector,
                                                               const std::vector<v1::ProjectGrant>& projects);

}  // namespace pgconvoy::worker
