#include "coordinator/service/thread_pool.h"

#include <utility>

#include "common/base/error.h"

namespace pgconvoy::service {

ThreadPool::ThreadPool(int threads, size_t capacity) : capacity_(capacity) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Loop(); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

bool ThreadPool::Run(std::function<void()> work) {
  {
    const MutexLock lock(mutex_);
    if (waiting_.size() >= capacity_) {
      return false;
    }
    waiting_.push_back(std::move(work));
  }
  changed_.NotifyOne();
  return true;
}

bool ThreadPool::WaitIdle(std::chrono::milliseconds most) {
  MutexLock lock(mutex_);
  return idle_.WaitFor(lock, most,
                       [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return working_ == 0 && waiting_.empty(); });
}

void ThreadPool::Loop() {
  MutexLock lock(mutex_);
  while (true) {
    changed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) {
      return;
    }
    const std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    ++working_;
    lock.Unlock();
    work();
    lock.Lock();
    --working_;
    idle_.NotifyAll();
  }
}

absl::Status Overloaded() {
  return MakeError(Verdict::kTransient, "PGC-COORD-OVERLOADED", "too many calls wait", "try again");
}

}  // namespace pgconvoy::service
