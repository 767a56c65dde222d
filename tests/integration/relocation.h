// The fleet of relocate-databases: projects that have a database of their own on an old server, and a new server.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/integration/installation.h"

namespace pgconvoy::testing {

// Of two texts that differ.
std::string FirstLineThatDiffers(const std::string& there, const std::string& here);

class Relocation : public Installation {
 public:
  struct Options {
    int projects = 2;
    // Major versions of the servers; 0: Debian's.
    int old_version = 0;
    int new_version = 0;
    std::string lease_ttl = "3s";
    // Of the old and the new server; the store's always is.
    bool durable = false;
  };
  explicit Relocation(const Options& options);
  ~Relocation() override { StopProcesses(); }

  PgCluster& old_server() { return *servers_.at("old"); }
  PgCluster& new_server() { return *servers_.at("new"); }
  PgCluster& server(const std::string& name) { return *servers_.at(name); }
  // Starts one more server and names it in the plan, with the logins that "old" or "new" has there.
  void AddServer(const std::string& name, const std::string& like);
  // Makes a project's database on a server, seeded with the rows of project number `n`.
  void AddDatabase(const std::string& server, const std::string& ref, int n);

  std::string database(const std::string& ref) const { return "vision_" + ref; }
  // As the superuser, in the project's database on the old server.
  void OnSource(const std::string& ref, const std::string& sql) { old_server().Exec(database(ref), sql); }
  std::string OnTarget(const std::string& ref, const std::string& sql) {
    return new_server().QueryValue(database(ref), sql);
  }

  // "" when the project's database is on `to` as it is on `from`, rows, sequences and definitions, its login works and
  // the registry says so. Otherwise what is wrong.
  std::string WhyNotRelocated(const std::string& ref, const std::string& from = "old", const std::string& to = "new");
  // "" when nothing of the project is on `to` and the registry is as it was.
  std::string WhyNotUntouched(const std::string& ref, const std::string& from = "old", const std::string& to = "new");
  // Everything that a dump of a server's database holds: rows, sequences, definitions in an order of their own.
  std::string Dump(const std::string& server, const std::string& ref);
  // Names on a server that only attempts use.
  std::string Leftovers(const std::string& server = "new");

 private:
  void SeedRegistry();

  std::map<std::string, std::unique_ptr<PgCluster>> servers_;
};

}  // namespace pgconvoy::testing
