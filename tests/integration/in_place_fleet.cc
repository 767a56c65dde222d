#include "tests/integration/in_place_fleet.h"

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "common/crypto/crypto.h"

namespace pgconvoy::testing {
namespace {

constexpr char kTables[] = R"sql(
SELECT c.oid::regclass::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgconvoy_transform') ORDER BY 1
)sql";

constexpr char kSequences[] = R"sql(
SELECT string_agg(format('%I.%I %s', schemaname, sequencename, last_value), E'\n' ORDER BY 1)
FROM pg_sequences
)sql";

// Granting again changes the order of privileges and nothing else.
std::string WithSortedGrants(const std::string& dump) {
  std::istringstream lines(dump);
  std::string rest;
  std::vector<std::string> grants;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("GRANT ") || line.starts_with("REVOKE ")) {
      grants.push_back(line);
    } else {
      rest += line + "\n";
    }
  }
  std::sort(grants.begin(), grants.end());
  for (const std::string& line : grants) {
    rest += line + "\n";
  }
  return rest;
}

}  // namespace

InPlaceFleet::InPlaceFleet(const std::string& plan, int apps, const std::string& lease_ttl)
    : Installation(lease_ttl) {
  server_ = std::make_unique<PgCluster>();
  MakePasswords({"PGCONVOY_APPS_READER_PASSWORD", "PGCONVOY_APPS_REGISTRAR_PASSWORD", "PGCONVOY_APPS_OWNER_PASSWORD",
                 "PGCONVOY_APPS_SERVICE_PASSWORD"});
  env()["PGCONVOY_APPS_CONNINFO"] = server_->TcpConninfo();
  server_->Exec("postgres", "CREATE DATABASE platform");
  RunPsql(*server_, "platform", "deploy/demo/" + plan + "/10_platform.sql");
  RunPsql(*server_, "platform", "deploy/demo/apps_logins.sql");
  for (int app = 1; app <= apps; ++app) {
    MakeApp(plan, app);
  }
  LoadShippedPlan(plan);
}

void InPlaceFleet::MakeApp(const std::string& plan, int number) {
  char ref[16];
  std::snprintf(ref, sizeof(ref), "app-%04d", number);
  const std::string name = ref;
  server_->Exec("postgres", "CREATE DATABASE \"" + name + "\" OWNER app_owner");
  RunPsql(*server_, name, "deploy/demo/" + plan + "/20_app.sql", {"role=app_owner"});
  RunPsql(*server_, name, "deploy/demo/" + plan + "/30_seed.sql",
          {"role=app_owner", "app=" + std::to_string(number)});
  const bool probes = plan == "consolidate-roles";
  server_->Exec("platform", "INSERT INTO public.apps (ref, database_name" +
                                std::string(probes ? ", probe_admin" : "") + ") VALUES ('" + name + "', '" + name +
                                "'" + (probes ? ", md5('onesuper_admin" + std::to_string(number) + "')::uuid" : "") +
                                ")");
  std::map<std::string, std::string> attributes = {{"database_name", name}};
  if (probes) {
    attributes["probe_admin"] = RegistryValue(name, "probe_admin");
  }
  AddProject(name, attributes);
}

std::string InPlaceFleet::Everything(const std::string& ref) {
  const Finished dump =
      RunToEnd({.argv = {"/usr/bin/pg_dump", "--schema-only", "--restrict-key=same",
                         "--exclude-schema=pgconvoy_transform", "-d", server_->SocketConninfo(ref)}});
  if (dump.exit_code != 0) {
    throw std::runtime_error("pg_dump: " + dump.err);
  }
  std::string everything = WithSortedGrants(dump.out) + server_->QueryValue(ref, kSequences);
  for (const auto& table : server_->QueryRows(ref, kTables)) {
    everything +=
        "\n" + table[0] + " " +
        server_->QueryValue(
            ref, "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) || count(*) FROM " + table[0] + " t");
  }
  return everything;
}

std::string InPlaceFleet::RegistryValue(const std::string& ref, const std::string& column) {
  return server_->QueryValue("platform", "SELECT " + column + "::text FROM public.apps WHERE ref = '" + ref + "'");
}

v1::Migration InPlaceFleet::Run(const std::string& migration) {
  StartWorker("w");
  return WaitEnded(migration);
}

}  // namespace pgconvoy::testing
