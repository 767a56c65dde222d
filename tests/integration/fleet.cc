#include "tests/integration/fleet.h"

namespace pgconvoy::testing {
namespace {

const char* const kTables[] = {"auth.users", "auth.sessions", "auth.refresh_tokens", "storage.buckets",
                               "storage.objects"};

// All rows of the tables, in an order of their own, so that nothing of ours is needed to compare.
std::string HashSql(const std::string& where) {
  std::string sql;
  for (const char* const table : kTables) {
    sql += sql.empty() ? "" : " || ";
    sql += "coalesce((SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) || count(*) FROM " +
           std::string(table) + " t" + where + "), 'none')";
  }
  return "SELECT md5(" + sql + ")";
}

}  // namespace

Fleet::Fleet(const Options& options) : Installation(options.lease_ttl) {
  source_ = std::make_unique<PgCluster>(PgClusterOptions{.durable = options.durable});
  target_ = std::make_unique<PgCluster>(PgClusterOptions{.durable = options.durable});
  if (options.alike) {
    env()["PGCONVOY_DEMO_FACTORS"] = "1";
  }
  MakePasswords({"PGCONVOY_SHARED_READER_PASSWORD", "PGCONVOY_SHARED_REGISTRAR_PASSWORD",
                 "PGCONVOY_ISOLATED_PROVISIONER_PASSWORD", "PGCONVOY_DEMO_TENANT_PASSWORD"});
  env()["PGCONVOY_SHARED_CONNINFO"] = source_->TcpConninfo();
  env()["PGCONVOY_ISOLATED_CONNINFO"] = target_->TcpConninfo();
  SeedSource(options.projects);
  RunPsql(*target_, "postgres", "deploy/demo/isolate-projects/40_logins_isolated.sql");
  LoadShippedPlan("isolate-projects");
}

void Fleet::SeedSource(int projects) {
  env()["PGCONVOY_DEMO_PROJECTS"] = std::to_string(projects);
  source_->Exec("postgres", "CREATE DATABASE platform");
  for (const char* const file : {"10_platform.sql", "20_auth.sql", "30_storage.sql", "40_logins_shared.sql",
                                 "50_seed.sql", "60_triggers.sql"}) {
    RunPsql(*source_, "platform", std::string("deploy/demo/isolate-projects/") + file);
  }
  for (const auto& row :
       source_->QueryRows("platform", "SELECT ref FROM public.projects WHERE status = 'active' ORDER BY ref")) {
    AddProject(row[0]);
  }
}

std::string Fleet::SourceHash(const std::string& ref) {
  return source_->QueryValue("platform", HashSql(" WHERE project_ref = '" + ref + "'"));
}

std::string Fleet::TargetHash(const std::string& ref) { return TargetHashOf("project_" + ref); }

std::string Fleet::TargetHashOf(const std::string& database) { return target_->QueryValue(database, HashSql("")); }

std::string Fleet::WhyNotIsolated(const std::string& ref) {
  const std::string name = "project_" + ref;
  if (target_->QueryValue("postgres", "SELECT count(*) FROM pg_database WHERE datname = '" + name + "'") != "1") {
    return ref + ": there is no target database";
  }
  // TargetHash has no condition, so a row of another project would show as well.
  if (SourceHash(ref) != TargetHash(ref)) {
    return ref + ": the rows differ";
  }
  const auto row =
      source_->QueryRows("platform",
                         "SELECT database_name, database_user, database_password_hash, credential_status, "
                         "writes_frozen FROM public.projects WHERE ref = '" +
                             ref + "'")[0];
  if (row[0] != name || row[1] != name || row[3] != "active" || row[4] != "f") {
    return ref + ": the registry row is not switched";
  }
  if (row[2] != target_->QueryValue("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '" + name + "'")) {
    return ref + ": the registry has another verifier than the role";
  }
  const std::string strangers = target_->QueryValue(
      "postgres",
      "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND rolname <> '" + name +
          "' AND has_database_privilege(rolname, '" + name + "', 'CONNECT')");
  if (!strangers.empty()) {
    return ref + ": others may connect: " + strangers;
  }
  if (target_->QueryValue(name, "SELECT to_regnamespace('pgconvoy') IS NULL") != "t") {
    return ref + ": the ledger is still there";
  }
  return "";
}

std::string Fleet::WhyNotUntouched(const std::string& ref) {
  const std::string name = "project_" + ref;
  if (target_->QueryValue("postgres", "SELECT (SELECT count(*) FROM pg_database WHERE datname = '" + name +
                                          "') + (SELECT count(*) FROM pg_roles WHERE rolname = '" + name + "')") !=
      "0") {
    return ref + ": role or database is still there";
  }
  if (source_->QueryValue(
          "platform",
          "SELECT database_name IS NULL AND database_user IS NULL AND database_password_hash IS NULL AND "
          "credential_status = 'fallback' AND NOT writes_frozen FROM public.projects WHERE ref = '" +
              ref + "'") != "t") {
    return ref + ": the registry row is not as before";
  }
  return "";
}

std::string Fleet::Leftovers() {
  return target_->QueryValue("postgres",
                             "SELECT string_agg(name, ', ') FROM (SELECT rolname AS name FROM pg_roles UNION ALL "
                             "SELECT datname FROM pg_database) n WHERE name ~ '^pgc_[atd]_'");
}

}  // namespace pgconvoy::testing
