#include "coordinator/service/thread_pool.h"

#include <utility>

namespace pgconvoy::service {

ThreadPool::ThreadPool(int threads, size_t capacity) : capacity_(capacity) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Loop(); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

bool ThreadPool::Run(std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (waiting_.size() >= capacity_) {
      return false;
    }
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
  return true;
}

bool ThreadPool::WaitIdle(std::chrono::milliseconds most) {
  std::unique_lock<std::mutex> lock(mutex_);
  return idle_.wait_for(lock, most, [this] { return working_ == 0 && waiting_.empty(); });
}

void ThreadPool::Loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) {
      return;
    }
    const std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    ++working_;
    lock.unlock();
    work();
    lock.lock();
    --working_;
    idle_.notify_all();
  }
}

}  // namespace pgconvoy::service
