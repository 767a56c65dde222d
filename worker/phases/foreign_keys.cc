#include "worker/phases/foreign_keys.h"

#include "common/base/error.h"
#include "worker/core/sql.h"

namespace pgconvoy::worker {
namespace {

// $1: the schemas. MATCH FULL is violated by a row of which only some columns are NULL, so it applies to any that is
// not.
constexpr char kForeignKeys[] = R"sql(
SELECT n.nspname, c.relname, fn.nspname, fc.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid), k.convalidated,
       c.relkind = 'p',
       pg_catalog.string_agg(pg_catalog.format('c.%I IS NOT NULL', a.attname),
                             CASE k.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END ORDER BY u.i),
       pg_catalog.string_agg(pg_catalog.format('p.%I OPERATOR(%I.%s) c.%I', fa.attname, o_n.nspname, o.oprname,
                                               a.attname), ' AND ' ORDER BY u.i)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class fc ON fc.oid = k.confrelid
JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace
CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop))
  WITH ORDINALITY AS u (here, there, equal, i)
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.here
JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = u.there
JOIN pg_catalog.pg_operator o ON o.oid = u.equal
JOIN pg_catalog.pg_namespace o_n ON o_n.oid = o.oprnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname = ANY ($1::pg_catalog.name[])
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
GROUP BY n.nspname, c.relname, c.relkind, fn.nspname, fc.relname, k.oid, k.conname, k.convalidated, k.confmatchtype
ORDER BY n.nspname, c.relname, k.conname
)sql";

}  // namespace

absl::StatusOr<std::vector<ForeignKey>> ReadForeignKeys(pg::Connection& connection,
                                                        const std::vector<std::string>& schemas) {
  PGC_ASSIGN_OR_RETURN(const pg::Result rows, connection.Exec(kForeignKeys, {TextArray(schemas)}));
  std::vector<ForeignKey> keys;
  for (int row = 0; row < rows.rows(); ++row) {
    ForeignKey key;
    key.table = Qualified(rows.Text(row, 0), rows.Text(row, 1));
    key.referenced = Qualified(rows.Text(row, 2), rows.Text(row, 3));
    key.name = rows.Text(row, 4);
    key.definition = rows.Text(row, 5);
    key.validated = rows.Bool(row, 6);
    key.partitioned = rows.Bool(row, 7);
    key.applies = rows.Text(row, 8);
    key.matches = rows.Text(row, 9);
    keys.push_back(std::move(key));
  }
  return keys;
}

std::string AddConstraintSql(const ForeignKey& key, bool not_valid) {
  return "ALTER TABLE " + key.table + " ADD CONSTRAINT " + Ident(key.name) + " " + key.definition +
         (not_valid ? " NOT VALID" : "");
}

std::string ViolationsSql(const ForeignKey& key, const std::string& from, const std::string& to) {
  return "(SELECT pg_catalog.count(*) FROM " + from + " AS c WHERE (" + key.applies +
         ") AND NOT EXISTS (SELECT FROM " + to + " AS p WHERE " + key.matches + "))";
}

}  // namespace pgconvoy::worker
