#include "worker/phases/catalog_stamp.h"

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

struct Catalog {
  const char* name;
  // Indexed, so that PostgreSQL's own rows are not read: those have numbers below 16384.
  const char* oid;
  // What else tells rows with one oid apart.
  const char* rest;
};

constexpr Catalog kCatalogs[] = {
    {"pg_class", "oid", ""},
    {"pg_attribute", "attrelid", "attnum"},
    {"pg_attrdef", "oid", ""},
    {"pg_constraint", "oid", ""},
    {"pg_index", "indexrelid", ""},
    {"pg_trigger", "oid", ""},
    {"pg_policy", "oid", ""},
    {"pg_rewrite", "oid", ""},
    {"pg_proc", "oid", ""},
    {"pg_type", "oid", ""},
    {"pg_enum", "oid", ""},
    {"pg_range", "rngtypid", ""},
    {"pg_sequence", "seqrelid", ""},
    {"pg_inherits", "inhrelid", "inhseqno"},
    {"pg_partitioned_table", "partrelid", ""},
    {"pg_statistic_ext", "oid", ""},
    {"pg_operator", "oid", ""},
    {"pg_opclass", "oid", ""},
    {"pg_opfamily", "oid", ""},
    {"pg_cast", "oid", ""},
    {"pg_collation", "oid", ""},
    {"pg_conversion", "oid", ""},
    {"pg_ts_config", "oid", ""},
    {"pg_ts_dict", "oid", ""},
    {"pg_ts_parser", "oid", ""},
    {"pg_ts_template", "oid", ""},
    {"pg_language", "oid", ""},
    {"pg_extension", "oid", ""},
    {"pg_event_trigger", "oid", ""},
    {"pg_default_acl", "oid", ""},
    {"pg_publication", "oid", ""},
    {"pg_publication_rel", "oid", ""},
    {"pg_foreign_table", "ftrelid", ""},
    {"pg_foreign_server", "oid", ""},
    {"pg_foreign_data_wrapper", "oid", ""},
    {"pg_transform", "oid", ""},
    {"pg_am", "oid", ""},
    {"pg_description", "objoid", "classoid || '/' || objsubid"},
};

// Schemas are few, and public is one of PostgreSQL's own rows; settings have no number at all.
constexpr char kOthers[] = R"sql(
SELECT 'pg_namespace', pg_catalog.count(*),
       pg_catalog.sum(pg_catalog.hashtextextended(oid || '/' || xmin::pg_catalog.text, 0))
FROM pg_catalog.pg_namespace
UNION ALL
SELECT 'pg_db_role_setting', pg_catalog.count(*),
       pg_catalog.sum(pg_catalog.hashtextextended(s.setrole || '/' || s.xmin::pg_catalog.text, 0))
FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
WHERE d.datname = pg_catalog.current_database()
)sql";

// What is added to a clone gets numbers of its own, so it is named; what it refers to lies in the template. The ledger
// goes again.
constexpr char kCloneSignature[] = R"sql(
WITH rel AS MATERIALIZED (
  SELECT * FROM pg_catalog.pg_class
  WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::pg_catalog.regnamespace
    AND relnamespace <> COALESCE(pg_catalog.to_regnamespace('pgconvoy'), 0)
)
SELECT pg_catalog.md5(pg_catalog.string_agg(line, E'\n' ORDER BY line COLLATE "C")) FROM (
  SELECT pg_catalog.concat_ws(' ', 'relation', relnamespace, relname, relkind, relpersistence, relrowsecurity,
                              relforcerowsecurity, relispartition, relispopulated, relreplident, reltype,
                              reloptions) AS line
  FROM rel
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'column', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,
                              a.attidentity, a.attgenerated, a.attcollation, a.attisdropped)
  FROM pg_catalog.pg_attribute a JOIN rel ON rel.oid = a.attrelid WHERE a.attnum > 0
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'default', d.adrelid, d.adnum, d.adbin)
  FROM pg_catalog.pg_attrdef d JOIN rel ON rel.oid = d.adrelid
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'index', i.indexrelid, i.indrelid, i.indisunique, i.indisprimary, i.indisvalid,
                              i.indkey, i.indclass, i.indcollation, i.indoption, i.indexprs, i.indpred)
  FROM pg_catalog.pg_index i JOIN rel ON rel.oid = i.indrelid
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'constraint', c.connamespace, c.conname, c.contype, c.convalidated, c.condeferrable,
                              c.condeferred, c.conrelid, c.contypid, c.confrelid, c.confupdtype, c.confdeltype,
                              c.confmatchtype, c.conkey, c.confkey, c.conbin)
  FROM pg_catalog.pg_constraint c
  WHERE c.oid >= 16384 AND (c.conrelid = 0 OR c.conrelid IN (SELECT oid FROM rel))
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'trigger', t.tgrelid, t.tgname, t.tgfoid, t.tgtype, t.tgenabled, t.tgattr, t.tgargs,
                              t.tgqual)
  FROM pg_catalog.pg_trigger t WHERE t.oid >= 16384 AND NOT t.tgisinternal
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'policy', polrelid, polname, polcmd, polpermissive, polqual, polwithcheck)
  FROM pg_catalog.pg_policy WHERE oid >= 16384
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'rule', ev_class, rulename, ev_type, ev_enabled, is_instead, ev_qual, ev_action)
  FROM pg_catalog.pg_rewrite WHERE oid >= 16384
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'function', oid, proname, prokind, prosecdef, provolatile, prorettype, proargtypes,
                              proconfig, pg_catalog.md5(prosrc))
  FROM pg_catalog.pg_proc WHERE oid >= 16384
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'enum', enumtypid, enumlabel, enumsortorder) FROM pg_catalog.pg_enum
  WHERE oid >= 16384
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'sequence', s.seqrelid, s.seqtypid, s.seqstart, s.seqincrement, s.seqmax, s.seqmin,
                              s.seqcache, s.seqcycle)
  FROM pg_catalog.pg_sequence s JOIN rel ON rel.oid = s.seqrelid
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'comment', objoid, classoid, objsubid, description)
  FROM pg_catalog.pg_description WHERE objoid >= 16384
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', 'extension', extname, extversion) FROM pg_catalog.pg_extension
  UNION ALL
  SELECT 'others ' || (SELECT pg_catalog.count(*) FROM pg_catalog.pg_operator WHERE oid >= 16384) || ' ' ||
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_collation WHERE oid >= 16384) || ' ' ||
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_cast WHERE oid >= 16384) || ' ' ||
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_ts_config WHERE oid >= 16384) || ' ' ||
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_ts_dict WHERE oid >= 16384) || ' ' ||
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_statistic_ext WHERE oid >= 16384)
) AS lines
)sql";

std::string StampSql() {
  std::string sql =
      "SELECT pg_catalog.md5(pg_catalog.string_agg(rows || ':' || COALESCE(hashes, 0), ' ' ORDER BY catalog)) FROM (";
  for (const Catalog& catalog : kCatalogs) {
    const std::string name = catalog.name;
    const std::string oid = catalog.oid;
    const std::string rest = *catalog.rest == '\0' ? "" : std::string(catalog.rest) + " || '/' || ";
    sql += "SELECT '" + name +
           "' AS catalog, pg_catalog.count(*) AS rows, pg_catalog.sum(pg_catalog.hashtextextended(" + oid +
           " || '/' || " + rest + "xmin::pg_catalog.text, 0)) AS hashes FROM pg_catalog." + name + " WHERE " + oid +
           " >= 16384 UNION ALL ";
  }
  return sql + kOthers + ") AS sums";
}

}  // namespace

absl::StatusOr<std::string> CatalogStamp(pg::Connection& connection) {
  static const std::string* const sql = new std::string(StampSql());
  PGC_ASSIGN_OR_RETURN(const pg::Result stamp, connection.ExecPrepared("pgconvoy_catalog_stamp", *sql));
  return stamp.Text(0, 0);
}

absl::StatusOr<std::string> CloneSignature(pg::Connection& connection) {
  PGC_ASSIGN_OR_RETURN(const pg::Result signature, connection.Exec(kCloneSignature));
  return signature.Text(0, 0);
}

}  // namespace pgconvoy::worker
