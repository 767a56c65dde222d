#include "worker/phases/parallel.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "common/base/mutex.h"

namespace pgconvoy::worker {
namespace {

class Tasks {
 public:
  explicit Tasks(const std::vector<SessionTask>& tasks) : tasks_(tasks) {}

  void Work(pg::Connection& session) {
    size_t task = 0;
    while (Take(task)) {
      if (const absl::Status done = tasks_[task](session); !done.ok()) {
        Fail(task, done);
      }
    }
  }

  absl::Status error() {
    const MutexLock lock(mutex_);
    return error_;
  }

 private:
  bool Take(size_t& task) {
    const MutexLock lock(mutex_);
    task = next_;
    return error_.ok() && next_++ < tasks_.size();
  }

  void Fail(size_t task, const absl::Status& why) {
    const MutexLock lock(mutex_);
    if (error_.ok() || task < failed_) {
      error_ = why;
      failed_ = task;
    }
  }

  const std::vector<SessionTask>& tasks_;
  Mutex mutex_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

size_t SessionsFor(int64_t bytes) { return static_cast<size_t>(1 + bytes / kBytesPerTask); }

absl::Status RunOnSessions(const std::vector<pg::Connection*>& sessions, const std::vector<SessionTask>& tasks) {
  Tasks work(tasks);
  {
    std::vector<std::jthread> others;
    for (size_t i = 1; i < std::min(sessions.size(), tasks.size()); ++i) {
      others.emplace_back([&work, session = sessions[i]] { work.Work(*session); });
    }
    work.Work(*sessions[0]);
  }
  return work.error();
}

std::vector<SessionTask> Alternating(std::vector<SessionTask> first, std::vector<SessionTask> second) {
  std::vector<SessionTask> all;
  for (size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    for (std::vector<SessionTask>* const list : {&first, &second}) {
      if (i < list->size()) {
        all.push_back(std::move((*list)[i]));
      }
    }
  }
  return all;
}

}  // namespace pgconvoy::worker
