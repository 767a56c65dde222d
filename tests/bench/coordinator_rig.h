// What benchmarks of the coordinator share: a durable store with PostgreSQL's defaults, the real coordinator beside it
// as a process, and an operator who submits fleets and looks at the result, in SQL.
//
// Errors: everything throws std::runtime_error. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/pg_cluster.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace grpc {
class Channel;
}

namespace pgconvoy::bench {

// A fleet that is valid for the coordinator and needs no database: nobody moves it but simulated workers. Its plan
// backs up no table, so that an attempt has FENCE, PRE_VALIDATION and CLEANUP alone, the fewest phases a plan can have.
struct FleetSpec {
  int64_t projects = 0;
  // Servers that the projects are spread over.
  int servers = 1;
  // Projects in flight on each.
  int max_projects = 10'000;
  int batch_size = 100;
};
inline constexpr int kPhasesOfFleet = 3;

// A page of projects as `pgconvoy get projects` asks for it.
struct PageRead {
  double seconds = 0;
  int projects = 0;
  std::string last_ref;
  std::string next_token;
};

class CoordinatorRig {
 public:
  // Starts both and waits until the coordinator serves.
  CoordinatorRig();
  ~CoordinatorRig();

  testing::PgCluster& store() { return store_; }
  std::string address() const;

  void StartCoordinator();
  // SIGKILL; the process is gone when this returns.
  void KillCoordinator();

  // Streams a fleet in and returns the migration's id once it is durable.
  std::string Submit(const FleetSpec& fleet);
  void WaitEnded(const std::string& migration);
  // Projects that have ended, as the store has it.
  int64_t Ended(const std::string& migration);
  PageRead ReadPage(const std::string& migration, int page_size, const std::string& token);
  // The token for the page that begins behind this ref.
  static std::string TokenBehind(const std::string& ref);
  static std::string RefOf(int64_t index);

  // Every project SUCCEEDED; one attempt of each, and so one fence; every event of its life in place.
  // `again_allowed`: a project may have had more than one, when a coordinator or a worker has ended in between.
  void CheckSucceeded(const std::string& migration, int64_t projects, bool again_allowed = false);
  // The hash chain of the whole event log.
  void CheckChain();

  // Bytes of write-ahead log so far.
  int64_t WalBytes();
  // VmHWM and VmRSS of the coordinator.
  int64_t PeakMemory() const;
  int64_t Memory() const;
  // CPU seconds so far, of user and system.
  struct Cpu {
    double coordinator = 0;
    // All processes of its server.
    double store = 0;
    // This process.
    double load = 0;
  };
  Cpu CpuSeconds();

 private:
  testing::PgCluster store_;
  testing::TempDir folder_;
  int port_ = 0;
  std::unique_ptr<testing::Process> coordinator_;
  // Of all calls: connecting is no part of what is measured.
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace pgconvoy::bench
