// A mutex and a condition whose use clang checks: -Wthread-safety is an error in `./dev lint`. They are std::mutex and
// std::condition_variable with names that the analysis understands. What a mutex guards says so: ABSL_GUARDED_BY.
//
// Thread safety: any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"

namespace pgconvoy {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds the mutex while it lives, but between Unlock() and Lock().
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() ABSL_UNLOCK_FUNCTION() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Unlock() ABSL_UNLOCK_FUNCTION() { lock_.unlock(); }
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { lock_.lock(); }

 private:
  friend class Condition;
  std::unique_lock<std::mutex> lock_;
};

// The predicate is called with the lock held; where it reads what the mutex guards, it says
// ABSL_EXCLUSIVE_LOCKS_REQUIRED.
class Condition {
 public:
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

  template <typename Predicate>
  void Wait(MutexLock& lock, Predicate predicate) {
    condition_.wait(lock.lock_, predicate);
  }

  // The last result of the predicate.
  template <typename Predicate>
  bool WaitFor(MutexLock& lock, std::chrono::milliseconds most, Predicate predicate) {
    return condition_.wait_for(lock.lock_, most, predicate);
  }

  // May end early, for nothing. False once the time is over.
  bool WaitFor(MutexLock& lock, std::chrono::milliseconds most) {
    return condition_.wait_for(lock.lock_, most) == std::cv_status::no_timeout;
  }
  bool WaitUntil(MutexLock& lock, std::chrono::steady_clock::time_point end) {
    return condition_.wait_until(lock.lock_, end) == std::cv_status::no_timeout;
  }

 private:
  std::condition_variable condition_;
};

}  // namespace pgconvoy
