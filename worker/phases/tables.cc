#include "worker/phases/tables.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/columns.h"

namespace pgconvoy::worker {
namespace {

// Rows between two safe points of a long read.
constexpr int64_t kRowsPerCheckpoint = 2'000;

absl::Status ReadRows(Attempt& attempt,
                      pg::Connection& connection,
                      const std::string& copy_sql,
                      const RowSink& sink) {
  int64_t rows = 0;
  return connection.CopyOut(copy_sql, [&](std::string_view row) -> absl::Status {
    if (++rows % kRowsPerCheckpoint == 0) {
      PGC_RETURN_IF_ERROR(attempt.reporter().Checkpoint());
    }
    return sink(row);
  });
}

// 64 MiB.
constexpr int64_t kPagesPerRange = 8'192;
// Of which one query reads the values; a query nests as deep as it has parts.
constexpr size_t kSequencesPerQuery = 500;

// $1: quoted tables; a row for each, in their order.
constexpr char kPages[] = R"sql(
SELECT pg_catalog.pg_relation_size(t.name::pg_catalog.regclass)
       / pg_catalog.current_setting('block_size')::pg_catalog.int8
FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS t (name, n) ORDER BY t.n
)sql";

constexpr char kLeaves[] = R"sql(
SELECT n.nspname, c.relname
FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) p JOIN pg_catalog.pg_class c ON c.oid = p.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.isleaf ORDER BY 1, 2
)sql";

absl::Status Changed(const std::string& what) {
  return MakeError(Verdict::kPermanent, "PGC-SRC-DDL", what + " since the migration read it",
                   "stop DDL on the source for the time of the migration, then retry");
}

// A table that a pattern would take now and that nobody has looked at would be left behind.
absl::Status CheckSameTables(pg::Connection& reader, const v1::Plan& plan, const SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(const std::vector<v1::Table> now, ResolveTables(reader, plan, schema.schemas));
  const auto same = [](const v1::Table& a, const TableInfo& b) { return a.table() == b.name; };
  const bool equal = std::equal(now.begin(), now.end(), schema.tables.begin(), schema.tables.end(), same);
  return equal ? absl::OkStatus() : Changed("the list of the source's tables has changed");
}

absl::Status CheckUnchanged(pg::Connection& reader, const TableInfo& expected) {
  PGC_ASSIGN_OR_RETURN(const TableInfo found, DescribeTable(reader, expected.entry));
  if (found.fingerprint != expected.fingerprint || found.relkind != expected.relkind) {
    return Changed("the definition of " + expected.name + " has changed");
  }
  return absl::OkStatus();
}

absl::Status CheckAllUnchanged(pg::Connection& reader, const v1::Plan& plan, const SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(const bool unchanged, IsUnchanged(reader, schema));
  if (unchanged) {
    return absl::OkStatus();
  }
  PGC_RETURN_IF_ERROR(CheckSameTables(reader, plan, schema));
  for (const TableInfo& table : schema.tables) {
    PGC_RETURN_IF_ERROR(CheckUnchanged(reader, table));
  }
  return absl::OkStatus();
}

// Pages first to last, but without `last`; the last range of a table has no end.
struct PageRange {
  size_t table = 0;
  int64_t first = 0;
  std::optional<int64_t> last;
};

absl::StatusOr<std::vector<PageRange>> RangesOf(pg::Connection& connection, const SourceSchema& schema) {
  std::vector<PageRange> ranges;
  std::vector<std::string> quoted;
  for (const TableInfo& table : schema.tables) {
    quoted.push_back(SplitTable(table.name).Quoted());
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result sizes, connection.Exec(kPages, {TextArray(quoted)}));
  for (size_t i = 0; i < schema.tables.size(); ++i) {
    // A partitioned table has no pages of its own, so it is read as a whole.
    const int64_t pages = sizes.Int(static_cast<int>(i), 0);
    int64_t first = 0;
    for (; first + kPagesPerRange < pages; first += kPagesPerRange) {
      ranges.push_back({i, first, first + kPagesPerRange});
    }
    ranges.push_back({i, first, std::nullopt});
  }
  return ranges;
}

// Read by a TID range scan, which PostgreSQL has since version 14.
std::string RangeCopySql(const TableInfo& table, const PageRange& range) {
  std::string condition;
  if (range.first > 0) {
    condition = " WHERE ctid OPERATOR(pg_catalog.>=) '(" + std::to_string(range.first) + ",0)'";
  }
  if (range.last) {
    condition += (condition.empty() ? " WHERE" : " AND") + std::string(" ctid OPERATOR(pg_catalog.<) '(") +
                 std::to_string(*range.last) + ",0)'";
  }
  return "COPY (SELECT " + IdentList(table.columns) + " FROM " + SplitTable(table.name).Quoted() + condition +
         ") TO STDOUT";
}

// No generated column either: COPY takes none by name.
bool IsTakenAsItIs(const TableInfo& info) {
  return info.entry.where().empty() && info.entry.columns().empty() &&
         std::find_first_of(info.columns.begin(), info.columns.end(), info.generated.begin(), info.generated.end()) ==
             info.columns.end();
}

std::string CopyTableSql(const std::string& quoted, const TableInfo& info) {
  return "COPY " + quoted + " (" + IdentList(info.columns) + ") TO STDOUT";
}

// What reads all of it. COPY takes no partitioned table by name, but each of its partitions.
absl::StatusOr<std::vector<std::string>> SourceCopies(const Attempt& attempt,
                                                      pg::Connection& reader,
                                                      const TableInfo& info) {
  std::vector<std::string> copies;
  if (info.relkind != "p" || !IsTakenAsItIs(info)) {
    PGC_ASSIGN_OR_RETURN(copies.emplace_back(), SourceCopySql(attempt, info.entry, info));
    return copies;
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result leaves, reader.Exec(kLeaves, {SplitTable(info.name).Quoted()}));
  for (int row = 0; row < leaves.rows(); ++row) {
    copies.push_back(CopyTableSql(Qualified(leaves.Text(row, 0), leaves.Text(row, 1)), info));
  }
  return copies;
}

}  // namespace

absl::StatusOr<std::string> SourceRowsSql(const Attempt& attempt, const TableInfo& info) {
  PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(info.entry, attempt.values()));
  return "SELECT * FROM " + SplitTable(info.name).Quoted() + condition;
}

absl::StatusOr<std::string> SourceCopySql(const Attempt& attempt, const v1::Table& table, const TableInfo& info) {
  PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(table, attempt.values()));
  if (info.relkind == "r" && condition.empty() && IsTakenAsItIs(info)) {
    return CopyTableSql(SplitTable(table.table()).Quoted(), info);
  }
  std::string columns;
  for (const std::string& name : info.columns) {
    // In place the rows themselves are changed, after the backup.
    const v1::Column* const changed = attempt.plan().has_transform() ? nullptr : FindColumn(table, name);
    columns += columns.empty() ? "" : ", ";
    if (changed == nullptr) {
      columns += Ident(name);
    } else {
      PGC_ASSIGN_OR_RETURN(const std::string value, NewValueSql(*changed, attempt.values(), ""));
      columns += value;
    }
  }
  return "COPY (SELECT " + columns + " FROM " + SplitTable(table.table()).Quoted() + condition + ") TO STDOUT";
}

std::string TargetCopySql(const std::string& table, const std::vector<std::string>& columns) {
  return "COPY (SELECT " + IdentList(columns) + " FROM " + SplitTable(table).Quoted() + ") TO STDOUT";
}

absl::StatusOr<RowDigest> ReadDigest(Attempt& attempt, pg::Connection& connection, const std::string& copy_sql) {
  RowDigest digest;
  PGC_RETURN_IF_ERROR(ReadRows(attempt, connection, copy_sql, [&digest](std::string_view row) {
    digest.Add(row);
    return absl::OkStatus();
  }));
  return digest;
}

absl::Status ReadSourceRows(Attempt& attempt, pg::Connection& reader, const TableInfo& info, const RowSink& sink) {
  PGC_ASSIGN_OR_RETURN(const std::vector<std::string> copies, SourceCopies(attempt, reader, info));
  for (const std::string& copy : copies) {
    PGC_RETURN_IF_ERROR(ReadRows(attempt, reader, copy, sink));
  }
  return absl::OkStatus();
}

absl::StatusOr<RowDigest> ReadSource(Attempt& attempt, pg::Connection& reader, const TableInfo& info) {
  RowDigest digest;
  PGC_RETURN_IF_ERROR(ReadSourceRows(attempt, reader, info, [&digest](std::string_view row) {
    digest.Add(row);
    return absl::OkStatus();
  }));
  return digest;
}

absl::StatusOr<std::unique_ptr<pg::Transaction>> BeginSourceSnapshot(Attempt& attempt,
                                                                     pg::Connection& reader,
                                                                     const SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(reader, "ISOLATION LEVEL REPEATABLE READ READ ONLY"));
  std::string tables;
  for (const TableInfo& table : schema.tables) {
    tables += (tables.empty() ? "" : ", ") + SplitTable(table.name).Quoted();
  }
  if (!tables.empty()) {
    PGC_RETURN_IF_ERROR(reader.ExecScript("LOCK TABLE " + tables + " IN ACCESS SHARE MODE"));
  }
  const absl::Status unchanged = CheckAllUnchanged(reader, attempt.plan(), schema);
  if (!unchanged.ok()) {
    attempt.schemas().Forget(attempt);
    return unchanged;
  }
  return transaction;
}

v1::TableDigest ToProto(const std::string& table, const RowDigest& digest) {
  v1::TableDigest out;
  out.set_table(table);
  out.set_rows(digest.rows());
  out.set_bytes(digest.bytes());
  out.set_digest(digest.Hex());
  return out;
}

absl::StatusOr<std::vector<v1::TableDigest>> SourceDigests(Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(const auto snapshot, BeginSourceSnapshot(attempt, *reader, *schema));
  std::vector<v1::TableDigest> digests;
  for (const TableInfo& info : schema->tables) {
    PGC_ASSIGN_OR_RETURN(const RowDigest digest, ReadSource(attempt, *reader, info));
    digests.push_back(ToProto(info.name, digest));
  }
  return digests;
}

absl::StatusOr<std::vector<v1::TableDigest>> TargetDigests(Attempt& attempt, const SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  std::vector<v1::TableDigest> digests;
  for (const TableInfo& info : schema.tables) {
    PGC_ASSIGN_OR_RETURN(const RowDigest digest,
                         ReadDigest(attempt, *target, TargetCopySql(info.name, info.columns)));
    digests.push_back(ToProto(info.name, digest));
  }
  return digests;
}

absl::StatusOr<std::vector<v1::TableDigest>> TargetDigestsOn(const std::vector<pg::Connection*>& sessions,
                                                             Attempt& attempt,
                                                             const SourceSchema& schema,
                                                             std::vector<SessionTask> others) {
  PGC_ASSIGN_OR_RETURN(const std::vector<PageRange> ranges, RangesOf(*sessions[0], schema));
  std::vector<RowDigest> found(ranges.size());
  std::vector<SessionTask> reading;
  for (size_t i = 0; i < ranges.size(); ++i) {
    reading.push_back([&, i](pg::Connection& session) -> absl::Status {
      const TableInfo& table = schema.tables[ranges[i].table];
      PGC_ASSIGN_OR_RETURN(found[i], ReadDigest(attempt, session, RangeCopySql(table, ranges[i])));
      return absl::OkStatus();
    });
  }
  PGC_RETURN_IF_ERROR(RunOnSessions(sessions, Alternating(std::move(others), std::move(reading))));
  std::vector<RowDigest> sums(schema.tables.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    sums[ranges[i].table].Add(found[i]);
  }
  std::vector<v1::TableDigest> digests;
  for (size_t i = 0; i < sums.size(); ++i) {
    digests.push_back(ToProto(schema.tables[i].name, sums[i]));
  }
  return digests;
}

absl::Status WithoutForce(Attempt& attempt,
                          const SourceSchema& schema,
                          const std::function<absl::Status(pg::Connection&)>& body) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(*target));
  std::string script;
  for (const std::string& table : schema.forced_tables) {
    script += "ALTER TABLE " + table + " NO FORCE ROW LEVEL SECURITY;";
  }
  if (!script.empty()) {
    PGC_RETURN_IF_ERROR(target->ExecScript(script));
  }
  return body(*target);
}

std::string FirstDifference(const std::vector<v1::TableDigest>& expected, const std::vector<v1::TableDigest>& found) {
  if (expected.size() != found.size()) {
    return std::to_string(found.size()) + " tables instead of " + std::to_string(expected.size());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const v1::TableDigest& a = expected[i];
    const v1::TableDigest& b = found[i];
    if (a.table() != b.table()) {
      return "table " + b.table() + " where " + a.table() + " was expected";
    }
    if (a.rows() != b.rows()) {
      return a.table() + " has " + std::to_string(b.rows()) + " rows instead of " + std::to_string(a.rows());
    }
    if (a.digest() != b.digest()) {
      return a.table() + " has the same number of rows, " + std::to_string(a.rows()) + ", with other content";
    }
  }
  return "";
}

absl::StatusOr<std::vector<v1::SequenceValue>> ReadSequences(pg::Connection& connection, const SourceSchema& schema) {
  std::vector<v1::SequenceValue> values;
  for (size_t begin = 0; begin < schema.sequences.size(); begin += kSequencesPerQuery) {
    const size_t end = std::min(begin + kSequencesPerQuery, schema.sequences.size());
    std::string query;
    for (size_t i = begin; i < end; ++i) {
      query += (query.empty() ? "SELECT " : " UNION ALL SELECT ") + std::to_string(i) +
               ", last_value, is_called FROM " + schema.sequences[i];
    }
    PGC_ASSIGN_OR_RETURN(const pg::Result rows, connection.Exec(query + " ORDER BY 1"));
    for (int row = 0; row < rows.rows(); ++row) {
      v1::SequenceValue& value = values.emplace_back();
      value.set_sequence(schema.sequences[static_cast<size_t>(rows.Int(row, 0))]);
      value.set_last_value(rows.Int(row, 1));
      value.set_is_called(rows.Bool(row, 2));
    }
  }
  return values;
}

}  // namespace pgconvoy::worker
