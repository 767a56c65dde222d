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

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/pg/connection.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// `tables`: quoted names. Tables that have no such index, for example because it is aside already, are passed over.
absl::Status SetIndexesAside(pg::Connection& target, const std::vector<std::string>& tables);

// Indexes that one transaction makes: one of a large table, several of small ones.
struct IndexTask {
  // Quoted.
  std::vector<std::string> names;
  std::string sql;
  // Of their tables, once for each index.
  int64_t bytes = 0;
};

// What is still to be made; no task when constraints alone are missing, nullopt when nothing is.
absl::StatusOr<std::optional<std::vector<IndexTask>>> IndexesAside(pg::Connection& target);

// Runs the tasks, several at a time, then makes the constraints and the indexes of partitioned tables that they are
// for. `reporter` is asked between two whether the attempt may go on.
absl::Status BuildIndexesAside(const std::vector<pg::Connection*>& targets,
                               const std::vector<IndexTask>& tasks,
                               Reporter& reporter);

}  // namespace pgconvoy::worker
