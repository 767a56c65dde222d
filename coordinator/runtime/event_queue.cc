#include "coordinator/runtime/event_queue.h"

#include <algorithm>
#include <chrono>
#include <iterator>

#include "common/base/error.h"

namespace pgconvoy::runtime {

absl::Status EventQueue::CheckLocked(size_t more) const {
  if (!open_ || stopped_) {
    return MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", "this coordinator does not lead at the moment",
                     "try again");
  }
  if (items_.size() + more > capacity_) {
    return MakeError(Verdict::kTransient, "PGC-COORD-OVERLOADED", "too many events wait for the coordinator",
                     "try again");
  }
  return absl::OkStatus();
}

absl::Status EventQueue::Push(Item&& item) {
  {
    const MutexLock lock(mutex_);
    PGC_RETURN_IF_ERROR(CheckLocked(1));
    items_.push_back(std::move(item));
  }
  changed_.NotifyOne();
  return absl::OkStatus();
}

absl::Status EventQueue::PushAll(std::vector<Item>&& items) {
  {
    const MutexLock lock(mutex_);
    PGC_RETURN_IF_ERROR(CheckLocked(items.size()));
    items_.insert(items_.end(), std::make_move_iterator(items.begin()), std::make_move_iterator(items.end()));
  }
  changed_.NotifyOne();
  return absl::OkStatus();
}

std::vector<Item> EventQueue::Wait(Clock& clock, MonotonicMs deadline_ms, size_t limit, bool& drained) {
  MutexLock lock(mutex_);
  const MonotonicMs wait_ms = std::max<MonotonicMs>(0, deadline_ms - clock.NowMonotonic());
  changed_.WaitFor(lock, std::chrono::milliseconds(wait_ms), [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return (limit > 0 && !items_.empty()) || poked_ || stopped_;
  });
  poked_ = false;
  std::vector<Item> taken;
  if (items_.size() <= limit) {
    taken.swap(items_);
  } else {
    const auto end = items_.begin() + static_cast<std::ptrdiff_t>(limit);
    taken.assign(std::make_move_iterator(items_.begin()), std::make_move_iterator(end));
    items_.erase(items_.begin(), end);
  }
  drained = items_.empty();
  return taken;
}

void EventQueue::Poke() {
  {
    const MutexLock lock(mutex_);
    poked_ = true;
  }
  changed_.NotifyAll();
}

void EventQueue::Open() {
  const MutexLock lock(mutex_);
  open_ = true;
}

std::vector<Item> EventQueue::Close() {
  const MutexLock lock(mutex_);
  open_ = false;
  return std::exchange(items_, {});
}

void EventQueue::Stop() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  changed_.NotifyAll();
}

bool EventQueue::stopped() const {
  const MutexLock lock(mutex_);
  return stopped_;
}

void EventQueue::Pause(MonotonicMs ms) {
  MutexLock lock(mutex_);
  changed_.WaitFor(lock, std::chrono::milliseconds(ms),
                   [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_; });
}

}  // namespace pgconvoy::runtime
