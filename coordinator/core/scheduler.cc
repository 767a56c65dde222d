// Which project goes to which worker next. The cost of a round depends on what it grants and on the number of workers
// and server pairs, not on the number of projects.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "coordinator/core/core_impl.h"

namespace pgconvoy::core {
namespace {

// A rollback never waits behind a pause.
bool MayGrant(const Migration& migration, Direction direction) {
  return direction == Direction::kRollback || migration.row.state == MigrationState::kRunning;
}

struct MostFreeFirst {
  bool operator()(const std::pair<int, Worker*>& a, const std::pair<int, Worker*>& b) const {
    return a.first != b.first ? a.first > b.first : a.second->id < b.second->id;
  }
};

}  // namespace

struct Core::Impl::Round {
  // No waiting batch can be granted any more: tokens only get fewer within a round.
  bool dry[2] = {false, false};
  // Position in Output::messages of each batch's grant.
  std::map<const Batch*, size_t> grants;
};

void Core::Impl::Schedule(TimePoint now, Output& out) {
  Step step(now, out);
  std::set<std::pair<int, Worker*>, MostFreeFirst> idle;
  for (auto& [id, worker] : fleet_.workers()) {
    if (worker.FreeSlots() > 0) {
      idle.emplace(worker.FreeSlots(), &worker);
    }
  }
  Round round;
  while (!idle.empty()) {
    Worker& worker = *idle.begin()->second;
    idle.erase(idle.begin());
    const Pick pick = NextFor(worker, round);
    if (pick.batch == nullptr) {
      continue;
    }
    Grant(step, worker, pick, round);
    if (worker.FreeSlots() > 0) {
      idle.emplace(worker.FreeSlots(), &worker);
    }
  }
}

Core::Impl::Pick Core::Impl::NextFor(const Worker& worker, Round& round) {
  for (const Direction direction : {Direction::kRollback, Direction::kForward}) {
    if (const Pick held = FromHeld(worker, direction); held.batch != nullptr) {
      return held;
    }
    bool& dry = round.dry[At(direction)];
    if (dry) {
      continue;
    }
    if (const Pick waiting = FromWaiting(direction); waiting.batch != nullptr) {
      return waiting;
    }
    dry = true;
  }
  return {};
}

Core::Impl::Pick Core::Impl::FromHeld(const Worker& worker, Direction direction) {
  for (Batch* batch : worker.batches) {
    if (!batch->ready[At(direction)].empty() && MayGrant(*batch->home, direction) &&
        batch->home->pairs[batch->pair].HasTokens()) {
      return {batch, direction};
    }
  }
  return {};
}

Core::Impl::Pick Core::Impl::FromWaiting(Direction direction) const {
  for (const auto& [id, migration] : fleet_.migrations()) {
    if (!MayGrant(*migration, direction)) {
      continue;
    }
    Batch* first = nullptr;
    for (const ServerPair& pair : migration->pairs) {
      const auto& open = pair.open[At(direction)];
      if (!open.empty() && pair.HasTokens() && (first == nullptr || *open.begin() < first->index)) {
        first = &migration->batches[*open.begin()];
      }
    }
    if (first != nullptr) {
      return {first, direction};
    }
  }
  return {};
}

Fence Core::Impl::BeginAttempt(Step& step, Project& project) {
  project.fence = Fence{counters_.next_fence++};
  ++project.attempts;
  project.last_seq = 0;
  project.seq_gap_allowed = false;
  project.phase = Phase::kFence;
  project.done() &= ~Bit(Phase::kFence);
  project.attempt_start = step.now().wall;
  project.progress_due = 0;
  step.out().writes.counters = counters_;
  return project.fence;
}

void Core::Impl::Grant(Step& step, Worker& worker, const Pick& pick, Round& round) {
  Batch& batch = *pick.batch;
  Migration& migration = *batch.home;
  Project& project = migration.projects[batch.ready[At(pick.direction)].front()];
  GrantedProject granted;
  granted.has_history = project.attempts > 0;
  if (batch.worker == nullptr) {
    fleet_.Lease(batch, worker);
    step.Write(batch);
  }
  granted.fence = BeginAttempt(step, project);
  Move(step, project, {.trigger = Trigger::kGranted});
  step.WriteAttempt(project);
  granted.id = project.id;
  granted.ref = project.ref;
  granted.attributes_json = project.attributes_json;
  granted.direction = project.direction;
  granted.phases = RemainingPhases(project);
  granted.discard_writes = project.discard_writes;
  auto& messages = step.out().messages;
  const auto [position, added] = round.grants.try_emplace(&batch, messages.size());
  if (added) {
    messages.emplace_back(SendGrant{*worker.stream, migration.row.id, batch.id, {}});
  }
  std::get<SendGrant>(messages[position->second]).projects.push_back(std::move(granted));
}

WaitCause Core::Impl::WhyWaiting(MigrationId migration, const std::string& ref, TimePoint now) const {
  const Project* project = fleet_.Find(migration, ref);
  if (project == nullptr || IsEnded(project->state) || project->state == ProjectState::kRunning) {
    return WaitCause::kNone;
  }
  if (!MayGrant(*project->home, project->direction)) {
    return WaitCause::kPausedByUser;
  }
  if (project->ready_at > now.mono) {
    return WaitCause::kRetryBackoff;
  }
  const ServerPair& pair = project->home->pairs[project->home->batches[project->batch].pair];
  const auto used_up = [](const Tokens* tokens) { return tokens != nullptr && tokens->used >= tokens->limit; };
  if (used_up(pair.source_tokens)) {
    return WaitCause::kSourceTokens;
  }
  if (used_up(pair.target_tokens)) {
    return WaitCause::kTargetTokens;
  }
  const bool worker = std::any_of(fleet_.workers().begin(), fleet_.workers().end(),
                                  [](const auto& entry) { return entry.second.FreeSlots() > 0; });
  return worker ? WaitCause::kBatchOrder : WaitCause::kNoWorker;
}

}  // namespace pgconvoy::core
