// A few threads for work that may wait for the store, so that gRPC's own threads never do.
//
// Thread safety: Run from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

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
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_;
  int working_ = 0;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace pgconvoy::service
