#include "tests/integration/credentials_fleet.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "common/pg/connection.h"
#include "common/pg/pg_error.h"

namespace pgconvoy::testing {
namespace {

// What makes undoing hard: a second owner that may make nothing in the schema, a grant option, columns, defaults.
constexpr char kOdd[] = R"sql(
CREATE ROLE platform_tools NOLOGIN;
GRANT platform_tools TO pgconvoy_provisioner;
CREATE TABLE app.tools (id int PRIMARY KEY, secret text);
ALTER TABLE app.tools OWNER TO platform_tools;
CREATE FUNCTION app.tool() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION app.tool() OWNER TO platform_tools;
REVOKE EXECUTE ON FUNCTION app.tool() FROM PUBLIC;
GRANT SELECT (id) ON app.tools TO app_fallback WITH GRANT OPTION;
GRANT SELECT ON app.customers TO platform_tools WITH GRANT OPTION;
CREATE SCHEMA other;
CREATE TABLE other.kept (id int);
)sql";

// Every ACL as it acts, so that NULL and the default written out are the same.
constexpr char kAcls[] = R"sql(
SELECT pg_catalog.string_agg(line, E'\n' ORDER BY line) FROM (
  SELECT 'class ' || c.oid::regclass || ' ' || pg_get_userbyid(relowner) || ' ' ||
         (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(COALESCE(relacl,
            acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) a) AS line
  FROM pg_class c WHERE relnamespace IN ('app'::regnamespace, 'other'::regnamespace) AND relkind <> 'i'
  UNION ALL
  SELECT 'column ' || attrelid::regclass || '.' || attname || ' ' || attacl::text FROM pg_attribute
  WHERE attacl IS NOT NULL AND attrelid::regclass::text LIKE 'app.%'
  UNION ALL
  SELECT 'routine ' || oid::regprocedure || ' ' || pg_get_userbyid(proowner) || ' ' ||
         (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(COALESCE(proacl, acldefault('f', proowner))) a)
  FROM pg_proc WHERE pronamespace = 'app'::regnamespace
  UNION ALL
  SELECT 'type ' || oid::regtype || ' ' || pg_get_userbyid(typowner) || ' ' || COALESCE(typacl::text, '')
  FROM pg_type WHERE typnamespace = 'app'::regnamespace
  UNION ALL
  SELECT 'schema ' || nspname || ' ' || pg_get_userbyid(nspowner) || ' ' ||
         (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(COALESCE(nspacl, acldefault('n', nspowner))) a)
  FROM pg_namespace WHERE nspname !~ '^pg_'
  UNION ALL
  SELECT concat_ws(' ', 'default', pg_get_userbyid(defaclrole), defaclobjtype, defaclnamespace::regnamespace,
                   defaclacl)
  FROM pg_default_acl
  UNION ALL
  SELECT 'database ' || pg_get_userbyid(datdba) || ' ' ||
         (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(COALESCE(datacl, acldefault('d', datdba))) a)
  FROM pg_database WHERE datname = current_database()
) AS l
)sql";

// The dump's lines with those about privileges at the end and in an order of their own.
std::string WithSortedGrants(const std::string& dump) {
  std::istringstream lines(dump);
  std::string text;
  std::vector<std::string> grants;
  for (std::string line; std::getline(lines, line);) {
    const bool grant =
        line.starts_with("GRANT ") || line.starts_with("REVOKE ") || line.starts_with("ALTER DEFAULT ");
    if (grant) {
      grants.push_back(line);
    } else {
      text += line + "\n";
    }
  }
  std::sort(grants.begin(), grants.end());
  for (const std::string& grant : grants) {
    text += grant + "\n";
  }
  return text;
}

}  // namespace

CredentialsFleet::CredentialsFleet(const Options& options) : Installation(options.lease_ttl) {
  server_ = std::make_unique<PgCluster>();
  MakePasswords({"PGCONVOY_PLATFORM_READER_PASSWORD", "PGCONVOY_PLATFORM_REGISTRAR_PASSWORD",
                 "PGCONVOY_PLATFORM_PROVISIONER_PASSWORD", "PGCONVOY_FALLBACK_PASSWORD"});
  env()["PGCONVOY_PLATFORM_CONNINFO"] = server_->TcpConninfo();
  env()["PGCONVOY_DEMO_PROJECTS"] = std::to_string(options.projects);
  server_->Exec("postgres", "CREATE DATABASE platform");
  server_->Exec("postgres", "CREATE DATABASE app_template");
  const std::string folder = "deploy/demo/project-credentials/";
  RunPsql(*server_, "platform", folder + "10_platform.sql");
  RunPsql(*server_, "platform", folder + "20_logins.sql");
  RunPsql(*server_, "app_template", folder + "30_app.sql");
  server_->Exec("app_template", kOdd);
  RunPsql(*server_, "platform", folder + "40_databases.sql");
  LoadShippedPlan("project-credentials");
  for (const auto& row : server_->QueryRows(
           "platform", "SELECT ref, database_name FROM public.projects WHERE name LIKE 'Project %' ORDER BY ref")) {
    AddProject(row[0], {{"database_name", row[1]}});
  }
  Remember();
  std::ofstream(this->folder() + "/operator.key") << private_key().Reveal();
  ::chmod((this->folder() + "/operator.key").c_str(), 0600);
}

void CredentialsFleet::Remember() {
  for (const std::string& ref : refs()) {
    access_[ref] = Access(ref);
    registry_[ref] = RegistryRow(ref);
  }
}

std::string CredentialsFleet::Access(const std::string& ref) {
  const Finished dump = RunToEnd({.argv = {"/usr/bin/pg_dump", "--schema-only", "--create", "--restrict-key=pgconvoy",
                                           "-d", server_->SocketConninfo(Database(ref))}});
  if (dump.exit_code != 0) {
    throw std::runtime_error("pg_dump: " + dump.err);
  }
  return WithSortedGrants(dump.out) + server_->QueryValue(Database(ref), kAcls);
}

std::string CredentialsFleet::RegistryRow(const std::string& ref) {
  return server_->QueryValue(
      "platform",
      "SELECT p::text || (SELECT count(*) FROM public.credential_history WHERE project_ref = p.ref) FROM "
      "public.projects p WHERE ref = '" +
          ref + "'");
}

Secret CredentialsFleet::Reveal(const std::string& migration, const std::string& ref) {
  const Finished done =
      RunToEnd({.argv = {"pgconvoy", "--address", address(), "--no-input", "-o", "json", "credentials", "reveal",
                         migration, ref, "--key", folder() + "/operator.key"},
                .env = {{"HOME", folder()}}});
  const auto json = nlohmann::json::parse(done.out, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("password")) {
    throw std::runtime_error("credentials reveal: " + done.err + done.out);
  }
  return Secret(json["password"].get<std::string>());
}

std::string CredentialsFleet::TryAs(const std::string& user,
                                    const Secret& password,
                                    const std::string& ref,
                                    const std::string& sql) {
  const auto session = pg::Connection::Open(server_->EndpointFor(user, password.Reveal(), Database(ref)), {});
  if (!session.ok()) {
    return "login " + pg::SqlStateOf(session.status());
  }
  return pg::SqlStateOf((*session)->ExecScript(sql));
}

std::string CredentialsFleet::TryAsFallback(const std::string& ref, const std::string& sql) {
  return TryAs("app_fallback", Secret(env().at("PGCONVOY_FALLBACK_PASSWORD")), ref, sql);
}

std::string CredentialsFleet::WhyNotMigrated(const std::string& ref) {
  const std::string user = User(ref);
  const auto row = server_->QueryRows("platform",
                                      "SELECT database_user, database_password_hash, credential_status, (SELECT "
                                      "count(*) FROM public.credential_history h WHERE h.project_ref = p.ref AND "
                                      "login = database_user) FROM public.projects p WHERE ref = '" +
                                          ref + "'")[0];
  const std::string verifier = server_->QueryValue(
      "postgres", "SELECT rolpassword FROM pg_authid WHERE rolcanlogin AND rolname = '" + user + "'");
  // Verifiers are secrets: only said to differ.
  const std::string said =
      std::string(verifier.empty() ? "no role that may log in; " : "") +
      (row[1] != verifier ? "another verifier; " : "") + (row[0] != user ? "user " + row[0] + "; " : "") +
      (row[2] != "active" ? "status " + row[2] + "; " : "") + (row[3] != "1" ? row[3] + " rows of history; " : "");
  if (!said.empty()) {
    return ref + ": registry and role do not belong together: " + said;
  }
  const auto may = server_->QueryRows(Database(ref), "SELECT has_database_privilege('" + user +
                                                         "', current_database(), 'CONNECT'), "
                                                         "has_database_privilege('app_fallback', current_database(), "
                                                         "'CONNECT'), pg_has_role('pgconvoy_provisioner', '" +
                                                         user + "', 'USAGE')")[0];
  if (may != std::vector<std::string>{"t", "f", "f"}) {
    return ref + ": role, fallback, provisioner: " + may[0] + may[1] + may[2];
  }
  return "";
}

std::string CredentialsFleet::WhyNotUntouched(const std::string& ref) {
  if (server_->QueryValue("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = '" + User(ref) + "'") != "0") {
    return ref + ": the role is still there";
  }
  if (RegistryRow(ref) != registry_[ref]) {
    return ref + ": the registry has " + RegistryRow(ref) + " and not " + registry_[ref];
  }
  if (const std::string now = Access(ref); now != access_[ref]) {
    const auto [before, after] = std::mismatch(access_[ref].begin(), access_[ref].end(), now.begin(), now.end());
    return ref + ": definitions or privileges differ; before: " +
           std::string(before, std::min(before + 300, access_[ref].end())) +
           "\nnow: " + std::string(after, now.end() - after > 300 ? after + 300 : now.end());
  }
  const std::string refused = TryAsFallback(ref, "SELECT count(*) FROM app.customers");
  return refused.empty() ? "" : ref + ": the fallback does not work: " + refused;
}

std::string CredentialsFleet::Leftovers() {
  return server_->QueryValue("postgres",
                             "SELECT string_agg(name, ', ') FROM (SELECT rolname AS name FROM pg_roles UNION ALL "
                             "SELECT datname FROM pg_database) n WHERE name ~ '^pgc_'");
}

}  // namespace pgconvoy::testing
