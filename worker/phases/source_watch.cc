#include "worker/phases/source_watch.h"

#include <algorithm>
#include <map>
#include <string>

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

// Numbers below this have a meaning of their own.
constexpr int64_t kFirstNormalXid = 3;
constexpr int64_t kXidsOfAnEpoch = int64_t{1} << 32;
// Half of what can be told apart.
constexpr int64_t kMaxXids = int64_t{1} << 30;

constexpr char kOldest[] = "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())";
constexpr char kNext[] = "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())";

// $1: tables. Those, by their place, that are PostgreSQL's own kind of table, partitions included: only that is known
// to number versions in this way. Counting takes the planner, which runs IMMUTABLE functions out of indexes,
// statistics, checks and partition keys; a table that has one of its owner's is read by COPY, which does not plan.
constexpr char kHeaps[] = R"sql(
SELECT t.place - 1
FROM pg_catalog.unnest($1::pg_catalog.regclass[]) WITH ORDINALITY t (rel, place)
CROSS JOIN LATERAL (SELECT t.rel AS relid UNION SELECT relid FROM pg_catalog.pg_partition_tree(t.rel)) p
JOIN pg_catalog.pg_class c ON c.oid = p.relid LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
GROUP BY t.place
HAVING pg_catalog.bool_and((c.relkind = 'p' OR (c.relkind = 'r' AND a.amname = 'heap')) AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_depend d
  WHERE d.refobjid >= 16384
    AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
    AND ((d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
          AND (d.objid = c.oid OR d.objid IN (SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = c.oid)))
      OR (d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
          AND d.objid IN (SELECT oid FROM pg_catalog.pg_constraint WHERE conrelid = c.oid))
      OR (d.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
          AND d.objid IN (SELECT oid FROM pg_catalog.pg_statistic_ext WHERE stxrelid = c.oid)))))
ORDER BY t.place
)sql";

bool IsTakenWhole(const TableInfo& table) { return table.entry.where().empty() && table.entry.columns().empty(); }

absl::StatusOr<int64_t> Number(pg::Connection& reader, const char* query) {
  PGC_ASSIGN_OR_RETURN(const pg::Result number, reader.Exec(query));
  return number.Int(0, 0);
}

absl::StatusOr<std::vector<std::string>> WholeHeaps(pg::Connection& reader, const SourceSchema& schema) {
  std::vector<std::string> whole;
  for (const TableInfo& table : schema.tables) {
    if (IsTakenWhole(table)) {
      whole.push_back(table.name);
    }
  }
  std::vector<std::string> quoted;
  for (const std::string& table : whole) {
    quoted.push_back(SplitTable(table).Quoted());
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result heaps, reader.Exec(kHeaps, {TextArray(quoted)}));
  std::vector<std::string> tables;
  for (int row = 0; row < heaps.rows(); ++row) {
    tables.push_back(whole[static_cast<size_t>(heaps.Int(row, 0))]);
  }
  return tables;
}

// For each table its place, all its rows, and those versions that transaction `oldest` or a later one has made. age()
// counts back from one point for the whole transaction.
std::string CountSql(const std::vector<std::string>& tables, int64_t oldest) {
  const std::string first = std::to_string(oldest % kXidsOfAnEpoch);
  std::string sql;
  for (size_t i = 0; i < tables.size(); ++i) {
    sql += (i == 0 ? "SELECT " : " UNION ALL SELECT ") + std::to_string(i) +
           ", pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE pg_catalog.age(xmin) <= pg_catalog.age('" +
           first + "'::pg_catalog.xid)) FROM " + SplitTable(tables[i]).Quoted();
  }
  return sql;
}

// By name, those of the backup's tables that are as they were.
absl::StatusOr<std::map<std::string, v1::TableDigest>> UnwrittenTables(pg::Connection& reader,
                                                                       const SourceSchema& schema,
                                                                       int64_t oldest,
                                                                       const v1::BackupResult& backup) {
  std::map<std::string, v1::TableDigest> unwritten;
  PGC_ASSIGN_OR_RETURN(const bool unchanged, IsUnchanged(reader, schema));
  PGC_ASSIGN_OR_RETURN(const int64_t next, Number(reader, kNext));
  if (!unchanged || next - oldest > kMaxXids || oldest % kXidsOfAnEpoch < kFirstNormalXid) {
    return unwritten;
  }
  PGC_ASSIGN_OR_RETURN(const std::vector<std::string> tables, WholeHeaps(reader, schema));
  if (tables.empty()) {
    return unwritten;
  }
  std::map<std::string, v1::TableDigest> backed_up;
  for (const v1::TableDigest& table : backup.tables()) {
    backed_up[table.table()] = table;
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result counts, reader.Exec(CountSql(tables, oldest)));
  for (int row = 0; row < counts.rows(); ++row) {
    const auto was = backed_up.find(tables[static_cast<size_t>(counts.Int(row, 0))]);
    if (was != backed_up.end() && counts.Int(row, 1) == was->second.rows() && counts.Int(row, 2) == 0) {
      unwritten.insert(*was);
    }
  }
  return unwritten;
}

absl::StatusOr<std::vector<v1::TableDigest>> DigestsOn(Attempt& attempt,
                                                       pg::Connection& reader,
                                                       int64_t oldest,
                                                       const v1::BackupResult& backup) {
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  PGC_ASSIGN_OR_RETURN(const auto snapshot, BeginSourceSnapshot(attempt, reader, *schema));
  PGC_ASSIGN_OR_RETURN(const auto unwritten, UnwrittenTables(reader, *schema, oldest, backup));
  std::vector<v1::TableDigest> digests;
  for (const TableInfo& table : schema->tables) {
    if (const auto known = unwritten.find(table.name); known != unwritten.end()) {
      digests.push_back(known->second);
      continue;
    }
    PGC_ASSIGN_OR_RETURN(const RowDigest digest, ReadSource(attempt, reader, table));
    digests.push_back(ToProto(table.name, digest));
  }
  return digests;
}

}  // namespace

absl::StatusOr<int64_t> OldestTransaction(pg::Connection& reader) { return Number(reader, kOldest); }

bool TakesTablesWhole(const SourceSchema& schema) {
  return std::any_of(schema.tables.begin(), schema.tables.end(), IsTakenWhole);
}

absl::StatusOr<std::vector<v1::TableDigest>> SourceDigestsSince(Attempt& attempt, const v1::BackupResult& backup) {
  if (attempt.source_watch.has_value()) {
    SourceWatch& watch = *attempt.source_watch;
    auto digests = DigestsOn(attempt, *watch.reader, watch.oldest, backup);
    if (digests.ok() || !watch.reader->broken()) {
      return digests;
    }
    // A server that has come back may number its transactions anew.
    attempt.source_watch.reset();
  }
  return SourceDigests(attempt);
}

}  // namespace pgconvoy::worker
