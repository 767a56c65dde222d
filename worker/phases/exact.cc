#include "worker/phases/exact.h"

#include <utility>

#include "common/base/error.h"
#include "worker/core/sql.h"

namespace pgconvoy::worker {
namespace {

constexpr char kExpected[] = "pg_temp.pgconvoy_expected";

absl::Status LoadExpected(Attempt& attempt,
                          pg::Connection& target,
                          const backup::BackupReader& backup,
                          const backup::TableEntry& table) {
  const std::string columns = IdentList(table.columns);
  PGC_RETURN_IF_ERROR(target.ExecScript(std::string("CREATE TEMPORARY TABLE ") + kExpected + " AS SELECT " + columns +
                                        " FROM " + SplitTable(table.table).Quoted() + " WITH NO DATA"));
  for (const backup::ChunkEntry& chunk : table.chunks) {
    PGC_RETURN_IF_ERROR(attempt.reporter().Checkpoint());
    PGC_ASSIGN_OR_RETURN(const std::string rows, backup.ReadChunk(chunk));
    bool sent = false;
    const auto taken = target.CopyIn(std::string("COPY ") + kExpected + " (" + columns + ") FROM STDIN",
                                     [&]() -> absl::StatusOr<std::string_view> {
                                       return std::exchange(sent, true) ? std::string_view() : std::string_view(rows);
                                     });
    PGC_RETURN_IF_ERROR(taken.status());
  }
  return absl::OkStatus();
}

// The numbers of rows are equal, so the multisets are as soon as one holds the other.
std::string MissingSql(const backup::TableEntry& table) {
  const std::string row = "ROW(" + IdentList(table.columns) + ")::pg_catalog.text COLLATE \"C\"";
  return "SELECT (SELECT pg_catalog.count(*) FROM " + SplitTable(table.table).Quoted() +
         "), (SELECT pg_catalog.count(*) FROM (SELECT " + row + " FROM " + kExpected + " EXCEPT ALL SELECT " + row +
         " FROM " + SplitTable(table.table).Quoted() + ") AS missing)";
}

absl::Status CompareTable(Attempt& attempt,
                          pg::Connection& target,
                          const backup::BackupReader& backup,
                          const backup::TableEntry& table) {
  PGC_RETURN_IF_ERROR(LoadExpected(attempt, target, backup, table));
  PGC_ASSIGN_OR_RETURN(const pg::Result found, target.Exec(MissingSql(table)));
  if (found.Int(0, 0) != table.rows || found.Int(0, 1) != 0) {
    return MakeError(Verdict::kPermanent, "PGC-VERIFY-MISMATCH",
                     "the target does not hold what the backup holds: " + table.table + " has " + found.Text(0, 0) +
                         " rows instead of " + std::to_string(table.rows) + ", and " + found.Text(0, 1) +
                         " of the backup's are not among them",
                     "look for writers on the target; the project is rolled back");
  }
  return target.ExecScript(std::string("DROP TABLE ") + kExpected);
}

}  // namespace

absl::Status CompareEveryRow(Attempt& attempt, pg::Connection& target, const backup::BackupReader& backup) {
  for (const backup::TableEntry& table : backup.manifest().tables) {
    if (const absl::Status same = CompareTable(attempt, target, backup, table); !same.ok()) {
      return Annotate(same, "comparing every row of " + table.table);
    }
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::worker
