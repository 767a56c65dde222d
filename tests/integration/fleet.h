// The fleet of isolate-projects: a shared source with registry and seeded projects, and an isolated target.
#pragma once

#include <memory>
#include <string>

#include "tests/integration/installation.h"

namespace pgconvoy::testing {

class Fleet : public Installation {
 public:
  struct Options {
    int projects = 4;
    std::string lease_ttl = "3s";
    // Of source and target; the store's always is.
    bool durable = false;
    // All of them as large as the reference project.
    bool alike = false;
  };
  explicit Fleet(const Options& options);
  ~Fleet() override { StopProcesses(); }

  PgCluster& source() { return *source_; }
  PgCluster& target() { return *target_; }

  // "" when the project is isolated as it should be, judged by plain SQL on both servers: same rows, nobody else's,
  // registry switched to a working login, nothing of ours left over. Otherwise what is wrong.
  std::string WhyNotIsolated(const std::string& ref);
  // "" when the project is as if nothing had ever happened.
  std::string WhyNotUntouched(const std::string& ref);
  // Names on the target that only attempts use, for example "pgc_t_…"; empty when nothing is left over.
  std::string Leftovers();
  // One hash over all rows of a project in the source or in its target database.
  std::string SourceHash(const std::string& ref);
  std::string TargetHash(const std::string& ref);
  // The same of any database of the target server.
  std::string TargetHashOf(const std::string& database);

 private:
  void SeedSource(int projects);

  std::unique_ptr<PgCluster> source_;
  std::unique_ptr<PgCluster> target_;
};

}  // namespace pgconvoy::testing
