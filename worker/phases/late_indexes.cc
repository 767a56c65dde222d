#include "worker/phases/late_indexes.h"

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/core/sql.h"
#include "worker/phases/parallel.h"

namespace pgconvoy::worker {
namespace {

// name: of the index, quoted. constraint_sql: what turns it into a constraint; NULL for a plain index.
constexpr char kMakeTable[] = R"sql(
CREATE TABLE IF NOT EXISTS pgconvoy.late_index (
  name text PRIMARY KEY,
  index_sql text NOT NULL,
  constraint_sql text,
  made boolean NOT NULL DEFAULT false
)
)sql";

// $1: the tables. Also what drops each of them.
constexpr char kIndexes[] = R"sql(
SELECT i.indexrelid::pg_catalog.regclass AS name, pg_catalog.pg_get_indexdef(i.indexrelid) AS index_sql,
       CASE WHEN c.oid IS NOT NULL THEN
         pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s', i.indrelid::pg_catalog.regclass,
                           c.conname, CASE c.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, c.conname,
                           CASE WHEN c.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED'
                                WHEN c.condeferrable THEN ' DEFERRABLE' ELSE '' END)
       END AS constraint_sql,
       CASE WHEN c.oid IS NULL THEN pg_catalog.format('DROP INDEX %s', i.indexrelid::pg_catalog.regclass)
            ELSE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', i.indrelid::pg_catalog.regclass, c.conname)
       END AS drop_sql
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_catalog.pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x')
WHERE t.oid = ANY ($1::pg_catalog.regclass[]::pg_catalog.oid[]) AND t.relkind = 'r' AND NOT t.relispartition
  AND i.indisvalid AND NOT i.indisclustered AND NOT i.indisreplident AND (c.oid IS NULL OR c.contype IN ('p', 'u'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_description d
                  WHERE (d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objoid = x.oid)
                     OR (d.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objoid = c.oid))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = x.oid)
                     OR (d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refobjid = c.oid
                         AND d.objid <> x.oid))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.oid AND COALESCE(a.attstattarget, -1) >= 0)
)sql";

// A load of another backup may have died after it made this index; the row knows what constraint it is to be.
constexpr char kKeep[] = R"sql(
INSERT INTO pgconvoy.late_index (name, index_sql, constraint_sql) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET made = false
)sql";
constexpr char kHasTable[] = "SELECT pg_catalog.to_regclass('pgconvoy.late_index') IS NOT NULL";
constexpr char kCount[] = "SELECT pg_catalog.count(*) FROM pgconvoy.late_index";
constexpr char kUnmade[] = "SELECT name, index_sql FROM pgconvoy.late_index WHERE NOT made ORDER BY name";
constexpr char kMade[] = "UPDATE pgconvoy.late_index SET made = true WHERE name = $1";
constexpr char kConstraints[] = R"sql(
SELECT constraint_sql FROM pgconvoy.late_index WHERE made AND constraint_sql IS NOT NULL ORDER BY name FOR UPDATE
)sql";
constexpr char kForget[] = "DELETE FROM pgconvoy.late_index WHERE made";

std::optional<std::string> OptionalText(const pg::Result& result, int row, int column) {
  const auto value = result.Get(row, column);
  return value.has_value() ? std::optional(std::string(*value)) : std::nullopt;
}

absl::Status Make(pg::Connection& target, const std::string& name, const std::string& sql) {
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target));
  if (const absl::Status made = target.ExecScript(sql); !made.ok()) {
    return Annotate(made, "making index " + name);
  }
  PGC_RETURN_IF_ERROR(target.Exec(kMade, {name}).status());
  PGC_FAILPOINT("worker.copy.index_made");
  return transaction->Commit();
}

absl::Status AddConstraints(pg::Connection& target) {
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target));
  PGC_ASSIGN_OR_RETURN(const pg::Result constraints, target.Exec(kConstraints));
  for (int row = 0; row < constraints.rows(); ++row) {
    PGC_RETURN_IF_ERROR(target.ExecScript(constraints.Text(row, 0)));
  }
  PGC_RETURN_IF_ERROR(target.ExecScript(kForget));
  PGC_FAILPOINT("worker.copy.constraints_added");
  return transaction->Commit();
}

}  // namespace

absl::Status SetIndexesAside(pg::Connection& target, const std::vector<std::string>& tables) {
  if (tables.empty()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target));
  PGC_RETURN_IF_ERROR(target.ExecScript(kMakeTable));
  PGC_ASSIGN_OR_RETURN(const pg::Result indexes, target.Exec(kIndexes, {TextArray(tables)}));
  std::string drop;
  for (int row = 0; row < indexes.rows(); ++row) {
    PGC_RETURN_IF_ERROR(
        target.Exec(kKeep, {indexes.Text(row, 0), indexes.Text(row, 1), OptionalText(indexes, row, 2)}).status());
    drop += indexes.Text(row, 3) + ";";
  }
  if (!drop.empty()) {
    PGC_RETURN_IF_ERROR(target.ExecScript(drop));
  }
  return transaction->Commit();
}

absl::StatusOr<size_t> IndexesAside(pg::Connection& target) {
  PGC_ASSIGN_OR_RETURN(const pg::Result present, target.Exec(kHasTable));
  if (!present.Bool(0, 0)) {
    return 0;
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result count, target.Exec(kCount));
  return static_cast<size_t>(count.Int(0, 0));
}

absl::Status BuildIndexesAside(const std::vector<pg::Connection*>& targets, Reporter& reporter) {
  PGC_ASSIGN_OR_RETURN(const pg::Result unmade, targets[0]->Exec(kUnmade));
  const auto make = [&](pg::Connection& session, size_t i) -> absl::Status {
    PGC_RETURN_IF_ERROR(reporter.Checkpoint());
    const int row = static_cast<int>(i);
    return Make(session, unmade.Text(row, 0), unmade.Text(row, 1));
  };
  PGC_RETURN_IF_ERROR(RunOnSessions(targets, static_cast<size_t>(unmade.rows()), make));
  return AddConstraints(*targets[0]);
}

}  // namespace pgconvoy::worker
