// A few threads for work that may wait for the store, so that gRPC's own threads never do.
//
// Thread safety: Run from any thread.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/base/mutex.h"

namespace pgconvoy::service {

class ThreadPool {
 public:
  ThreadPool(int threads, size_t capacity);
  // Finishes what was taken.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // False when too much waits already; the work is not taken then.
  bool Run(std::function<void()> work);

  // Waits until all work that was taken is done; false when it is not after `most`.
  bool WaitIdle(std::chrono::milliseconds most);

 private:
  void Loop();

  const size_t capacity_;
  Mutex mutex_;
  Condition changed_;
  Condition idle_;
  int working_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// What a caller is told whose work was not taken: TRANSIENT PGC-COORD-OVERLOADED.
absl::Status Overloaded();

}  // namespace pgconvoy::service
