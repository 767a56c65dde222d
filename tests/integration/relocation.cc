#include "tests/integration/relocation.h"

#include <algorithm>
#include <cstdio>

namespace pgconvoy::testing {
namespace {

constexpr char kFolder[] = "deploy/demo/relocate-databases/";

constexpr char kRowQueries[] = R"sql(
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C")) FROM %s t',
              n.nspname || '.' || c.relname, c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.oid >= 16384 AND n.nspname !~ '^pg_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
)sql";

constexpr char kSequenceQueries[] = R"sql(
SELECT format('SELECT %L, last_value, is_called FROM %s', n.nspname || '.' || c.relname, c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.oid >= 16384
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
)sql";

// What every version prints in the same way.
constexpr char kDefinitions[] = R"sql(
SELECT d FROM (
  SELECT 'relation ' || c.oid::regclass || c.relkind::text || c.relpersistence::text || c.relrowsecurity ||
         c.relforcerowsecurity AS d FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c')
    AND c.relnamespace::regnamespace::text IN ('app', 'audit', 'public', 'odd"name')
  UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid >= 16384
    AND indrelid::regclass::text !~ '^pg_'
  UNION ALL SELECT 'constraint ' || conrelid::regclass || conname || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid >= 16384 AND contype <> 'n'
  UNION ALL SELECT 'trigger ' || tgenabled::text || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT 'policy ' || polrelid::regclass || polname || coalesce(pg_get_expr(polqual, polrelid), '')
    FROM pg_policy
  UNION ALL SELECT 'function ' || oid::regprocedure || md5(pg_get_functiondef(oid)) FROM pg_proc
    WHERE oid >= 16384 AND prokind <> 'a' AND pronamespace IN ('app'::regnamespace, 'audit'::regnamespace)
      AND proname !~ 'range$'
  UNION ALL SELECT 'enum ' || enumtypid::regtype || enumlabel || enumsortorder FROM pg_enum
  UNION ALL SELECT 'extension ' || extname FROM pg_extension
  UNION ALL SELECT 'setting ' || c FROM pg_db_role_setting s JOIN pg_database b ON b.oid = s.setdatabase,
    unnest(s.setconfig) c WHERE s.setrole = 0 AND b.datname = current_database()
) x ORDER BY d COLLATE "C"
)sql";

std::string Lines(PgCluster& cluster, const std::string& database, const std::string& sql) {
  std::string lines;
  for (const auto& row : cluster.QueryRows(database, sql)) {
    for (const std::string& value : row) {
      lines += value + "\t";
    }
    lines += "\n";
  }
  return lines;
}

std::string LinesOfEach(PgCluster& cluster, const std::string& database, const std::string& queries) {
  std::string lines;
  for (const auto& row : cluster.QueryRows(database, "SET search_path = pg_catalog; " + queries)) {
    lines += Lines(cluster, database, "SET search_path = pg_catalog; SET timezone = 'UTC'; " + row[0]);
  }
  return lines;
}

PgClusterOptions Server(const Relocation::Options& options, int version) {
  return {.durable = options.durable, .major = version};
}

}  // namespace

std::string FirstLineThatDiffers(const std::string& there, const std::string& here) {
  const auto at = std::mismatch(there.begin(), there.end(), here.begin(), here.end());
  const size_t offset = static_cast<size_t>(at.first - there.begin());
  const size_t begin = offset == 0 ? 0 : there.rfind('\n', offset - 1) + 1;
  return "\"" + there.substr(begin, there.find('\n', offset) - begin) + "\" there, \"" +
         here.substr(begin, here.find('\n', offset) - begin) + "\" here";
}

Relocation::Relocation(const Options& options) : Installation(options.lease_ttl) {
  servers_["old"] = std::make_unique<PgCluster>(Server(options, options.old_version));
  servers_["new"] = std::make_unique<PgCluster>(Server(options, options.new_version));
  MakePasswords({"PGCONVOY_OLD_READER_PASSWORD", "PGCONVOY_OLD_REGISTRAR_PASSWORD",
                 "PGCONVOY_NEW_PROVISIONER_PASSWORD", "PGCONVOY_DEMO_TENANT_PASSWORD"});
  env()["PGCONVOY_OLD_CONNINFO"] = old_server().TcpConninfo();
  env()["PGCONVOY_NEW_CONNINFO"] = new_server().TcpConninfo();
  SeedRegistry();
  RunPsql(new_server(), "postgres", std::string(kFolder) + "20_logins_new.sql");
  LoadShippedPlan("relocate-databases");
  for (int n = 1; n <= options.projects; ++n) {
    char ref[16];
    std::snprintf(ref, sizeof(ref), "v%04d", n);
    AddDatabase("old", ref, n);
  }
}

void Relocation::SeedRegistry() {
  old_server().Exec("postgres", "CREATE DATABASE registry");
  RunPsql(old_server(), "registry", std::string(kFolder) + "10_registry.sql");
  RunPsql(old_server(), "registry", std::string(kFolder) + "20_logins_old.sql");
}

void Relocation::AddServer(const std::string& name, const std::string& like) {
  servers_[name] = std::make_unique<PgCluster>();
  PgCluster& cluster = server(name);
  v1::Server entry = plan().servers().at(like);
  entry.set_conninfo(cluster.TcpConninfo());
  if (like == "old") {
    // A registry that nobody asks, so that one file makes the same logins.
    cluster.Exec("postgres", "CREATE DATABASE registry");
    RunPsql(cluster, "registry", std::string(kFolder) + "10_registry.sql");
  }
  RunPsql(cluster, like == "old" ? "registry" : "postgres",
          std::string(kFolder) + (like == "old" ? "20_logins_old.sql" : "20_logins_new.sql"));
  (*plan().mutable_servers())[name] = entry;
}

// The definition is laid once per server; its databases are clones of it.
void Relocation::AddDatabase(const std::string& name, const std::string& ref, int n) {
  PgCluster& cluster = server(name);
  if (cluster.QueryValue("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'seeded'") == "0") {
    cluster.Exec("postgres", "CREATE DATABASE seeded OWNER legacy_app");
    RunPsql(cluster, "seeded", std::string(kFolder) + "30_application.sql");
  }
  cluster.Exec("postgres", "CREATE DATABASE " + database(ref) + " TEMPLATE seeded OWNER legacy_app");
  cluster.Exec("postgres", "ALTER DATABASE " + database(ref) + " SET search_path = app, public");
  env()["PGCONVOY_DEMO_NUMBER"] = std::to_string(n);
  RunPsql(cluster, database(ref), std::string(kFolder) + "40_seed.sql");
  old_server().Exec("registry",
                    "INSERT INTO public.projects (ref, name, server, database_name, database_user) VALUES ('" + ref +
                        "', 'Project', '" + name + "', '" + database(ref) + "', 'legacy_app')");
  AddProject(ref, {{"server", name}, {"database_name", database(ref)}});
}

std::string Relocation::Dump(const std::string& name, const std::string& ref) {
  PgCluster& cluster = server(name);
  return LinesOfEach(cluster, database(ref), kRowQueries) + LinesOfEach(cluster, database(ref), kSequenceQueries) +
         Lines(cluster, database(ref), "SET search_path = pg_catalog; " + std::string(kDefinitions));
}

std::string Relocation::WhyNotRelocated(const std::string& ref, const std::string& from, const std::string& to) {
  PgCluster& target = server(to);
  if (target.QueryValue("postgres", "SELECT count(*) FROM pg_database WHERE datname = '" + database(ref) + "'") !=
      "1") {
    return ref + ": there is no target database";
  }
  const std::string there = Dump(from, ref);
  const std::string here = Dump(to, ref);
  if (there != here) {
    return ref + ": " + FirstLineThatDiffers(there, here);
  }
  const std::string login = target.QueryValue(
      "postgres",
      "SELECT r.rolname || ' ' || r.rolpassword FROM pg_database d JOIN pg_authid r ON r.oid = d.datdba "
      "WHERE r.rolcanlogin AND d.datname = '" +
          database(ref) + "'");
  const auto row = old_server().QueryRows(
      "registry",
      "SELECT server, database_user || ' ' || password_verifier, maintenance FROM public.projects WHERE ref = '" +
          ref + "'")[0];
  if (row[0] != to || row[1] != login || row[2] != "f") {
    return ref + ": the registry row is not switched: " + row[0] + " " + row[2];
  }
  if (target.QueryValue(database(ref), "SELECT to_regnamespace('pgconvoy') IS NULL") != "t") {
    return ref + ": the ledger is still there";
  }
  return "";
}

std::string Relocation::WhyNotUntouched(const std::string& ref, const std::string& from, const std::string& to) {
  if (server(to).QueryValue("postgres", "SELECT (SELECT count(*) FROM pg_database WHERE datname = '" + database(ref) +
                                            "') + (SELECT count(*) FROM pg_roles WHERE rolname = 'vision_" + ref +
                                            "')") != "0") {
    return ref + ": role or database is still there";
  }
  if (old_server().QueryValue("registry", "SELECT server = '" + from +
                                              "' AND database_user = 'legacy_app' AND password_verifier IS NULL AND "
                                              "NOT maintenance FROM public.projects WHERE ref = '" +
                                              ref + "'") != "t") {
    return ref + ": the registry row is not as before";
  }
  return "";
}

std::string Relocation::Leftovers(const std::string& name) {
  return server(name).QueryValue("postgres",
                                 "SELECT string_agg(name, ', ') FROM (SELECT rolname AS name FROM pg_roles UNION ALL "
                                 "SELECT datname FROM pg_database) n WHERE name ~ '^pgc_[atd]_'");
}

}  // namespace pgconvoy::testing
