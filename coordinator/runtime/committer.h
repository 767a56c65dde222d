// The thread that waits for the store, so that the runtime can apply the next group while this one is being committed.
// One group at a time; what a group's messages need of the store is read behind its commit.
//
// Thread safety: Begin, Take and busy from one thread, the runtime's. Nobody else may use the store while busy().
// Ownership: the store must outlive the groups that were begun.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "coordinator/core/core.h"
#include "coordinator/runtime/event_queue.h"
#include "coordinator/store/store.h"

namespace pgconvoy::runtime {

// Events that are applied and committed together, and what they lead to.
struct Group {
  std::vector<Item> items;
  core::Output output;
  // Migrations whose plan a grant of this group needs.
  std::vector<MigrationId> plans_wanted;

  // Set once committed. `status` is that of the commit or of the first read behind it.
  bool committed = false;
  absl::Status status;
  std::map<MigrationId, std::string> plans;
  std::map<ProjectId, store::History> histories;

  bool Empty() const { return items.empty() && output.writes.Empty() && output.messages.empty(); }
};

class Committer {
 public:
  // `done` is called on the committer's thread whenever Take() has something to give.
  explicit Committer(std::function<void()> done);
  // Waits for the group in hand.
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // Not while busy().
  void Begin(store::Store& store, Group group);
  // A group was begun that was not taken yet.
  bool busy() const { return busy_; }
  // The group that was begun, once the store has answered.
  std::optional<Group> Take();
  // Until Take() has something to give. Only while busy().
  void WaitFinished();

 private:
  void Loop();

  const std::function<void()> done_;
  // Of the runtime's thread.
  bool busy_ = false;

  Mutex mutex_;
  Condition changed_;
  store::Store* store_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::optional<Group> begun_ ABSL_GUARDED_BY(mutex_);
  std::optional<Group> finished_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace pgconvoy::runtime
