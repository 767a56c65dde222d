#include "coordinator/service/task_broker.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace pgconvoy::service {
namespace {

absl::Status NoWorker(const std::string& what) {
  return MakeError(Verdict::kTransient, "PGC-NO-WORKER", what, "start a worker, or wait for one to connect");
}

absl::Status ToStatus(const v1::Error& error) {
  const Verdict verdict = error.verdict() == v1::TRANSIENT  ? Verdict::kTransient
                          : error.verdict() == v1::OPERATOR ? Verdict::kOperator
                                                            : Verdict::kPermanent;
  return MakeError(verdict, error.code().empty() ? "PGC-TASK-FAILED" : error.code(), error.message(), error.remedy());
}

}  // namespace

TaskBroker::TaskBroker(MonotonicMs wait_for_worker_ms)
    : wait_for_worker_(wait_for_worker_ms), thread_([this] { Loop(); }) {}

TaskBroker::~TaskBroker() { Stop(); }

void TaskBroker::Stop() {
  std::map<std::string, Running> left;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    left.swap(tasks_);
  }
  changed_.NotifyAll();
  if (thread_.joinable()) {
    thread_.join();
  }
  for (auto& [id, task] : left) {
    task.sink->OnEnd(NoWorker("the coordinator stops"));
  }
}

void TaskBroker::AddStream(core::StreamId id, std::shared_ptr<TaskStream> stream, bool draining) {
  const MutexLock lock(mutex_);
  workers_[id] = {std::move(stream), draining, 0};
  AssignLocked();
}

void TaskBroker::SetDraining(core::StreamId id, bool draining) {
  const MutexLock lock(mutex_);
  if (const auto it = workers_.find(id); it != workers_.end()) {
    it->second.draining = draining;
  }
}

void TaskBroker::RemoveStream(core::StreamId id) {
  Sinks orphans;
  {
    const MutexLock lock(mutex_);
    workers_.erase(id);
    for (auto it = tasks_.begin(); it != tasks_.end();) {
      if (it->second.worker == id) {
        orphans.push_back(it->second.sink);
        it = tasks_.erase(it);
      } else {
        ++it;
      }
    }
  }
  for (const auto& sink : orphans) {
    sink->OnEnd(NoWorker("the worker that ran this has gone away"));
  }
}

void TaskBroker::OnResult(core::StreamId id, const v1::TaskResult& result) {
  std::shared_ptr<TaskSink> sink;
  const bool ends = result.done() || result.has_error();
  {
    const MutexLock lock(mutex_);
    const auto it = tasks_.find(result.task_id());
    if (it == tasks_.end() || it->second.worker != id) {
      return;
    }
    sink = it->second.sink;
    if (ends) {
      EraseLocked(it);
    }
  }
  if (result.projects_size() + result.descriptions_size() + result.lines_size() + result.candidates_size() +
          result.inspections_size() + result.changes_size() >
      0) {
    sink->OnItems(result);
  }
  if (ends) {
    sink->OnEnd(result.has_error() ? ToStatus(result.error()) : absl::OkStatus());
  }
}

std::string TaskBroker::Start(v1::Task task, std::shared_ptr<TaskSink> sink) {
  MutexLock lock(mutex_);
  const std::string id = "task-" + std::to_string(next_task_++);
  if (stopping_) {
    lock.Unlock();
    sink->OnEnd(NoWorker("the coordinator stops"));
    return id;
  }
  task.set_task_id(id);
  tasks_[id] = {std::move(task), std::move(sink), {}, std::chrono::steady_clock::now() + wait_for_worker_};
  AssignLocked();
  changed_.NotifyAll();
  return id;
}

void TaskBroker::Forget(const std::string& task_id) {
  const MutexLock lock(mutex_);
  if (const auto it = tasks_.find(task_id); it != tasks_.end()) {
    EraseLocked(it);
  }
}

void TaskBroker::EraseLocked(std::map<std::string, Running>::iterator task) {
  if (const auto worker = workers_.find(task->second.worker); worker != workers_.end()) {
    --worker->second.running;
  }
  tasks_.erase(task);
}

// Every waiting task goes to the worker that runs the fewest.
void TaskBroker::AssignLocked() {
  for (auto& [id, task] : tasks_) {
    if (task.worker.value != 0) {
      continue;
    }
    Worker* best = nullptr;
    for (auto& [stream, worker] : workers_) {
      if (!worker.draining && (best == nullptr || worker.running < best->running)) {
        best = &worker;
        task.worker = stream;
      }
    }
    if (best == nullptr) {
      return;
    }
    ++best->running;
    best->stream->SendTask(task.task);
  }
}

// Gives up on tasks that have waited too long.
void TaskBroker::Loop() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    const auto now = std::chrono::steady_clock::now();
    auto next = now + std::chrono::hours(1);
    Sinks late;
    for (auto it = tasks_.begin(); it != tasks_.end();) {
      if (it->second.worker.value == 0 && it->second.give_up <= now) {
        late.push_back(it->second.sink);
        it = tasks_.erase(it);
        continue;
      }
      if (it->second.worker.value == 0) {
        next = std::min(next, it->second.give_up);
      }
      ++it;
    }
    if (late.empty()) {
      changed_.WaitUntil(lock, next);
      continue;
    }
    lock.Unlock();
    for (const auto& sink : late) {
      sink->OnEnd(NoWorker("no worker has connected"));
    }
    lock.Lock();
  }
}

}  // namespace pgconvoy::service
