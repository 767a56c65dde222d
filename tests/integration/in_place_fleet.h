// The fleet of the plans that change databases in place: applications, each with a database of its own on one server,
// seeded as the demo of the plan seeds them.
#pragma once

#include <memory>
#include <string>

#include "tests/integration/installation.h"

namespace pgconvoy::testing {

class InPlaceFleet : public Installation {
 public:
  // `plan`: unify-auth or consolidate-roles.
  InPlaceFleet(const std::string& plan, int apps, const std::string& lease_ttl = "3s");
  ~InPlaceFleet() override { StopProcesses(); }

  PgCluster& server() { return *server_; }

  // Everything in an application's database but what pgconvoy itself keeps there: definitions, privileges, rows and
  // sequences, as text to be compared.
  std::string Everything(const std::string& ref);
  // The registry's column for one application.
  std::string RegistryValue(const std::string& ref, const std::string& column);
  // Starts worker "w" and waits for the end.
  v1::Migration Run(const std::string& migration);

  // deploy/sql/migration_views.sql in the status store.
  void AddViewsToStore() { RunPsql(store(), "postgres", "deploy/sql/migration_views.sql"); }

 private:
  void MakeApp(const std::string& plan, int number);

  std::unique_ptr<PgCluster> server_;
};

}  // namespace pgconvoy::testing
