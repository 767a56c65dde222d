// Reading tables: the same statement, settings and digest on the source and on the target.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/copy/digest.h"
#include "worker/phases/parallel.h"
#include "worker/phases/schema.h"

namespace pgconvoy::worker {

// SELECT * FROM table WHERE the plan's condition: the project's rows of a table, whole.
absl::StatusOr<std::string> SourceRowsSql(const Attempt& attempt, const TableInfo& info);
// COPY (SELECT columns FROM table WHERE the plan's condition) TO STDOUT; COPY table (columns) where that is the same.
absl::StatusOr<std::string> SourceCopySql(const Attempt& attempt, const v1::Table& table, const TableInfo& info);
// COPY (SELECT columns FROM table) TO STDOUT, for the target.
std::string TargetCopySql(const std::string& table, const std::vector<std::string>& columns);

using RowSink = std::function<absl::Status(std::string_view row)>;

// Streams a COPY through a digest. Passes a safe point now and then.
absl::StatusOr<RowDigest> ReadDigest(Attempt& attempt, pg::Connection& connection, const std::string& copy_sql);

// Gives `sink` the project's rows of a table of the source, passing a safe point now and then; without the planner,
// which may run code of the table's owner, where the plan takes the table as it is.
absl::Status ReadSourceRows(Attempt& attempt, pg::Connection& reader, const TableInfo& info, const RowSink& sink);
// Their digest.
absl::StatusOr<RowDigest> ReadSource(Attempt& attempt, pg::Connection& reader, const TableInfo& info);

// Begins a read-only snapshot in which every table of the plan is locked against DDL first: a table that was rewritten
// after the snapshot would read as empty, without an error. Checks each definition against `schema`:
// PGC-SRC-DDL when it has changed since.
absl::StatusOr<std::unique_ptr<pg::Transaction>> BeginSourceSnapshot(Attempt& attempt,
                                                                     pg::Connection& reader,
                                                                     const SourceSchema& schema);

v1::TableDigest ToProto(const std::string& table, const RowDigest& digest);

// Reads every table of the source under a fresh snapshot; for CUTOVER and the rollback's verification.
absl::StatusOr<std::vector<v1::TableDigest>> SourceDigests(Attempt& attempt);

// Reads every table of the target. Call before FORCE ROW LEVEL SECURITY is set, or inside WithoutForce.
absl::StatusOr<std::vector<v1::TableDigest>> TargetDigests(Attempt& attempt, const SourceSchema& schema);

// The same on several sessions at once, large tables in ranges of pages, with `others` done in between; for a target
// that nobody writes to, as every session reads what is committed when it gets there.
absl::StatusOr<std::vector<v1::TableDigest>> TargetDigestsOn(const std::vector<pg::Connection*>& sessions,
                                                             Attempt& attempt,
                                                             const SourceSchema& schema,
                                                             std::vector<SessionTask> others);

// Runs `body` in a transaction of the target session in which no table has FORCE ROW LEVEL SECURITY, and rolls it
// back: the owner would otherwise see only what the policies show.
absl::Status WithoutForce(Attempt& attempt,
                          const SourceSchema& schema,
                          const std::function<absl::Status(pg::Connection&)>& body);

// The first difference between what was expected and what was found, as a message without row data; "" when equal.
std::string FirstDifference(const std::vector<v1::TableDigest>& expected, const std::vector<v1::TableDigest>& found);

// last_value and is_called of sequences. They are not transactional and belong to the whole source, not to a project.
absl::StatusOr<std::vector<v1::SequenceValue>> ReadSequences(pg::Connection& connection, const SourceSchema& schema);

}  // namespace pgconvoy::worker
