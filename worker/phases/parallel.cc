#include "worker/phases/parallel.h"

#include <algorithm>
#include <thread>

#include "common/base/mutex.h"

namespace pgconvoy::worker {
namespace {

class Tasks {
 public:
  Tasks(size_t count, const std::function<absl::Status(pg::Connection&, size_t)>& run) : count_(count), run_(run) {}

  void Work(pg::Connection& session) {
    size_t task = 0;
    while (Take(task)) {
      if (const absl::Status done = run_(session, task); !done.ok()) {
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
    return error_.ok() && next_++ < count_;
  }

  void Fail(size_t task, const absl::Status& why) {
    const MutexLock lock(mutex_);
    if (error_.ok() || task < failed_) {
      error_ = why;
      failed_ = task;
    }
  }

  const size_t count_;
  const std::function<absl::Status(pg::Connection&, size_t)>& run_;
  Mutex mutex_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

size_t SessionsFor(int64_t bytes) { return static_cast<size_t>(1 + bytes / kBytesPerTask); }

absl::Status RunOnSessions(const std::vector<pg::Connection*>& sessions,
                           size_t tasks,
                           const std::function<absl::Status(pg::Connection& session, size_t task)>& run) {
  Tasks work(tasks, run);
  {
    std::vector<std::jthread> others;
    for (size_t i = 1; i < std::min(sessions.size(), tasks); ++i) {
      others.emplace_back([&work, session = sessions[i]] { work.Work(*session); });
    }
    work.Work(*sessions[0]);
  }
  return work.error();
}

}  // namespace pgconvoy::worker
