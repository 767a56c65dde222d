#include "worker/phases/late_indexes.h"

#include <cstdint>
#include <utility>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/base/text.h"
#include "worker/core/sql.h"

namespace pgconvoy::worker {
namespace {

// name: of the index, quoted; or of a table that autovacuum keeps away from. relation: the table.
// index_sql: NULL for an index of a partitioned table, which has no rows of its own, and for a table.
// constraint_sql: what turns it into a constraint, makes one of a partitioned table, or lets autovacuum come again;
// NULL for a plain index.
// attach_sql: what makes it a part of an index of a partitioned table; NULL for any other.
constexpr char kMakeTable[] = R"sql(
CREATE TABLE IF NOT EXISTS pgconvoy.late_index (
  name text PRIMARY KEY,
  relation text NOT NULL,
  index_sql text,
  constraint_sql text,
  attach_sql text,
  made boolean NOT NULL DEFAULT false
)
)sql";

// $1: the tables. Returns what drops the indexes that it has written down; those of partitions go with those of their
// partitioned tables. A load of another backup may have died after it made an index; its row knows what that is to be,
// and that of a table how autovacuum was before.
constexpr char kKeep[] = R"sql(
WITH tables AS (
  SELECT t.oid FROM pg_catalog.pg_class t
  WHERE t.oid = ANY ($1::pg_catalog.regclass[]::pg_catalog.oid[]) AND t.relkind IN ('r', 'p') AND NOT t.relispartition
), members AS (
  SELECT oid FROM tables
  UNION
  SELECT p.relid FROM tables CROSS JOIN LATERAL pg_catalog.pg_partition_tree(tables.oid) p
), indexes AS (
  SELECT i.indexrelid AS oid, i.indrelid AS relation, x.relkind, h.inhparent AS parent, c.oid AS con, c.conname,
         c.contype, c.condeferrable, c.condeferred,
         pg_catalog.bool_and(
           i.indisvalid AND NOT i.indisclustered AND NOT i.indisreplident
           AND (c.oid IS NULL OR c.contype IN ('p', 'u'))
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_description d
                           WHERE (d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid = x.oid)
                              OR (d.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objoid = c.oid))
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                           WHERE d.deptype NOT IN ('P', 'S')
                             AND ((d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = x.oid)
                               OR (d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                                   AND d.refobjid = c.oid AND d.objid <> x.oid)))
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                           WHERE a.attrelid = x.oid AND COALESCE(a.attstattarget, -1) >= 0)
         ) OVER (PARTITION BY COALESCE(pg_catalog.pg_partition_root(x.oid), x.oid)) AS movable
  FROM members
  JOIN pg_catalog.pg_index i ON i.indrelid = members.oid
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = x.oid
  LEFT JOIN pg_catalog.pg_constraint c ON c.conindid = x.oid AND c.contype IN ('p', 'u', 'x')
), kept AS (
  INSERT INTO pgconvoy.late_index (name, relation, index_sql, constraint_sql, attach_sql, made)
  SELECT oid::pg_catalog.regclass, relation::pg_catalog.regclass,
         CASE WHEN relkind = 'i' THEN pg_catalog.pg_get_indexdef(oid) END,
         CASE WHEN relkind = 'I' AND con IS NULL THEN pg_catalog.pg_get_indexdef(oid)
              WHEN relkind = 'I' THEN
                pg_catalog.format('ALTER TABLE ONLY %s ADD CONSTRAINT %I %s', relation::pg_catalog.regclass, conname,
                                  pg_catalog.pg_get_constraintdef(con))
              WHEN con IS NOT NULL THEN
                pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s',
                                  relation::pg_catalog.regclass, conname,
                                  CASE contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, conname,
                                  CASE WHEN condeferred THEN ' DEFERRABLE INITIALLY DEFERRED'
                                       WHEN condeferrable THEN ' DEFERRABLE' ELSE '' END)
         END,
         pg_catalog.format('ALTER INDEX ' || parent::pg_catalog.regclass || ' ATTACH PARTITION %s',
                           oid::pg_catalog.regclass),
         relkind = 'I'
  FROM indexes WHERE movable
  ON CONFLICT (name) DO UPDATE SET made = excluded.made
), filled AS (
  SELECT t.oid, (SELECT o.option_value FROM pg_catalog.pg_options_to_table(t.reloptions) o
                 WHERE o.option_name = 'autovacuum_enabled') AS autovacuum
  FROM pg_catalog.pg_class t WHERE t.oid IN (SELECT relation FROM indexes WHERE movable AND relkind = 'i')
), left_alone AS (
  INSERT INTO pgconvoy.late_index (name, relation, constraint_sql, made)
  SELECT oid::pg_catalog.regclass || ' autovacuum', oid::pg_catalog.regclass,
         pg_catalog.format('ALTER TABLE %s %s', oid::pg_catalog.regclass,
                           COALESCE('SET (autovacuum_enabled = ' || pg_catalog.quote_literal(autovacuum) || ')',
                                    'RESET (autovacuum_enabled)')),
         true
  FROM filled
  ON CONFLICT (name) DO NOTHING
)
SELECT CASE WHEN con IS NULL THEN pg_catalog.format('DROP INDEX %s', oid::pg_catalog.regclass)
            ELSE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', relation::pg_catalog.regclass, conname)
       END
FROM indexes WHERE movable AND parent IS NULL
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %s SET (autovacuum_enabled = false)', oid::pg_catalog.regclass) FROM filled
)sql";

constexpr char kHasTable[] = "SELECT pg_catalog.to_regclass('pgconvoy.late_index') IS NOT NULL";
constexpr char kAny[] = "SELECT EXISTS (SELECT FROM pgconvoy.late_index)";
constexpr char kUnmade[] = R"sql(
SELECT name, index_sql, pg_catalog.pg_relation_size(relation::pg_catalog.regclass)
FROM pgconvoy.late_index WHERE NOT made ORDER BY relation, name
)sql";
constexpr char kMade[] = "UPDATE pgconvoy.late_index SET made = true WHERE name = ANY ($1::pg_catalog.text[])";
constexpr char kConstraints[] = R"sql(
SELECT constraint_sql, attach_sql FROM pgconvoy.late_index WHERE made ORDER BY name FOR UPDATE
)sql";
constexpr char kForget[] = "DELETE FROM pgconvoy.late_index WHERE made";

std::optional<std::string> OptionalText(const pg::Result& result, int row, int column) {
  const auto value = result.Get(row, column);
  return value.has_value() ? std::optional(std::string(*value)) : std::nullopt;
}

// Indexes that one transaction makes.
struct IndexTask {
  // Quoted.
  std::vector<std::string> names;
  std::string sql;
  // Of their tables, once for each index.
  int64_t bytes = 0;
};

std::vector<IndexTask> Tasks(const pg::Result& unmade) {
  std::vector<IndexTask> tasks;
  for (int row = 0; row < unmade.rows(); ++row) {
    const int64_t bytes = unmade.Int(row, 2);
    if (tasks.empty() || tasks.back().bytes + bytes > kBytesPerTask) {
      tasks.emplace_back();
    }
    IndexTask& task = tasks.back();
    task.names.push_back(unmade.Text(row, 0));
    task.sql += unmade.Text(row, 1) + ";";
    task.bytes += bytes;
  }
  return tasks;
}

absl::Status Make(pg::Connection& target, const IndexTask& task) {
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target));
  if (const absl::Status made = target.ExecScript(task.sql); !made.ok()) {
    return Annotate(made,
                    "making " + std::string(task.names.size() == 1 ? "index " : "indexes ") + Join(task.names, ", "));
  }
  PGC_RETURN_IF_ERROR(target.Exec(kMade, {TextArray(task.names)}).status());
  PGC_FAILPOINT("worker.verify.index_made");
  return transaction->Commit();
}

}  // namespace

absl::Status SetIndexesAside(pg::Connection& target, const std::vector<std::string>& tables) {
  if (tables.empty()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target));
  PGC_RETURN_IF_ERROR(target.ExecScript(kMakeTable));
  PGC_ASSIGN_OR_RETURN(const pg::Result drops, target.Exec(kKeep, {TextArray(tables)}));
  std::string drop;
  for (int row = 0; row < drops.rows(); ++row) {
    drop += drops.Text(row, 0) + ";";
  }
  if (!drop.empty()) {
    PGC_RETURN_IF_ERROR(target.ExecScript(drop));
  }
  return transaction->Commit();
}

absl::StatusOr<std::optional<std::vector<SessionTask>>> IndexesAside(pg::Connection& target, Reporter& reporter) {
  PGC_ASSIGN_OR_RETURN(const pg::Result present, target.Exec(kHasTable));
  if (!present.Bool(0, 0)) {
    return std::nullopt;
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result any, target.Exec(kAny));
  if (!any.Bool(0, 0)) {
    return std::nullopt;
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result unmade, target.Exec(kUnmade));
  std::vector<SessionTask> making;
  for (IndexTask& task : Tasks(unmade)) {
    making.push_back([&reporter, task = std::move(task)](pg::Connection& session) -> absl::Status {
      PGC_RETURN_IF_ERROR(reporter.Checkpoint());
      return Make(session, task);
    });
  }
  return making;
}

absl::Status AddConstraintsAside(pg::Connection& target) {
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target));
  PGC_ASSIGN_OR_RETURN(const pg::Result constraints, target.Exec(kConstraints));
  // All indexes of a partitioned table are there before one is made a part of another.
  for (const int column : {0, 1}) {
    for (int row = 0; row < constraints.rows(); ++row) {
      if (const auto sql = OptionalText(constraints, row, column); sql.has_value()) {
        PGC_RETURN_IF_ERROR(target.ExecScript(*sql));
      }
    }
  }
  PGC_RETURN_IF_ERROR(target.ExecScript(kForget));
  PGC_FAILPOINT("worker.verify.constraints_added");
  return transaction->Commit();
}

}  // namespace pgconvoy::worker
