// The fleet of project-credentials: one server with the registry and a database for each project, all reached with one
// fallback login.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/integration/installation.h"

namespace pgconvoy::testing {

class CredentialsFleet : public Installation {
 public:
  struct Options {
    int projects = 4;
    std::string lease_ttl = "3s";
  };
  explicit CredentialsFleet(const Options& options);
  ~CredentialsFleet() override { StopProcesses(); }

  PgCluster& server() { return *server_; }
  static std::string Database(const std::string& ref) { return "app_" + ref; }
  static std::string User(const std::string& ref) { return "project_" + ref; }
  // The new login's password, opened with the operator's key.
  Secret Reveal(const std::string& migration, const std::string& ref);
  // "" when the statement works for this login in the project's database over TCP, else the SQLSTATE.
  std::string TryAs(const std::string& user, const Secret& password, const std::string& ref, const std::string& sql);
  std::string TryAsFallback(const std::string& ref, const std::string& sql = "SELECT 1");

  // "" when the project has its login, by plain SQL: registry row, role, fallback kept out, nothing of ours left over.
  std::string WhyNotMigrated(const std::string& ref);
  // "" when the project is as if nothing had ever happened: registry row, no role, definitions, owners, privileges and
  // who may connect are those of the beginning, and the fallback works.
  std::string WhyNotUntouched(const std::string& ref);
  // Definitions with owners and privileges of a project's database and of the database itself.
  std::string Access(const std::string& ref);
  // Takes what is there now as what a rollback must bring back.
  void Remember();
  // Logins that attempts or migrations have made.
  std::string Leftovers();

 private:
  std::string RegistryRow(const std::string& ref);

  std::unique_ptr<PgCluster> server_;
  std::map<std::string, std::string> access_;
  std::map<std::string, std::string> registry_;
};

}  // namespace pgconvoy::testing
