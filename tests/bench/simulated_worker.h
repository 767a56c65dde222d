// Workers without databases: they speak the worker's protocol over real gRPC streams and report at once what they are
// granted, so that what is measured is the coordinator.
//
// What one reports for a project is either the least that the state machine accepts, PHASE_DONE for each phase of the
// grant and then ATTEMPT_DONE, or what a real worker says as well, PHASE_STARTED before each of them. Results are empty
// but for their phase, direction and fence. Reports that are ready at the same time share a ReportBatch. A project
// counts as completed when the acknowledgement of its last report has come, which the coordinator sends once it is
// durable; of what is granted twice, refused or revoked, the first problem is kept.
// It answers tasks with nothing, and sends no heartbeats: give the coordinator a long lease.
//
// Thread safety: any thread. Errors: the waiting functions throw std::runtime_error with the first problem.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pgconvoy::bench {

struct SimulatedWorkerOptions {
  // host:port of the coordinator.
  std::string address;
  int workers = 8;
  // Of each worker; 256 is the most that a coordinator allows.
  int slots = 256;
  // Also PHASE_STARTED of each phase.
  bool report_starts = false;
  // ReportBatch and AckBatch; else each report and each acknowledgement is a message.
  bool batches = true;
  // Holds what is granted without a report, as a worker that has only begun.
  bool hold = false;
  // A stream that ends before its worker leaves is no problem.
  bool streams_may_end = false;
};

class SimulatedWorkers {
 public:
  // They say Hello at once.
  explicit SimulatedWorkers(const SimulatedWorkerOptions& options);
  // Leaves in order where the coordinator still answers.
  ~SimulatedWorkers();
  SimulatedWorkers(const SimulatedWorkers&) = delete;
  SimulatedWorkers& operator=(const SimulatedWorkers&) = delete;

  int64_t granted() const;
  int64_t completed() const;
  // When the latest grant came.
  std::chrono::steady_clock::time_point last_grant() const;
  // "" as long as nothing went wrong.
  std::string Problem() const;
  // Waits until so many projects were granted or completed; throws std::runtime_error with the problem, or when nothing
  // more comes for a minute.
  void WaitGranted(int64_t projects) const;
  void WaitCompleted(int64_t projects) const;

 private:
  class Worker;
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace pgconvoy::bench
