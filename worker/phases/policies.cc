#include "worker/phases/policies.h"

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

constexpr char kRowSecurity[] = R"sql(
SELECT c.relrowsecurity, c.relforcerowsecurity
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
)sql";

constexpr char kPolicyNames[] = R"sql(
SELECT p.polname
FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 ORDER BY p.polname
)sql";

// Role 0 is PUBLIC. Expressions are printed with our pinned search_path, so that every name in them is qualified.
constexpr char kDefinitions[] = R"sql(
SELECT pg_catalog.format('CREATE POLICY %I ON %I.%I AS %s FOR %s TO %s', p.polname, n.nspname, c.relname,
         CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
         CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                       ELSE 'ALL' END,
         (SELECT pg_catalog.string_agg(CASE WHEN r.oid = 0 THEN 'PUBLIC'
                                            ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r.oid)) END,
                                       ', ' ORDER BY r.nr)
          FROM pg_catalog.unnest(p.polroles) WITH ORDINALITY AS r (oid, nr)))
       || COALESCE(' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')', '')
       || COALESCE(' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
       || COALESCE(pg_catalog.format('; COMMENT ON POLICY %I ON %I.%I IS %L', p.polname, n.nspname, c.relname,
                                     pg_catalog.obj_description(p.oid, 'pg_policy')), '')
FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 ORDER BY p.polname
)sql";

}  // namespace

absl::StatusOr<Policies> ReadPolicies(pg::Connection& connection, const TableName& table) {
  PGC_ASSIGN_OR_RETURN(const pg::Result flags, connection.Exec(kRowSecurity, {table.schema, table.table}));
  if (flags.rows() != 1) {
    return MakeError(Verdict::kPermanent, "PGC-SRC-TABLE", "there is no table " + table.schema + "." + table.table,
                     "correct transform.policies in the plan");
  }
  Policies policies;
  policies.row_security = flags.Bool(0, 0);
  policies.forced = flags.Bool(0, 1);
  PGC_ASSIGN_OR_RETURN(const pg::Result rows, connection.Exec(kDefinitions, {table.schema, table.table}));
  for (int row = 0; row < rows.rows(); ++row) {
    policies.statements.push_back(rows.Text(row, 0));
  }
  return policies;
}

absl::Status ReplacePolicies(pg::Connection& connection,
                             const TableName& table,
                             const std::vector<std::string>& statements) {
  PGC_ASSIGN_OR_RETURN(const pg::Result names, connection.Exec(kPolicyNames, {table.schema, table.table}));
  for (int row = 0; row < names.rows(); ++row) {
    PGC_RETURN_IF_ERROR(connection.ExecScript("DROP POLICY " + Ident(names.Text(row, 0)) + " ON " + table.Quoted()));
  }
  for (const std::string& statement : statements) {
    if (const absl::Status made = connection.ExecScript(statement); !made.ok()) {
      return Annotate(made, "a new policy of " + table.schema + "." + table.table);
    }
  }
  return absl::OkStatus();
}

absl::Status SetRowSecurity(pg::Connection& connection, const TableName& table, const Policies& as) {
  return connection.ExecScript("ALTER TABLE " + table.Quoted() + (as.row_security ? " ENABLE" : " DISABLE") +
                               " ROW LEVEL SECURITY; ALTER TABLE " + table.Quoted() +
                               (as.forced ? " FORCE" : " NO FORCE") + " ROW LEVEL SECURITY");
}

}  // namespace pgconvoy::worker
