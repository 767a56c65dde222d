// Where a database that is changed in place remembers what was done to it: schema `pgconvoy_transform`, owned by the
// transformer, with the fences, one row per transformation, and the log of every row that it changed. It stays after
// CLEANUP and after a rollback, because fences are never forgotten and the log is the record of the change.
//
// Errors: FENCED PGC-FENCE-STALE when a newer attempt has taken over.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// Makes the schema when it does not exist. PGC-TRANSFORM-SCHEMA with the GRANT to run when the transformer may not.
absl::Status EnsureTransformTables(pg::Connection& connection);

// As RaiseFence and InFencedTransaction of control.h, with the fence of this schema.
absl::Status RaiseTransformFence(pg::Connection& connection, const Attempt& attempt);
absl::Status InTransformTransaction(pg::Connection& connection,
                                    const Attempt& attempt,
                                    const std::function<absl::Status(pg::Connection&)>& body);

// A transformation of this project by this migration that no rollback has undone.
struct TransformRecord {
  int64_t fence = 0;
  v1::TransformResult result;
};
absl::StatusOr<std::optional<TransformRecord>> FindTransform(pg::Connection& connection, const Attempt& attempt);
// The latest one that a rollback has undone.
absl::StatusOr<std::optional<TransformRecord>> FindUndoneTransform(pg::Connection& connection,
                                                                   const Attempt& attempt);

// Where the sequences stood before the first attempt of this migration, in a transaction of its own: sequences do not
// roll back, so a transformation that comes to nothing moves them all the same.
absl::Status NoteSequences(pg::Connection& connection,
                           const Attempt& attempt,
                           const std::vector<v1::SequenceValue>& values);
absl::StatusOr<std::vector<v1::SequenceValue>> NotedSequences(pg::Connection& connection, const Attempt& attempt);

// Both in the transaction that does what they record.
absl::Status RecordTransform(pg::Connection& connection, const Attempt& attempt, const v1::TransformResult& result);
absl::Status RecordUndone(pg::Connection& connection, const Attempt& attempt, const TransformRecord& record);

}  // namespace pgconvoy::worker
