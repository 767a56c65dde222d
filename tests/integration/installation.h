// An installation for one test: a status store, a coordinator and any number of workers, all of them real processes on
// this machine. What they work on, servers with projects and the plan, is added by whoever derives from it.
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

// A file of the source tree.
std::string SourceFile(const std::string& relative);

class Installation {
 public:
  explicit Installation(const std::string& lease_ttl);
  virtual ~Installation();

  PgCluster& store() { return *store_; }
  // Refs of the seeded projects, in order.
  const std::vector<std::string>& refs() const { return refs_; }
  const std::map<std::string, std::string>& attributes(const std::string& ref) const { return attributes_.at(ref); }
  const std::string& folder() const { return folder_.path(); }
  const std::string& backup_dir() const { return backup_dir_; }
  const Secret& private_key() const { return keys_.private_key; }
  int coordinator_port() const { return port_; }
  // host:port of the coordinator.
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // The shipped plan; change it before Submit.
  v1::Plan& plan() { return plan_; }
  // Environment of every process that is started afterwards. Holds PGCONVOY_RECIPIENT and PGCONVOY_BACKUP_DIR.
  std::map<std::string, std::string>& env() { return env_; }

  // Workers that are started afterwards run through `command`, such as one that puts them into a network namespace, and
  // look for the coordinator at `host`. No command: as at the beginning.
  void PlaceWorkers(const std::vector<std::string>& command, const std::string& host);
  // Workers that are started afterwards look for the coordinator at this port of this machine, and nowhere else.
  void PlaceWorkersBehind(int port) { coordinators_ = "127.0.0.1:" + std::to_string(port); }
  // The coordinator, once it is started, takes calls in plaintext on every address.
  void ListenEverywhere() { listen_host_ = "0.0.0.0"; }

  // Starts it and waits until it serves. `failpoints` as in common/base/failpoint.h.
  void StartCoordinator(const std::string& failpoints = "");
  // The same with a store that is reached in another way.
  void StartCoordinatorAt(const std::string& store);
  Process& coordinator() { return *coordinator_; }
  // The process is gone when this returns.
  void KillCoordinator();
  // Starts another coordinator on the same store. Workers know its address from the beginning; calls go to it from now
  // on. Returns the one before, which was not told anything.
  std::unique_ptr<Process> StartSecondCoordinator();

  // Starts a worker under this id; the same id again replaces one that is dead.
  Process& StartWorker(const std::string& id, const std::string& failpoints = "", int slots = 2);
  Process& worker(const std::string& id) { return *workers_.at(id); }
  bool HasWorker(const std::string& id) const { return workers_.contains(id); }
  std::string WorkerLog(const std::string& id) const;
  std::string CoordinatorLog() const;

  // Submits these refs (default: all) with the attributes that AddProject gave them; returns the migration's id.
  std::string Submit(std::vector<std::string> refs = {});
  void SetAttribute(const std::string& ref, const std::string& name, const std::string& value) {
    attributes_[ref][name] = value;
  }
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

 protected:
  // Ends workers and coordinator; for the destructor of a class that owns the servers they work on.
  void StopProcesses();
  // Loads plans/<name>.yaml; to be called once its environment is in env().
  void LoadShippedPlan(const std::string& name);
  // Puts a new password into the environment under each name.
  void MakePasswords(const std::vector<std::string>& names);
  // Runs a file of the source tree with psql as the superuser; env() is its environment. `variables`: name=value;
  // "role" is the role to act as.
  void RunPsql(PgCluster& cluster,
               const std::string& database,
               const std::string& file,
               const std::vector<std::string>& variables = {});
  void AddProject(const std::string& ref, const std::map<std::string, std::string>& attributes = {});

 private:
  void LaunchCoordinator(const std::string& store, const std::string& failpoints);

  TempDir folder_;
  std::string lease_ttl_;
  std::string backup_dir_;
  KeyPair keys_;
  v1::Plan plan_;
  std::map<std::string, std::string> env_;
  std::vector<std::string> refs_;
  std::map<std::string, std::map<std::string, std::string>> attributes_;
  std::unique_ptr<PgCluster> store_;
  int port_ = 0;
  int second_port_ = 0;
  std::string listen_host_ = "127.0.0.1";
  // What workers are started through, and where they look for a coordinator.
  std::vector<std::string> worker_command_;
  std::string coordinators_;
  std::unique_ptr<Process> coordinator_;
  std::map<std::string, std::unique_ptr<Process>> workers_;
};

}  // namespace pgconvoy::testing
