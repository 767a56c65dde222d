// Hands tasks (read the registry, describe a plan, verify a backup, reconcile a server) to connected workers and their
// results back to whoever waits. In memory only: a task leaves nothing behind when it is lost.
//
// Thread safety: any thread. A sink is called on the thread of OnResult, RemoveStream, Start or Stop, or on the
// broker's own, with no lock held.
// Errors: PGC-NO-WORKER (Unavailable) when no worker takes the task in time, or its worker goes away.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "coordinator/core/core.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::service {

class TaskStream {
 public:
  virtual ~TaskStream() = default;
  virtual void SendTask(const v1::Task& task) = 0;
};

class TaskSink {
 public:
  virtual ~TaskSink() = default;
  // Any number of times.
  virtual void OnItems(const v1::TaskResult& result) = 0;
  // Once, last.
  virtual void OnEnd(const absl::Status& status) = 0;
};

class TaskBroker {
 public:
  // How long a task waits for a worker.
  static constexpr MonotonicMs kWaitForWorkerMs = 10'000;

  explicit TaskBroker(MonotonicMs wait_for_worker_ms = kWaitForWorkerMs);
  // Stops.
  ~TaskBroker();
  TaskBroker(const TaskBroker&) = delete;
  TaskBroker& operator=(const TaskBroker&) = delete;

  void AddStream(core::StreamId id, std::shared_ptr<TaskStream> stream, bool draining);
  void SetDraining(core::StreamId id, bool draining);
  void RemoveStream(core::StreamId id);
  void OnResult(core::StreamId id, const v1::TaskResult& result);

  // Ends all tasks, and every later one at once.
  void Stop();

  // Returns the id of the task; the id in `task` is set here.
  std::string Start(v1::Task task, std::shared_ptr<TaskSink> sink);
  // The sink hears nothing more. For callers that have gone away.
  void Forget(const std::string& task_id);

 private:
  struct Worker {
    std::shared_ptr<TaskStream> stream;
    bool draining = false;
    int running = 0;
  };
  struct Running {
    v1::Task task;
    std::shared_ptr<TaskSink> sink;
    // 0: waits for a worker.
    core::StreamId worker;
    std::chrono::steady_clock::time_point give_up;
  };
  using Sinks = std::vector<std::shared_ptr<TaskSink>>;

  void AssignLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EraseLocked(std::map<std::string, Running>::iterator task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Loop();

  const std::chrono::milliseconds wait_for_worker_;
  Mutex mutex_;
  Condition changed_;
  std::map<core::StreamId, Worker> workers_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Running> tasks_ ABSL_GUARDED_BY(mutex_);
  int64_t next_task_ ABSL_GUARDED_BY(mutex_) = 1;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pgconvoy::service
