#include "coordinator/runtime/committer.h"

#include <utility>
#include <variant>

#include "common/base/error.h"
#include "common/base/failpoint.h"

namespace pgconvoy::runtime {
namespace {

std::vector<ProjectId> GrantedBefore(const core::Output& output) {
  std::vector<ProjectId> projects;
  for (const core::Message& message : output.messages) {
    if (const auto* const grant = std::get_if<core::SendGrant>(&message)) {
      for (const core::GrantedProject& project : grant->projects) {
        if (project.has_history) {
          projects.push_back(project.id);
        }
      }
    }
  }
  return projects;
}

absl::Status Commit(store::Store& store, const core::Writes& writes) {
  PGC_FAILPOINT("coordinator.commit.before");
  PGC_RETURN_IF_ERROR(PGC_UNDER_FAILPOINT("coordinator.commit", [&] { return store.Commit(writes); }));
  PGC_FAILPOINT("coordinator.commit.after");
  return absl::OkStatus();
}

// A grant is durable by now: when what it needs cannot be read, the term ends, the worker reconnects, does not list the
// project, and it is granted again.
absl::Status CommitAndRead(store::Store& store, Group& group) {
  PGC_RETURN_IF_ERROR(Commit(store, group.output.writes));
  group.committed = true;
  for (const MigrationId migration : group.plans_wanted) {
    PGC_ASSIGN_OR_RETURN(group.plans[migration], store.LoadPlan(migration));
  }
  if (const std::vector<ProjectId> projects = GrantedBefore(group.output); !projects.empty()) {
    PGC_ASSIGN_OR_RETURN(group.histories, store.LoadHistory(projects));
  }
  return absl::OkStatus();
}

}  // namespace

Committer::Committer(std::function<void()> done) : done_(std::move(done)) {
  thread_ = std::thread([this] { Loop(); });
}

Committer::~Committer() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

void Committer::Begin(store::Store& store, Group group) {
  busy_ = true;
  {
    const MutexLock lock(mutex_);
    store_ = &store;
    begun_ = std::move(group);
  }
  changed_.NotifyAll();
}

std::optional<Group> Committer::Take() {
  const MutexLock lock(mutex_);
  std::optional<Group> group = std::exchange(finished_, std::nullopt);
  busy_ = busy_ && !group.has_value();
  return group;
}

void Committer::WaitFinished() {
  MutexLock lock(mutex_);
  changed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return finished_.has_value(); });
}

void Committer::Loop() {
  MutexLock lock(mutex_);
  while (true) {
    changed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return begun_.has_value() || stopped_; });
    if (!begun_.has_value()) {
      return;
    }
    Group group = *std::exchange(begun_, std::nullopt);
    store::Store& store = *store_;
    lock.Unlock();
    group.status = CommitAndRead(store, group);
    lock.Lock();
    finished_ = std::move(group);
    changed_.NotifyAll();
    done_();
  }
}

}  // namespace pgconvoy::runtime
