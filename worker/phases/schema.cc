#include "worker/phases/schema.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/pg/pg_error.h"
#include "common/plan/table_pattern.h"
#include "worker/core/sql.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/catalog_stamp.h"
#include "worker/phases/dump.h"
#include "worker/phases/schema_script.h"

namespace pgconvoy::worker {
namespace {

constexpr char kFindTable[] = R"sql(
SELECT c.oid, c.relkind, c.relrowsecurity,
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
)sql";

constexpr char kTablesOfSchema[] = R"sql(
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relname
)sql";

constexpr char kColumns[] = R"sql(
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated, a.attnotnull,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
)sql";

// $1: a table. Of each column the type under its domains; under an array, the type of its elements with "[]". A type
// that looks like an array and is none (int2vector) has another subscript function.
constexpr char kTypes[] = R"sql(
WITH RECURSIVE step AS (
  SELECT a.attnum, a.attname, a.atttypid AS oid, '' AS brackets, 0 AS depth
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT s.attnum, s.attname, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END,
         CASE WHEN t.typtype = 'd' THEN s.brackets ELSE '[]' END, s.depth + 1
  FROM step s JOIN pg_catalog.pg_type t ON t.oid = s.oid
  WHERE t.typtype = 'd'
     OR (s.brackets = '' AND t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc)
)
SELECT DISTINCT ON (attnum) attname, pg_catalog.format_type(oid, NULL) || brackets FROM step
ORDER BY attnum, depth DESC
)sql";

// $1: the schemas. What an extension brought ('e') comes with it.
constexpr char kSequences[] = R"sql(
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname = ANY ($1::pg_catalog.name[])
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
)sql";

// In the order in which they were made, as one may read another.
constexpr char kFilledViews[] = R"sql(
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname = ANY ($1::pg_catalog.name[])
ORDER BY c.oid
)sql";

// $1: the schemas. Triggers whose function lies elsewhere belong to the platform and are not carried.
constexpr char kSkippedTriggers[] = R"sql(
SELECT t.oid
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
WHERE NOT t.tgisinternal AND n.nspname = ANY ($1::pg_catalog.name[])
  AND f.nspname <> ALL ($1::pg_catalog.name[]) AND f.nspname <> 'pg_catalog'
)sql";

constexpr char kForcedTables[] = R"sql(
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relforcerowsecurity AND n.nspname = ANY ($1::pg_catalog.name[]) ORDER BY 1, 2
)sql";

constexpr char kLocale[] = R"sql(
SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype
FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
)sql";

// $1: the schemas; $2: whether the database moves as a whole. Every expression is printed with our pinned search_path,
// so the same object reads the same on both sides. What an extension brought may differ with its version, and what only
// some versions of PostgreSQL record (NOT NULL as a constraint, from 18 on; a
// partition's identity columns, from 17 on) is left out.
constexpr char kObjects[] = R"sql(
WITH member AS MATERIALIZED (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), space AS MATERIALIZED (
  SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1::pg_catalog.name[])
), rel AS MATERIALIZED (
  SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relkind, c.relpersistence, c.relispartition, c.relispopulated,
         c.relrowsecurity, c.relforcerowsecurity
  FROM pg_catalog.pg_class c JOIN space n ON n.oid = c.relnamespace
  WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                   AND m.objid = c.oid)
), typ AS MATERIALIZED (
  SELECT t.*, n.nspname || '.' || t.typname AS name FROM pg_catalog.pg_type t JOIN space n ON n.oid = t.typnamespace
  WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
                   AND m.objid = t.oid)
)
SELECT 'relation ' || name || ' ' || relkind::pg_catalog.text || relpersistence::pg_catalog.text || relispartition ||
       relispopulated
FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL
SELECT 'column ' || rel.name || '.' || a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod) ||
       CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || ' ' || a.attgenerated::pg_catalog.text ||
       CASE WHEN rel.relispartition THEN '' ELSE a.attidentity::pg_catalog.text END || ' ' ||
       COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
FROM rel JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE rel.relkind IN ('r', 'p', 'v', 'm', 'c')
UNION ALL
SELECT 'constraint ' || rel.name || ' ' || c.conname || ' ' || pg_catalog.pg_get_constraintdef(c.oid)
FROM rel JOIN pg_catalog.pg_constraint c ON c.conrelid = rel.oid AND c.contype <> 'n'
UNION ALL
SELECT 'constraint ' || typ.name || ' ' || c.conname || ' ' || pg_catalog.pg_get_constraintdef(c.oid)
FROM typ JOIN pg_catalog.pg_constraint c ON c.contypid = typ.oid AND c.contype <> 'n'
UNION ALL
SELECT 'index ' || pg_catalog.pg_get_indexdef(i.indexrelid)
FROM rel JOIN pg_catalog.pg_index i ON i.indrelid = rel.oid
UNION ALL
SELECT 'rule ' || rel.name || ' ' || r.rulename || ' ' || r.ev_type::pg_catalog.text || r.ev_enabled::pg_catalog.text ||
       r.is_instead
FROM rel JOIN pg_catalog.pg_rewrite r ON r.ev_class = rel.oid AND r.rulename <> '_RETURN'
UNION ALL
SELECT 'trigger ' || t.tgenabled::pg_catalog.text || ' ' || pg_catalog.pg_get_triggerdef(t.oid)
FROM rel JOIN pg_catalog.pg_trigger t ON t.tgrelid = rel.oid AND NOT t.tgisinternal
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
WHERE f.nspname = ANY ($1::pg_catalog.name[]) OR f.nspname = 'pg_catalog'
UNION ALL
SELECT 'policy ' || rel.name || ' ' || p.polname || ' ' || p.polcmd::pg_catalog.text || ' ' || p.polpermissive || ' ' ||
       COALESCE(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '') || ' ' ||
       COALESCE(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '')
FROM rel JOIN pg_catalog.pg_policy p ON p.polrelid = rel.oid
UNION ALL
SELECT 'sequence ' || rel.name || ' ' || pg_catalog.format_type(s.seqtypid, NULL) || ' ' || s.seqincrement || ' ' ||
       s.seqmin || ' ' || s.seqmax || ' ' || s.seqcycle
FROM rel JOIN pg_catalog.pg_sequence s ON s.seqrelid = rel.oid
UNION ALL
SELECT 'row security ' || rel.name || ' ' || rel.relrowsecurity || ' ' || rel.relforcerowsecurity
FROM rel WHERE rel.relkind IN ('r', 'p')
UNION ALL
SELECT 'statistics ' || n.nspname || '.' || s.stxname || ' ' || s.stxkind::pg_catalog.text
FROM pg_catalog.pg_statistic_ext s JOIN space n ON n.oid = s.stxnamespace
UNION ALL
SELECT 'function ' || n.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) ||
       ') ' || p.prokind::pg_catalog.text || p.provolatile::pg_catalog.text || p.prosecdef || ' ' ||
       COALESCE(pg_catalog.pg_get_function_result(p.oid), '') || ' ' ||
       COALESCE(pg_catalog.array_to_string(p.proconfig, ','), '') || ' ' || pg_catalog.md5(p.prosrc)
FROM pg_catalog.pg_proc p JOIN space n ON n.oid = p.pronamespace
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid)
UNION ALL
SELECT 'enum ' || typ.name || ' ' || pg_catalog.string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
FROM pg_catalog.pg_enum e JOIN typ ON typ.oid = e.enumtypid GROUP BY typ.name
UNION ALL
SELECT 'domain ' || typ.name || pg_catalog.format_type(typ.typbasetype, typ.typtypmod) || typ.typnotnull || ' ' ||
       COALESCE(typ.typdefault, '')
FROM typ WHERE typ.typtype = 'd'
UNION ALL
SELECT 'range ' || typ.name || ' ' || pg_catalog.format_type(r.rngsubtype, NULL)
FROM pg_catalog.pg_range r JOIN typ ON typ.oid = r.rngtypid
UNION ALL
SELECT 'collation ' || n.nspname || '.' || c.collname || ' ' || c.collprovider::pg_catalog.text || c.collisdeterministic
FROM pg_catalog.pg_collation c JOIN space n ON n.oid = c.collnamespace
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_collation'::pg_catalog.regclass
                 AND m.objid = c.oid)
UNION ALL
SELECT 'operator ' || n.nspname || '.' || o.oid::pg_catalog.regoperator::pg_catalog.text
FROM pg_catalog.pg_operator o JOIN space n ON n.oid = o.oprnamespace
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass
                 AND m.objid = o.oid)
UNION ALL
SELECT 'cast ' || pg_catalog.format_type(c.castsource, NULL) || ' ' || pg_catalog.format_type(c.casttarget, NULL) ||
       ' ' || c.castcontext::pg_catalog.text || c.castmethod::pg_catalog.text
FROM pg_catalog.pg_cast c
WHERE c.castsource IN (SELECT oid FROM typ) OR c.casttarget IN (SELECT oid FROM typ)
UNION ALL
SELECT 'text search ' || n.nspname || '.' || c.cfgname
FROM pg_catalog.pg_ts_config c JOIN space n ON n.oid = c.cfgnamespace
UNION ALL
SELECT 'dictionary ' || n.nspname || '.' || c.dictname
FROM pg_catalog.pg_ts_dict c JOIN space n ON n.oid = c.dictnamespace
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_ts_dict'::pg_catalog.regclass
                 AND m.objid = c.oid)
UNION ALL
SELECT 'extension ' || e.extname || ' ' || n.nspname
FROM pg_catalog.pg_extension e JOIN space n ON n.oid = e.extnamespace
UNION ALL
SELECT 'comment ' || i.type || ' ' || i.identity || ' ' || pg_catalog.md5(d.description)
FROM pg_catalog.pg_description d
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) i
WHERE d.objoid >= 16384 AND i.schema = ANY ($1::pg_catalog.name[])
  AND NOT EXISTS (SELECT FROM member m WHERE m.classid = d.classoid AND m.objid = d.objoid)
UNION ALL
SELECT 'setting ' || c.setting
FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database b ON b.oid = s.setdatabase
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c (setting)
WHERE $2::pg_catalog.bool AND s.setrole = 0 AND b.datname = pg_catalog.current_database()
)sql";

// What the system, an extension or pgconvoy itself has made is not the user's.
constexpr char kUserSchemas[] = R"sql(
SELECT n.nspname FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgconvoy')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.objid = n.oid
                    AND d.deptype = 'e')
ORDER BY n.nspname
)sql";

// $1: the schemas.
constexpr char kTablesForPatterns[] = R"sql(
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname = ANY ($1::pg_catalog.name[])
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
)sql";

// $1: schema.table, quoted, of all that move.
constexpr char kPartitionTwice[] = R"sql(
SELECT t.oid::pg_catalog.regclass, a.relid
FROM pg_catalog.pg_class t CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(t.oid) a
WHERE t.relispartition AND t.oid = ANY ($1::pg_catalog.regclass[]::pg_catalog.oid[]) AND a.relid <> t.oid
  AND a.relid = ANY ($1::pg_catalog.regclass[]) LIMIT 1
)sql";

constexpr char kSettings[] = R"sql(
SELECT pg_catalog.split_part(c.setting, '=', 1), pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1)
FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c (setting)
WHERE s.setrole = 0 AND d.datname = pg_catalog.current_database() ORDER BY 1
)sql";

constexpr std::string_view kNotValid = " NOT VALID";

// In which tables are changed in place.
std::vector<std::string> SchemasOfTables(const v1::Plan& plan) {
  std::set<std::string> schemas;
  for (const v1::Table& table : plan.tables()) {
    schemas.insert(SplitTable(table.table()).schema);
  }
  return {schemas.begin(), schemas.end()};
}

absl::Status NoSuchTable(pg::Connection& connection, const TableName& name) {
  std::vector<std::string> present;
  if (const auto tables = connection.Exec(kTablesOfSchema, {name.schema}); tables.ok()) {
    for (int row = 0; row < tables->rows(); ++row) {
      present.push_back(tables->Text(row, 0));
    }
  }
  const auto nearest = Nearest(name.table, present);
  return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE", "the source has no table " + name.schema + "." + name.table,
                   nearest ? "did you mean \"" + name.schema + "." + *nearest + "\"?" : "correct tables in the plan");
}

// No row may be copied twice.
absl::Status CheckTakenOnce(pg::Connection& connection, const std::vector<v1::Table>& tables) {
  std::set<std::string> names;
  for (const v1::Table& table : tables) {
    if (!names.insert(SplitTable(table.table()).Quoted()).second) {
      return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE", "two entries of the plan take " + table.table(),
                       "leave it out of one of them, with `except` where it is a pattern");
    }
  }
  const auto twice = connection.Exec(kPartitionTwice, {TextArray({names.begin(), names.end()})});
  if (!twice.ok() || twice->rows() == 0) {
    // A table that does not exist is reported where it is described, with the nearest name.
    // One that may not be looked at is reported with the privileges.
    return pg::SqlStateOf(twice.status()) == "42501" || pg::SqlStateOf(twice.status()) == "42P01" ||
                   pg::SqlStateOf(twice.status()) == "3F000"
               ? absl::OkStatus()
               : twice.status();
  }
  return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE",
                   twice->Text(0, 0) + " is a partition of " + twice->Text(0, 1) + ", which moves as a whole",
                   "list the partitioned table only");
}

absl::Status CheckNamed(const v1::Table& table,
                        const google::protobuf::RepeatedPtrField<std::string>& named,
                        const std::vector<std::string>& all,
                        const std::string& key) {
  for (const std::string& column : named) {
    if (std::find(all.begin(), all.end(), column) == all.end()) {
      const auto nearest = Nearest(column, all);
      return MakeError(Verdict::kPermanent, "PGC-SRC-COLUMN",
                       "table " + table.table() + " has no column \"" + column + "\"",
                       nearest ? "did you mean \"" + *nearest + "\"?" : "correct " + key + " in the plan");
    }
  }
  return absl::OkStatus();
}

bool IsCarried(const v1::Table& table, const std::string& column) {
  const auto holds = [&column](const google::protobuf::RepeatedPtrField<std::string>& names) {
    return std::find(names.begin(), names.end(), column) != names.end();
  };
  return table.only_columns().empty() ? !holds(table.exclude_columns()) : holds(table.only_columns());
}

absl::Status ReadColumns(pg::Connection& connection,
                         const std::string& oid,
                         const v1::Table& table,
                         TableInfo& info) {
  PGC_ASSIGN_OR_RETURN(const pg::Result columns, connection.Exec(kColumns, {oid}));
  std::vector<std::string> all;
  for (int row = 0; row < columns.rows(); ++row) {
    const std::string name = columns.Text(row, 0);
    const std::string generated = columns.Text(row, 2);
    all.push_back(name);
    info.fingerprint += name + " " + columns.Text(row, 1) + " " + generated + columns.Text(row, 3) + ";";
    if (!generated.empty()) {
      info.generated.push_back(name);
    } else if (IsCarried(table, name)) {
      info.columns.push_back(name);
    } else if (columns.Bool(row, 4)) {
      return MakeError(Verdict::kPermanent, "PGC-SRC-COLUMN",
                       "column \"" + name + "\" of " + table.table() + " is left out, but may not be NULL",
                       "carry it, or give it a default");
    }
  }
  if (table.columns_size() > 0 || table.exclude_columns_size() > 0 || table.only_columns_size() > 0) {
    info.generated.clear();
  }
  PGC_RETURN_IF_ERROR(CheckNamed(table, table.exclude_columns(), all, "exclude_columns"));
  return CheckNamed(table, table.only_columns(), all, "only_columns");
}

absl::Status ReadTypes(pg::Connection& connection, const std::string& oid, TableInfo& info) {
  PGC_ASSIGN_OR_RETURN(const pg::Result types, connection.Exec(kTypes, {oid}));
  std::map<std::string, std::string> by_column;
  for (int row = 0; row < types.rows(); ++row) {
    by_column[types.Text(row, 0)] = types.Text(row, 1);
  }
  for (const std::string& column : info.columns) {
    info.types.push_back(by_column[column]);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::set<int64_t>> SkippedTriggers(pg::Connection& connection,
                                                  const std::vector<std::string>& schemas) {
  PGC_ASSIGN_OR_RETURN(const pg::Result triggers, connection.Exec(kSkippedTriggers, {TextArray(schemas)}));
  std::set<int64_t> oids;
  for (int row = 0; row < triggers.rows(); ++row) {
    oids.insert(triggers.Int(row, 0));
  }
  return oids;
}

absl::Status ReadLocale(pg::Connection& connection, SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(const pg::Result locale, connection.Exec(kLocale));
  schema.encoding = locale.Text(0, 0);
  schema.collate = locale.Text(0, 1);
  schema.ctype = locale.Text(0, 2);
  return absl::OkStatus();
}

// Quoted names from a query of the schemas that gives schema and name.
absl::StatusOr<std::vector<std::string>> ReadNames(pg::Connection& connection,
                                                   const char* query,
                                                   const std::vector<std::string>& schemas) {
  PGC_ASSIGN_OR_RETURN(const pg::Result found, connection.Exec(query, {TextArray(schemas)}));
  std::vector<std::string> names;
  for (int row = 0; row < found.rows(); ++row) {
    names.push_back(Qualified(found.Text(row, 0), found.Text(row, 1)));
  }
  return names;
}

// pg_dump writes FORCE beside CREATE TABLE; it has to wait, or the owner itself could not load the rows.
void MoveForceToTheEnd(SourceSchema& schema) {
  for (const std::string& table : schema.forced_tables) {
    schema.template_sql += "\nALTER TABLE " + table + " NO FORCE ROW LEVEL SECURITY;";
    schema.finish_sql += "\nALTER TABLE " + table + " FORCE ROW LEVEL SECURITY;";
  }
}

absl::Status CheckChangedColumns(const v1::Table& table, const TableInfo& info) {
  google::protobuf::RepeatedPtrField<std::string> named;
  for (const v1::Column& column : table.columns()) {
    *named.Add() = column.name();
  }
  return CheckNamed(table, named, info.columns, "columns");
}

absl::Status ReadTables(pg::Connection& reader, const v1::Plan& plan, SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(const std::vector<v1::Table> tables, ResolveTables(reader, plan, schema.schemas));
  for (const v1::Table& table : tables) {
    PGC_ASSIGN_OR_RETURN(TableInfo info, DescribeTable(reader, table));
    if (plan.has_target()) {
      // In place a column may be one that a step before makes.
      PGC_RETURN_IF_ERROR(CheckChangedColumns(table, info));
    }
    schema.tables.push_back(std::move(info));
  }
  return absl::OkStatus();
}

absl::Status ReadScripts(Attempt& attempt, pg::Connection& reader, SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(const auto filled_views, ReadNames(reader, kFilledViews, schema.schemas));
  PGC_ASSIGN_OR_RETURN(const std::set<int64_t> skipped, SkippedTriggers(reader, schema.schemas));
  PGC_RETURN_IF_ERROR(CheckDumpable(reader.server_version()));
  PGC_ASSIGN_OR_RETURN(SchemaScripts scripts, DumpSchema(attempt, skipped, schema.schemas));
  schema.template_sql = std::move(scripts.laid_first);
  schema.finish_sql = std::move(scripts.added_last);
  for (const std::string& view : filled_views) {
    schema.finish_sql += "\nREFRESH MATERIALIZED VIEW " + view + ";";
  }
  MoveForceToTheEnd(schema);
  return absl::OkStatus();
}

std::string HashOf(const SourceSchema& schema, const std::string& store_id) {
  std::string text = store_id + "\n" + schema.encoding + "\n" + schema.collate + "\n" + schema.ctype + "\n" +
                     schema.template_sql + "\n" + schema.finish_sql;
  for (const ForeignKey& key : schema.foreign_keys) {
    text += "\n" + AddConstraintSql(key, false);
  }
  return ShortHash(text, 16);
}

absl::StatusOr<std::shared_ptr<const SourceSchema>> ReadSchema(Attempt& attempt) {
  auto schema = std::make_shared<SourceSchema>();
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  const v1::Plan& plan = attempt.plan();
  PGC_ASSIGN_OR_RETURN(const std::string before, CatalogStamp(*reader));
  PGC_ASSIGN_OR_RETURN(schema->schemas, MovedSchemas(*reader, plan));
  PGC_RETURN_IF_ERROR(ReadTables(*reader, plan, *schema));
  PGC_RETURN_IF_ERROR(ReadLocale(*reader, *schema));
  PGC_ASSIGN_OR_RETURN(schema->forced_tables, ReadNames(*reader, kForcedTables, schema->schemas));
  PGC_ASSIGN_OR_RETURN(schema->sequences, ReadNames(*reader, kSequences, schema->schemas));
  PGC_ASSIGN_OR_RETURN(schema->foreign_keys, ReadForeignKeys(*reader, schema->schemas));
  PGC_ASSIGN_OR_RETURN(schema->objects, ListObjects(*reader, plan, schema->schemas));
  if (plan::IsWholeDatabase(plan)) {
    PGC_ASSIGN_OR_RETURN(schema->settings, DatabaseSettings(*reader));
  }
  if (plan.has_target() || attempt.backup_only()) {
    PGC_RETURN_IF_ERROR(ReadScripts(attempt, *reader, *schema));
    schema->hash = HashOf(*schema, attempt.grant().store_id);
  }
  PGC_ASSIGN_OR_RETURN(const std::string after, CatalogStamp(*reader));
  schema->stamp = before == after ? after : "";
  return std::shared_ptr<const SourceSchema>(std::move(schema));
}

// The plan's entry for a table that a backup holds.
v1::Table EntryOf(const v1::Plan& plan, const std::string& name) {
  v1::Table found;
  for (const v1::Table& entry : plan.tables()) {
    const TableName table = SplitTable(name);
    if (entry.table() == name || plan::TakesTable(entry, table.schema, table.table)) {
      found = entry;
    }
  }
  found.set_table(name);
  found.clear_except();
  return found;
}

absl::StatusOr<std::shared_ptr<const SourceSchema>> SchemaOfBackup(const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const auto reader, OpenRestored(attempt));
  PGC_ASSIGN_OR_RETURN(const std::string script, reader->ReadSchema());
  PGC_ASSIGN_OR_RETURN(SourceSchema parsed, FromScript(script));
  auto schema = std::make_shared<SourceSchema>(std::move(parsed));
  for (const backup::TableEntry& entry : reader->manifest().tables) {
    TableInfo& table = schema->tables.emplace_back();
    table.name = entry.table;
    table.columns = entry.columns;
    table.types = entry.types;
    table.relkind = "r";
    table.entry = EntryOf(attempt.plan(), entry.table);
  }
  for (const backup::SequenceEntry& sequence : reader->manifest().sequences) {
    schema->sequences.push_back(sequence.sequence);
  }
  schema->hash = HashOf(*schema, attempt.grant().store_id);
  return std::shared_ptr<const SourceSchema>(std::move(schema));
}

std::string CacheKey(const Attempt& attempt) {
  return attempt.grant().plan_hash + "\n" + attempt.project().source_server + "\n" +
         attempt.project().source_database;
}

}  // namespace

absl::StatusOr<TableInfo> DescribeTable(pg::Connection& connection, const v1::Table& table) {
  const TableName name = SplitTable(table.table());
  PGC_ASSIGN_OR_RETURN(const pg::Result found, connection.Exec(kFindTable, {name.schema, name.table}));
  if (found.rows() == 0) {
    return NoSuchTable(connection, name);
  }
  TableInfo info;
  info.name = table.table();
  info.relkind = found.Text(0, 1);
  info.row_security = found.Bool(0, 2);
  if (info.relkind != "r" && info.relkind != "p") {
    return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE",
                     table.table() + " is not a table (relkind " + info.relkind + ")",
                     "views and foreign tables cannot be moved; list tables");
  }
  if (found.Bool(0, 3)) {
    return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE", "other tables inherit from " + table.table(),
                     "tables with inheritance cannot be moved; use partitions, or leave the table out");
  }
  PGC_RETURN_IF_ERROR(ReadColumns(connection, found.Text(0, 0), table, info));
  info.entry = table;
  PGC_RETURN_IF_ERROR(ReadTypes(connection, found.Text(0, 0), info));
  if (info.columns.empty()) {
    return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE", table.table() + " has no column that could be copied",
                     "leave the table out of the plan");
  }
  return info;
}

absl::StatusOr<std::vector<std::string>> MovedSchemas(pg::Connection& connection, const v1::Plan& plan) {
  if (plan.has_target() && !plan::IsWholeDatabase(plan)) {
    return std::vector<std::string>(plan.target().schemas().begin(), plan.target().schemas().end());
  }
  const auto is_pattern = [](const v1::Table& table) { return plan::IsPattern(table.table()); };
  if (!plan.has_target() && std::none_of(plan.tables().begin(), plan.tables().end(), is_pattern)) {
    return SchemasOfTables(plan);
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result found, connection.Exec(kUserSchemas));
  std::vector<std::string> schemas;
  for (int row = 0; row < found.rows(); ++row) {
    schemas.push_back(found.Text(row, 0));
  }
  return schemas;
}

absl::StatusOr<std::vector<v1::Table>> ResolveTables(pg::Connection& connection,
                                                     const v1::Plan& plan,
                                                     const std::vector<std::string>& schemas) {
  PGC_ASSIGN_OR_RETURN(const pg::Result candidates, connection.Exec(kTablesForPatterns, {TextArray(schemas)}));
  std::vector<v1::Table> tables;
  for (const v1::Table& entry : plan.tables()) {
    if (!plan::IsPattern(entry.table())) {
      tables.push_back(entry);
      continue;
    }
    const size_t before = tables.size();
    for (int row = 0; row < candidates.rows(); ++row) {
      if (plan::TakesTable(entry, candidates.Text(row, 0), candidates.Text(row, 1))) {
        tables.push_back(entry);
        tables.back().set_table(plan::WrittenName(candidates.Text(row, 0), candidates.Text(row, 1)));
        tables.back().clear_except();
      }
    }
    if (tables.size() == before) {
      return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE", "no table of the source matches " + entry.table(),
                       "correct tables in the plan");
    }
  }
  PGC_RETURN_IF_ERROR(CheckTakenOnce(connection, tables));
  return tables;
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> DatabaseSettings(pg::Connection& connection) {
  PGC_ASSIGN_OR_RETURN(const pg::Result found, connection.Exec(kSettings));
  std::vector<std::pair<std::string, std::string>> settings;
  for (int row = 0; row < found.rows(); ++row) {
    settings.emplace_back(found.Text(row, 0), found.Text(row, 1));
  }
  return settings;
}

absl::StatusOr<std::vector<std::string>> ListObjects(pg::Connection& connection,
                                                     const v1::Plan& plan,
                                                     const std::vector<std::string>& schemas) {
  PGC_ASSIGN_OR_RETURN(const pg::Result listed,
                       connection.Exec(kObjects, {TextArray(schemas), plan::IsWholeDatabase(plan) ? "t" : "f"}));
  const bool validity_is_open = plan.target().violated_foreign_keys() == v1::Target::NOT_VALID;
  std::vector<std::string> objects;
  for (int row = 0; row < listed.rows(); ++row) {
    std::string line = listed.Text(row, 0);
    if (validity_is_open && line.starts_with("constraint ") && line.ends_with(kNotValid)) {
      line.resize(line.size() - kNotValid.size());
    }
    objects.push_back(std::move(line));
  }
  std::sort(objects.begin(), objects.end());
  return objects;
}

absl::StatusOr<bool> IsUnchanged(pg::Connection& reader, const SourceSchema& schema) {
  if (schema.stamp.empty()) {
    return false;
  }
  PGC_ASSIGN_OR_RETURN(const std::string now, CatalogStamp(reader));
  return now == schema.stamp;
}

absl::StatusOr<std::shared_ptr<const SourceSchema>> SchemaCache::Get(Attempt& attempt) {
  const std::string key = CacheKey(attempt);
  // Held while the source is read: the other slots want the same thing and would only dump it again.
  const MutexLock lock(mutex_);
  if (const auto it = schemas_.find(key); it != schemas_.end()) {
    return it->second;
  }
  PGC_ASSIGN_OR_RETURN(auto schema, attempt.restores() ? SchemaOfBackup(attempt) : ReadSchema(attempt));
  schemas_[key] = schema;
  return schema;
}

void SchemaCache::Forget(const Attempt& attempt) {
  const MutexLock lock(mutex_);
  schemas_.erase(CacheKey(attempt));
  source_checks_.erase(CacheKey(attempt));
}

std::shared_ptr<const v1::ChecksResult> SchemaCache::SourceChecks(const Attempt& attempt) {
  const MutexLock lock(mutex_);
  const auto it = source_checks_.find(CacheKey(attempt));
  return it != source_checks_.end() ? it->second : nullptr;
}

void SchemaCache::KeepSourceChecks(const Attempt& attempt, v1::ChecksResult found) {
  const MutexLock lock(mutex_);
  source_checks_[CacheKey(attempt)] = std::make_shared<const v1::ChecksResult>(std::move(found));
}

bool SchemaCache::IsVerified(const SourceSchema& schema, const std::string& signature) {
  const MutexLock lock(mutex_);
  return verified_.contains({schema.hash, signature});
}

void SchemaCache::KeepVerified(const SourceSchema& schema, const std::string& signature) {
  const MutexLock lock(mutex_);
  verified_.emplace(schema.hash, signature);
}

absl::StatusOr<TemplateNames> SchemaCache::EnsureTemplate(Attempt& attempt, const SourceSchema& schema) {
  const TemplateNames names{"pgc_tmpl_" + schema.hash, "pgc_tmplo_" + schema.hash};
  const std::string key = attempt.target_server().conninfo() + "\n" + names.database;
  const MutexLock lock(mutex_);
  if (!laid_.contains(key)) {
    PGC_RETURN_IF_ERROR(LayTemplate(attempt, schema, names));
    laid_.insert(key);
  }
  return names;
}

void SchemaCache::ForgetTemplate(const TemplateNames& laid) {
  const MutexLock lock(mutex_);
  std::erase_if(laid_, [&laid](const std::string& key) { return key.ends_with("\n" + laid.database); });
}

}  // namespace pgconvoy::worker
