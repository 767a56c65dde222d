// Indexes of large tables that are made after the rows have come in: sorting once costs a fraction of inserting each
// row into each index.
//
// A clone has its template's indexes. SetIndexesAside drops those of the tables that are about to be filled and writes
// their definitions, as the server prints them, into the table pgconvoy.late_index of the same database, in one
// transaction; each is made again in one transaction with the change of its row there. So an attempt that dies leaves a
// database that knows what it still lacks, and the next one goes on.
//
// Autovacuum keeps away from these tables meanwhile: it comes when rows have come, holds the lock that a constraint
// needs, and lets go of it a second later at the earliest, table by table.
//
// An index of a partitioned table goes and comes with those of all its partitions. Left as they are: exclusion
// constraints, and what something else refers to (a comment, a view, CLUSTER, REPLICA IDENTITY, statistics of an
// expression), which would be lost with them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/pg/connection.h"
#include "worker/phases/attempt.h"
#include "worker/phases/parallel.h"

namespace pgconvoy::worker {

// `tables`: quoted names. Tables that have no such index, for example because it is aside already, are passed over.
absl::Status SetIndexesAside(pg::Connection& target, const std::vector<std::string>& tables);

// What makes those that are still aside: a transaction for each of a large table, one for several of small ones. No
// task when constraints alone are missing, nullopt when nothing is. Tables can be read meanwhile. `reporter` is asked
// before each whether the attempt may go on, and outlives the tasks.
absl::StatusOr<std::optional<std::vector<SessionTask>>> IndexesAside(pg::Connection& target, Reporter& reporter);

// After the last of them: makes the constraints and the indexes of partitioned tables that they are for.
absl::Status AddConstraintsAside(pg::Connection& target);

}  // namespace pgconvoy::worker
