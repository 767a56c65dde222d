// What is moved to and fro: a fleet with one plan and two servers, and the plain SQL by which it is judged.
//
// Errors: std::runtime_error when a server cannot be started or asked. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "tests/integration/installation.h"

namespace pgconvoy::testing {

// How often each row is there, by its table and text.
using RowCounts = std::map<std::string, int64_t>;

class World {
 public:
  virtual ~World() = default;

  virtual Installation& fleet() = 0;
  virtual PgCluster& source() = 0;
  virtual PgCluster& target() = 0;
  // Workers that are started afterwards reach the servers so.
  virtual void PlaceServers(const std::string& source_conninfo, const std::string& target_conninfo) = 0;
  // Whether a table is so large that its indexes are made after its rows have come in.
  virtual bool HasLargeTables() const = 0;
  // The shortest and the longest life of a worker that is to be killed: enough to get somewhere.
  virtual std::pair<int, int> WorkerLifeMs() const = 0;

  // "" when a project has arrived as it should, or is as if nothing had ever happened; otherwise what is wrong.
  virtual std::string WhyNotMoved(const std::string& ref) = 0;
  virtual std::string WhyNotUntouched(const std::string& ref) = 0;
  // Its rows on the source, and in its database on the target.
  virtual RowCounts SourceRows(const std::string& ref) = 0;
  virtual RowCounts TargetRows(const std::string& ref) = 0;
  virtual std::string TargetDatabase(const std::string& ref) = 0;
  // Everything that a migration of the project must leave alone on the source; two of them are compared.
  virtual std::string SourceState(const std::string& ref) = 0;
};

// isolate-projects: rows of shared tables become databases.
std::unique_ptr<World> MakeIsolation(int projects);
// relocate-databases: whole databases, some with a table of their own, go to another server.
std::unique_ptr<World> MakeRelocation(int projects);

}  // namespace pgconvoy::testing
