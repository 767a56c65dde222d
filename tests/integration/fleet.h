// A whole installation for one test: a shared source with registry and seeded projects, an isolated target, a status
// store, a coordinator and any number of workers, all of them real processes on this machine.
//
// Errors: everything throws std::runtime_error, which fails the test.
// Thread safety: one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/crypto/crypto.h"
#include "pgconvoy/v1/migration.pb.h"
#include "pgconvoy/v1/migration_service.pb.h"
#include "pgconvoy/v1/plan.pb.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace pgconvoy::testing {

class Fleet {
 public:
  struct Options {
    int projects = 4;
    std::string lease_ttl = "3s";
  };
  explicit Fleet(const Options& options);
  ~Fleet();

  PgCluster& source() { return *source_; }
  PgCluster& target() { return *target_; }
  PgCluster& store() { return *store_; }
  // Refs of the seeded projects, in order.
  const std::vector<std::string>& refs() const { return refs_; }
  const std::string& folder() const { return folder_.path(); }
  const std::string& backup_dir() const { return backup_dir_; }
  const Secret& private_key() const { return keys_.private_key; }
  // host:port of the coordinator.
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // The shipped plan isolate-projects; change it before Submit.
  v1::Plan& plan() { return plan_; }
  // Environment of every process that is started afterwards.
  std::map<std::string, std::string>& env() { return env_; }

  // Starts it and waits until it serves. `failpoints` as in common/base/failpoint.h.
  void StartCoordinator(const std::string& failpoints = "");
  Process& coordinator() { return *coordinator_; }
  // The process is gone when this returns.
  void KillCoordinator();
  // Starts another coordinator on the same store. Workers know its address from the beginning; calls go to it from now
  // on. Returns the one before, which was not told anything.
  std::unique_ptr<Process> StartSecondCoordinator();

  // Starts a worker under this id; the same id again replaces one that is dead.
  Process& StartWorker(const std::string& id, const std::string& failpoints = "", int slots = 2);
  Process& worker(const std::string& id) { return *workers_.at(id); }
  std::string WorkerLog(const std::string& id) const;
  std::string CoordinatorLog() const;

  // Submits these refs (default: all) and returns the migration's id.
  std::string Submit(std::vector<std::string> refs = {});
  v1::Migration Get(const std::string& migration);
  v1::Project GetProject(const std::string& migration, const std::string& ref);
  // Waits until the migration has ended; throws with what is left to do when it has not after `seconds`.
  v1::Migration WaitEnded(const std::string& migration, int seconds = 60);
  // Waits until a project's running phase is `phase`.
  void WaitPhase(const std::string& migration, const std::string& ref, v1::Phase phase, int seconds = 30);
  void Rollback(const std::string& migration, const std::string& ref, bool discard_writes);
  void Retry(const std::string& migration, const std::string& ref);
  void Cancel(const std::string& migration);
  void Pause(const std::string& migration);
  void Resume(const std::string& migration);

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

 private:
  void SeedSource(int projects);
  void PrepareTarget();
  void RunPsql(PgCluster& cluster, const std::string& database, const std::string& file);

  TempDir folder_;
  std::string lease_ttl_;
  std::string backup_dir_;
  KeyPair keys_;
  v1::Plan plan_;
  std::map<std::string, std::string> env_;
  std::vector<std::string> refs_;
  std::unique_ptr<PgCluster> source_;
  std::unique_ptr<PgCluster> target_;
  std::unique_ptr<PgCluster> store_;
  int port_ = 0;
  int second_port_ = 0;
  // Where workers look for a coordinator.
  std::string coordinators_;
  std::unique_ptr<Process> coordinator_;
  std::map<std::string, std::unique_ptr<Process>> workers_;
};

}  // namespace pgconvoy::testing
