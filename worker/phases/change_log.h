// The rows that TRANSFORM changes, logged by primary key before and after, and put back from that log.
//
// Everything here runs in the transformer's transaction that holds the project's fence row. Tables are locked against
// writers first, so that what differs between the two looks is what the transaction itself has changed.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// A table as the transaction finds it.
struct InPlaceTable {
  // schema.table, as the plan writes it.
  std::string name;
  std::string quoted;
  // The primary key's columns; a table without one cannot be logged.
  std::vector<std::string> key;
  // Columns that a restore sets: not generated, no GENERATED ALWAYS AS IDENTITY, not in the key.
  std::vector<std::string> settable;
  // Columns of a new row: not generated.
  std::vector<std::string> insertable;
  bool forced = false;
  // Triggers that are not internal and not disabled, with what enables them again.
  std::vector<std::pair<std::string, std::string>> triggers;
};

// The plan's tables. PGC-SRC-TABLE, PGC-TRANSFORM-KEY (no primary key).
absl::StatusOr<std::vector<InPlaceTable>> DescribeInPlace(pg::Connection& connection, const Attempt& attempt);

// Shuts writers out for the transaction; readers go on until a definition changes.
absl::Status LockAgainstWriters(pg::Connection& connection, const std::vector<InPlaceTable>& tables);

// Takes FORCE ROW LEVEL SECURITY away, which would hide rows from their owner, and with `suppress_triggers` the tables'
// own triggers. CloseTables puts both back as they were.
absl::Status OpenTables(pg::Connection& connection, const std::vector<InPlaceTable>& tables, bool suppress_triggers);
absl::Status CloseTables(pg::Connection& connection, const std::vector<InPlaceTable>& tables, bool suppress_triggers);

// That two rows have the same key.
std::string SameKey(const InPlaceTable& table, const std::string& a, const std::string& b);

// Foreign keys of the tables, checked at the end of a restore instead of row by row.
struct DeferredKeys {
  std::string defer;
  std::string as_before;
};

absl::StatusOr<DeferredKeys> ForeignKeysOf(pg::Connection& connection, const std::vector<std::string>& tables);

class ChangeLog {
 public:
  // `fence`: of the attempt that transforms or has transformed.
  ChangeLog(pg::Connection& connection, const Attempt& attempt, int64_t fence, std::vector<InPlaceTable> tables);

  // Remembers every row as it is now.
  absl::Status LookBefore();
  // Logs what differs by now; one entry per table. PGC-TRANSFORM-UNCHANGED when a table of the plan that must not
  // change has changed.
  absl::StatusOr<std::vector<v1::TableChange>> Record();

  // Puts every logged row back. OPERATOR PGC-ROLLBACK-WRITES when one was written since, or when rows that the log
  // does not know hang on it, unless discard_writes: then what stood there is kept in pgconvoy_transform.discarded.
  absl::Status Restore(bool discard_writes);

  // Keeps what the transaction has taken away since LookBefore() although it was not what the migration had left there.
  absl::Status KeepDiscarded();

 private:
  absl::Status CheckNotWrittenSince(size_t index);
  absl::Status PrepareRestore(size_t index);
  absl::Status DeleteInserted();
  absl::Status UpdateAndInsert(size_t index);
  absl::StatusOr<int64_t> KeepDiscardedOf(size_t index);
  absl::Status CheckRestored(size_t index);
  std::vector<pg::Param> Params(const InPlaceTable& table) const;

  pg::Connection& connection_;
  const Attempt& attempt_;
  const int64_t fence_;
  const std::vector<InPlaceTable> tables_;
};

// The rows that the project's transformation has changed, undone or not, as `pgconvoy changes` shows them: values only
// of columns that the plan changes by name. PGC-TRANSFORM-NONE when there was none.
absl::StatusOr<std::vector<v1::RowChange>> ChangesOf(Attempt& attempt);

}  // namespace pgconvoy::worker
