// The bounded queue between the service's threads and the runtime's one thread.
//
// It is open while this process leads. What is pushed while it is closed is refused, so that nothing of one term can
// leak into the next.
// Thread safety: Push from any thread; Wait, Close and Open from the runtime's thread; Stop from any.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "coordinator/core/core.h"
#include "coordinator/runtime/worker_stream.h"

namespace pgconvoy::runtime {

// Asks the core why a project waits.
struct WaitQuestion {
  MigrationId migration;
  std::string ref;
  std::function<void(core::WaitCause)> answer;
};

struct Item {
  std::variant<core::Event, WaitQuestion> what;
  // With a WorkerHello only.
  std::shared_ptr<WorkerStream> stream;
  // With SubmitMigration and Command only; called once.
  std::function<void(const core::Reply&)> done;
};

class EventQueue {
 public:
  explicit EventQueue(size_t capacity) : capacity_(capacity) {}

  // PGC-STORE-UNAVAILABLE while closed, PGC-COORD-OVERLOADED when full; the item is untouched then.
  absl::Status Push(Item&& item);
  // All of them or none.
  absl::Status PushAll(std::vector<Item>&& items);

  // Waits until there is an item that may be taken, `deadline_ms` (of `clock`) has come, or Poke() or Stop() was
  // called; then takes at most `limit` items, which may be none. `drained` says whether the queue is empty now.
  std::vector<Item> Wait(Clock& clock, MonotonicMs deadline_ms, size_t limit, bool& drained);

  // Ends the present wait, or the next one.
  void Poke();

  void Open();
  // Returns what was still queued.
  std::vector<Item> Close();

  // Ends every wait from now on.
  void Stop();
  bool stopped() const;
  // Sleeps, at most until Stop().
  void Pause(MonotonicMs ms);

 private:
  absl::Status CheckLocked(size_t more) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t capacity_;
  mutable Mutex mutex_;
  Condition changed_;
  std::vector<Item> items_ ABSL_GUARDED_BY(mutex_);
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  bool poked_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace pgconvoy::runtime
