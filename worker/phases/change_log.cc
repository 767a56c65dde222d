#include "worker/phases/change_log.h"

#include <algorithm>
#include <map>

#include "common/base/error.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"
#include "worker/phases/columns.h"
#include "worker/phases/transform_store.h"

namespace pgconvoy::worker {
namespace {

constexpr char kFind[] = R"sql(
SELECT c.oid, c.relforcerowsecurity
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
)sql";

constexpr char kColumns[] = R"sql(
SELECT a.attname, a.attgenerated <> '', a.attidentity = 'a',
       EXISTS (SELECT FROM pg_catalog.pg_index i
               WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey::pg_catalog.int2[]))
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
)sql";

constexpr char kTriggers[] = R"sql(
SELECT tgname, CASE tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE' END
FROM pg_catalog.pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname
)sql";

// A name that no column has, so that it always means the row.
constexpr char kRow[] = "\"pgc row\"";

// $1 store, $2 project, $3 fence, $4 table.
constexpr char kOfThis[] = "l.store_id = $1 AND l.project = $2 AND l.fence = $3::pg_catalog.int8 AND l.relation = $4";

constexpr char kCount[] = R"sql(
SELECT pg_catalog.count(*) FILTER (WHERE before IS NULL), pg_catalog.count(*) FILTER (WHERE before IS NOT NULL AND
       after IS NOT NULL), pg_catalog.count(*) FILTER (WHERE after IS NULL)
FROM pgconvoy_transform.change l WHERE )sql";

// $1: the tables. A partition has its keys from its parent.
constexpr char kForeignKeys[] = R"sql(
SELECT n.nspname, c.relname, k.conname, k.condeferrable, k.condeferred
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conrelid = ANY ($1::pg_catalog.regclass[]::pg_catalog.oid[])
  AND k.conparentid = 0 ORDER BY 1, 2, 3
)sql";

std::string KeyOf(const InPlaceTable& table, const std::string& row) {
  std::string list;
  for (const std::string& column : table.key) {
    list += (list.empty() ? "" : ", ") + row + "." + Ident(column);
  }
  return "ROW(" + list + ")::pg_catalog.text";
}

// Every row of the table now: its key and itself as text.
std::string RowsNow(const InPlaceTable& table) {
  return "SELECT " + KeyOf(table, kRow) + " AS row_key, " + kRow + "::pg_catalog.text AS content FROM " +
         table.quoted + " AS " + kRow;
}

std::string TempName(const char* what, size_t index) {
  return "pg_temp." + Ident("pgc_" + std::string(what) + "_" + std::to_string(index));
}

absl::Status WrittenSinceError(const std::string& table, int64_t rows) {
  return MakeError(
      Verdict::kOperator, "PGC-ROLLBACK-WRITES",
      std::to_string(rows) + " row(s) of " + table +
          " that the migration changed were written since; a rollback would lose that",
      "leave it as it is, or run `pgconvoy rollback --project REF --discard-writes` (what stands there is "
      "kept in pgconvoy_transform.discarded)");
}

absl::StatusOr<InPlaceTable> DescribeTableInPlace(pg::Connection& connection, const v1::Table& spec) {
  const TableName name = SplitTable(spec.table());
  PGC_ASSIGN_OR_RETURN(const pg::Result found, connection.Exec(kFind, {name.schema, name.table}));
  if (found.rows() != 1) {
    return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE", "there is no table " + spec.table(),
                     "correct tables in the plan");
  }
  InPlaceTable table;
  table.name = spec.table();
  table.quoted = name.Quoted();
  table.forced = found.Bool(0, 1);
  PGC_ASSIGN_OR_RETURN(const pg::Result columns, connection.Exec(kColumns, {found.Text(0, 0)}));
  for (int row = 0; row < columns.rows(); ++row) {
    const std::string column = columns.Text(row, 0);
    const bool in_key = columns.Bool(row, 3);
    if (in_key) {
      table.key.push_back(column);
    }
    if (!columns.Bool(row, 1)) {
      table.insertable.push_back(column);
    }
    if (!in_key && !columns.Bool(row, 1) && !columns.Bool(row, 2)) {
      table.settable.push_back(column);
    }
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result triggers, connection.Exec(kTriggers, {found.Text(0, 0)}));
  for (int row = 0; row < triggers.rows(); ++row) {
    table.triggers.emplace_back(triggers.Text(row, 0), triggers.Text(row, 1));
  }
  if (table.key.empty()) {
    return MakeError(Verdict::kPermanent, "PGC-TRANSFORM-KEY",
                     "table " + table.name + " has no primary key, so its changes cannot be logged",
                     "give it one, or leave it out of the plan");
  }
  return table;
}

}  // namespace

std::string SameKey(const InPlaceTable& table, const std::string& a, const std::string& b) {
  std::string condition;
  for (const std::string& column : table.key) {
    condition += (condition.empty() ? "" : " AND ") + a + "." + Ident(column) + " = " + b + "." + Ident(column);
  }
  return condition;
}

absl::StatusOr<DeferredKeys> ForeignKeysOf(pg::Connection& connection, const std::vector<std::string>& tables) {
  PGC_ASSIGN_OR_RETURN(const pg::Result keys, connection.Exec(kForeignKeys, {TextArray(tables)}));
  DeferredKeys scripts;
  for (int row = 0; row < keys.rows(); ++row) {
    const std::string constraint = "ALTER TABLE " + Qualified(keys.Text(row, 0), keys.Text(row, 1)) +
                                   " ALTER CONSTRAINT " + Ident(keys.Text(row, 2));
    scripts.defer += constraint + " DEFERRABLE INITIALLY DEFERRED;";
    scripts.as_before += constraint + (keys.Bool(row, 3) ? " DEFERRABLE" : " NOT DEFERRABLE") +
                         (keys.Bool(row, 4) ? " INITIALLY DEFERRED;" : " INITIALLY IMMEDIATE;");
  }
  return scripts;
}

absl::StatusOr<std::vector<InPlaceTable>> DescribeInPlace(pg::Connection& connection, const Attempt& attempt) {
  std::vector<InPlaceTable> tables;
  for (const v1::Table& spec : attempt.plan().tables()) {
    PGC_ASSIGN_OR_RETURN(InPlaceTable table, DescribeTableInPlace(connection, spec));
    tables.push_back(std::move(table));
  }
  return tables;
}

absl::Status LockAgainstWriters(pg::Connection& connection, const std::vector<InPlaceTable>& tables) {
  std::string names;
  for (const InPlaceTable& table : tables) {
    names += (names.empty() ? "" : ", ") + table.quoted;
  }
  return connection.ExecScript("LOCK TABLE " + names + " IN SHARE ROW EXCLUSIVE MODE");
}

absl::Status OpenTables(pg::Connection& connection, const std::vector<InPlaceTable>& tables, bool suppress_triggers) {
  std::string script;
  for (const InPlaceTable& table : tables) {
    if (table.forced) {
      script += "ALTER TABLE " + table.quoted + " NO FORCE ROW LEVEL SECURITY;";
    }
    for (const auto& [trigger, enable] : table.triggers) {
      script += suppress_triggers ? "ALTER TABLE " + table.quoted + " DISABLE TRIGGER " + Ident(trigger) + ";" : "";
    }
  }
  return script.empty() ? absl::OkStatus() : connection.ExecScript(script);
}

absl::Status CloseTables(pg::Connection& connection,
                         const std::vector<InPlaceTable>& tables,
                         bool suppress_triggers) {
  std::string script;
  for (const InPlaceTable& table : tables) {
    if (table.forced) {
      script += "ALTER TABLE " + table.quoted + " FORCE ROW LEVEL SECURITY;";
    }
    for (const auto& [trigger, enable] : table.triggers) {
      script +=
          suppress_triggers ? "ALTER TABLE " + table.quoted + " " + enable + " TRIGGER " + Ident(trigger) + ";" : "";
    }
  }
  return script.empty() ? absl::OkStatus() : connection.ExecScript(script);
}

ChangeLog::ChangeLog(pg::Connection& connection,
                     const Attempt& attempt,
                     int64_t fence,
                     std::vector<InPlaceTable> tables)
    : connection_(connection), attempt_(attempt), fence_(fence), tables_(std::move(tables)) {}

std::vector<pg::Param> ChangeLog::Params(const InPlaceTable& table) const {
  return {attempt_.grant().store_id, attempt_.grant().ref, std::to_string(fence_), table.name};
}

absl::Status ChangeLog::LookBefore() {
  for (size_t i = 0; i < tables_.size(); ++i) {
    PGC_RETURN_IF_ERROR(connection_.ExecScript("CREATE TEMP TABLE " + Ident("pgc_before_" + std::to_string(i)) +
                                               " ON COMMIT DROP AS " + RowsNow(tables_[i]) + "; ANALYZE " +
                                               TempName("before", i)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::TableChange>> ChangeLog::Record() {
  std::vector<v1::TableChange> changes;
  for (size_t i = 0; i < tables_.size(); ++i) {
    const InPlaceTable& table = tables_[i];
    PGC_RETURN_IF_ERROR(connection_
                            .Exec("INSERT INTO pgconvoy_transform.change"
                                  " (store_id, project, fence, relation, row_key, before, after)"
                                  " SELECT $1, $2, $3::pg_catalog.int8, $4, row_key, b.content, a.content FROM " +
                                      TempName("before", i) + " b FULL JOIN (" + RowsNow(table) +
                                      ") a USING (row_key) WHERE b.content IS DISTINCT FROM a.content",
                                  Params(table))
                            .status());
    PGC_ASSIGN_OR_RETURN(const pg::Result counts, connection_.Exec(std::string(kCount) + kOfThis, Params(table)));
    v1::TableChange change;
    change.set_table(table.name);
    change.set_inserted(counts.Int(0, 0));
    change.set_updated(counts.Int(0, 1));
    change.set_deleted(counts.Int(0, 2));
    const int64_t changed = change.inserted() + change.updated() + change.deleted();
    if (attempt_.plan().tables(static_cast<int>(i)).unchanged() && changed > 0) {
      return MakeError(Verdict::kPermanent, "PGC-TRANSFORM-UNCHANGED",
                       "the transformation changes " + std::to_string(changed) + " row(s) of " + table.name +
                           ", which the plan declares unchanged",
                       "correct transform.changes, or take `unchanged` from the table");
    }
    changes.push_back(std::move(change));
  }
  return changes;
}

absl::Status ChangeLog::CheckNotWrittenSince(size_t index) {
  const InPlaceTable& table = tables_[index];
  PGC_ASSIGN_OR_RETURN(const pg::Result rows,
                       connection_.Exec("SELECT pg_catalog.count(*) FROM pgconvoy_transform.change l LEFT JOIN " +
                                            TempName("before", index) + " n USING (row_key) WHERE " + kOfThis +
                                            " AND l.after IS DISTINCT FROM n.content",
                                        Params(table)));
  return rows.Int(0, 0) == 0 ? absl::OkStatus() : WrittenSinceError(table.name, rows.Int(0, 0));
}

// The rows to be, and the rows to go, as rows of the table.
absl::Status ChangeLog::PrepareRestore(size_t index) {
  const InPlaceTable& table = tables_[index];
  const auto make = [&](const char* what, const char* column, const char* condition) {
    const std::string name = Ident("pgc_" + std::string(what) + "_" + std::to_string(index));
    PGC_RETURN_IF_ERROR(connection_.ExecScript("CREATE TEMP TABLE " + name + " ON COMMIT DROP AS TABLE " +
                                               table.quoted + " WITH NO DATA"));
    return connection_
        .Exec("INSERT INTO pg_temp." + name + " SELECT (c.r).* FROM (SELECT l." + column + "::" + table.quoted +
                  " AS r FROM pgconvoy_transform.change l WHERE " + kOfThis + " AND " + condition + ") c",
              Params(table))
        .status();
  };
  PGC_RETURN_IF_ERROR(make("want", "before", "l.before IS NOT NULL"));
  return make("drop", "after", "l.before IS NULL");
}

// From the last table to the first: children usually stand behind their parents.
absl::Status ChangeLog::DeleteInserted() {
  for (size_t i = tables_.size(); i-- > 0;) {
    PGC_RETURN_IF_ERROR(connection_.ExecScript("DELETE FROM " + tables_[i].quoted + " AS n USING " +
                                               TempName("drop", i) + " d WHERE " + SameKey(tables_[i], "n", "d")));
  }
  return absl::OkStatus();
}

absl::Status ChangeLog::UpdateAndInsert(size_t index) {
  const InPlaceTable& table = tables_[index];
  const std::string want = TempName("want", index);
  std::string assignments;
  for (const std::string& column : table.settable) {
    assignments += (assignments.empty() ? "" : ", ") + Ident(column) + " = w." + Ident(column);
  }
  if (!assignments.empty()) {
    PGC_RETURN_IF_ERROR(connection_.ExecScript("UPDATE " + table.quoted + " AS n SET " + assignments + " FROM " +
                                               want + " w WHERE " + SameKey(table, "n", "w")));
  }
  const std::string columns = IdentList(table.insertable);
  return connection_.ExecScript("INSERT INTO " + table.quoted + " (" + columns + ") OVERRIDING SYSTEM VALUE SELECT " +
                                columns + " FROM " + want + " w WHERE NOT EXISTS (SELECT FROM " + table.quoted +
                                " n WHERE " + SameKey(table, "n", "w") + ")");
}

// What this transaction has taken away although it was not what the migration had left there: rows that were written
// since, and rows that went with others by a cascade.
absl::StatusOr<int64_t> ChangeLog::KeepDiscardedOf(size_t index) {
  const InPlaceTable& table = tables_[index];
  PGC_ASSIGN_OR_RETURN(
      const pg::Result kept,
      connection_.Exec(
          "INSERT INTO pgconvoy_transform.discarded (store_id, project, fence, relation, row_key, content)"
          " SELECT $1, $2, $3::pg_catalog.int8, $4, b.row_key, b.content FROM " +
              TempName("before", index) + " b LEFT JOIN (" + RowsNow(table) +
              ") n USING (row_key) LEFT JOIN pgconvoy_transform.change l ON l.row_key = b.row_key AND " + kOfThis +
              " WHERE b.content IS DISTINCT FROM n.content AND l.after IS DISTINCT FROM b.content"
              " ON CONFLICT DO NOTHING",
          Params(table)));
  return kept.affected();
}

absl::Status ChangeLog::KeepDiscarded() {
  for (size_t i = 0; i < tables_.size(); ++i) {
    PGC_RETURN_IF_ERROR(KeepDiscardedOf(i).status());
  }
  return absl::OkStatus();
}

absl::Status ChangeLog::CheckRestored(size_t index) {
  const InPlaceTable& table = tables_[index];
  PGC_ASSIGN_OR_RETURN(
      const pg::Result wrong,
      connection_.Exec("SELECT pg_catalog.count(*) FROM pgconvoy_transform.change l LEFT JOIN (" + RowsNow(table) +
                           ") n USING (row_key) WHERE " + kOfThis + " AND l.before IS DISTINCT FROM n.content",
                       Params(table)));
  if (wrong.Int(0, 0) == 0) {
    return absl::OkStatus();
  }
  return MakeError(Verdict::kOperator, "PGC-ROLLBACK-DIFFERS",
                   wrong.Text(0, 0) + " row(s) of " + table.name +
                       " would not be as they were before the migration; nothing was rolled back",
                   "look for a generated column or a type whose meaning has changed since");
}

absl::Status ChangeLog::Restore(bool discard_writes) {
  PGC_RETURN_IF_ERROR(LookBefore());
  std::vector<std::string> names;
  for (size_t i = 0; i < tables_.size(); ++i) {
    PGC_RETURN_IF_ERROR(discard_writes ? absl::OkStatus() : CheckNotWrittenSince(i));
    PGC_RETURN_IF_ERROR(PrepareRestore(i));
    names.push_back(tables_[i].quoted);
  }
  PGC_ASSIGN_OR_RETURN(const DeferredKeys keys, ForeignKeysOf(connection_, names));
  PGC_RETURN_IF_ERROR(connection_.ExecScript(keys.defer));
  PGC_RETURN_IF_ERROR(DeleteInserted());
  for (size_t i = 0; i < tables_.size(); ++i) {
    PGC_RETURN_IF_ERROR(UpdateAndInsert(i));
  }
  PGC_RETURN_IF_ERROR(connection_.ExecScript("SET CONSTRAINTS ALL IMMEDIATE;" + keys.as_before));
  for (size_t i = 0; i < tables_.size(); ++i) {
    PGC_RETURN_IF_ERROR(CheckRestored(i));
    PGC_ASSIGN_OR_RETURN(const int64_t discarded, KeepDiscardedOf(i));
    if (discarded > 0 && !discard_writes) {
      return WrittenSinceError(tables_[i].name, discarded);
    }
  }
  return absl::OkStatus();
}

namespace {

constexpr char kHasLog[] = "SELECT pg_catalog.to_regclass('pgconvoy_transform.change') IS NOT NULL";

constexpr char kChanges[] = R"sql(
SELECT relation, row_key, before, after FROM pgconvoy_transform.change l
WHERE l.store_id = $1 AND l.project = $2 AND l.fence = $3::pg_catalog.int8 AND l.relation = $4
)sql";

// Column by column through to_jsonb, which is good enough to show.
std::string ChangesSql(const InPlaceTable& table) {
  std::string key;
  for (const std::string& column : table.key) {
    key += (key.empty() ? "" : ", ") + Literal(column) + ", x.r -> " + Literal(column);
  }
  return "WITH logged AS (SELECT l.row_key, pg_catalog.to_jsonb(l.before::" + table.quoted +
         ") AS b, pg_catalog.to_jsonb(l.after::" + table.quoted + ") AS a FROM (" + kChanges +
         ") l) SELECT x.row_key, pg_catalog.jsonb_build_object(" + key +
         "), x.b IS NULL, x.a IS NULL, k.column_name, x.b ->> k.column_name, x.a ->> k.column_name FROM"
         " (SELECT *, COALESCE(a, b) AS r FROM logged) x,"
         " LATERAL pg_catalog.jsonb_object_keys(x.r) AS k (column_name)"
         " WHERE (x.b -> k.column_name) IS DISTINCT FROM (x.a -> k.column_name) ORDER BY 1, 5";
}

void AddColumn(const v1::Table& spec, const pg::Result& rows, int row, v1::RowChange& change) {
  v1::ColumnChange* const column = change.add_columns();
  column->set_column(rows.Text(row, 4));
  if (FindColumn(spec, column->column()) != nullptr) {
    column->set_before(rows.Text(row, 5));
    column->set_after(rows.Text(row, 6));
  }
}

absl::StatusOr<std::vector<v1::RowChange>> ReadChanges(pg::Connection& connection,
                                                       const Attempt& attempt,
                                                       int64_t fence) {
  PGC_ASSIGN_OR_RETURN(const auto tables, DescribeInPlace(connection, attempt));
  std::vector<v1::RowChange> changes;
  for (size_t i = 0; i < tables.size(); ++i) {
    PGC_ASSIGN_OR_RETURN(const pg::Result rows,
                         connection.Exec(ChangesSql(tables[i]), {attempt.grant().store_id, attempt.grant().ref,
                                                                 std::to_string(fence), tables[i].name}));
    for (int row = 0; row < rows.rows(); ++row) {
      if (row == 0 || rows.Text(row, 0) != rows.Text(row - 1, 0)) {
        v1::RowChange& change = changes.emplace_back();
        change.set_table(tables[i].name);
        change.set_key(rows.Text(row, 1));
        change.set_kind(rows.Bool(row, 2)   ? v1::RowChange::INSERTED
                        : rows.Bool(row, 3) ? v1::RowChange::DELETED
                                            : v1::RowChange::UPDATED);
      }
      AddColumn(attempt.plan().tables(static_cast<int>(i)), rows, row, changes.back());
    }
  }
  return changes;
}

}  // namespace

absl::StatusOr<std::vector<v1::RowChange>> ChangesOf(Attempt& attempt) {
  if (!attempt.has_transform()) {
    return InputError("PGC-TRANSFORM-NONE", "the plan changes no database in place");
  }
  PGC_ASSIGN_OR_RETURN(PooledSession transformer, attempt.Transformer());
  PGC_ASSIGN_OR_RETURN(const pg::Result present, transformer->Exec(kHasLog));
  if (!present.Bool(0, 0)) {
    return InputError("PGC-TRANSFORM-NONE", "nothing of project " + attempt.grant().ref + " was changed in place");
  }
  PGC_ASSIGN_OR_RETURN(auto record, FindTransform(*transformer, attempt));
  if (!record.has_value()) {
    PGC_ASSIGN_OR_RETURN(record, FindUndoneTransform(*transformer, attempt));
  }
  if (!record.has_value()) {
    return InputError("PGC-TRANSFORM-NONE", "nothing of project " + attempt.grant().ref + " was changed in place");
  }
  return ReadChanges(*transformer, attempt, record->fence);
}

}  // namespace pgconvoy::worker
