// A worker: N slots that run attempts, a link to the coordinator, and the tasks that belong to no attempt. Keeps
// nothing that matters: kill it anywhere and another one finishes.
//
// Thread safety: Run once, from main; Drain from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/rpc/tls.h"

namespace pgconvoy::worker {

struct WorkerOptions {
  // As rpc::TargetOf takes it.
  std::string coordinator = "127.0.0.1:7070";
  rpc::Security security;
  // Stable name; see --worker-id.
  std::string worker_id;
  std::string host;
  int slots = 4;
  // How long a drain waits for running attempts before it abandons them at their next safe point.
  int64_t drain_timeout_ms = 60'000;
  // Ends the worker when the coordinator was out of reach for so long.
  int64_t give_up_ms = 600'000;
  // Ends the worker when it had nothing to do for so long; 0: never.
  int64_t exit_when_idle_ms = 0;
};

// How a worker ended; also the process's exit code, which Kubernetes' podFailurePolicy reads.
enum class WorkerExit : int { kDrained = 0, kFailure = 1, kConfiguration = 3, kCoordinatorUnavailable = 69 };

class Worker {
 public:
  explicit Worker(WorkerOptions options);
  ~Worker();
  WorkerExit Run();
  // Takes nothing new, finishes what runs (or abandons it after the drain timeout), gives the rest back, and ends.
  void Drain();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgconvoy::worker
