// Which project goes to which worker next. The cost of a round depends on what it grants and on the number of workers
// and server pairs, not on the number of projects.
#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/planted.h"
#include "coordinator/core/core_impl.h"

namespace pgconvoy::core {
namespace {

// A rollback never waits behind a pause.
bool MayGrant(const Migration& migration, Direction direction) {
  return direction == Direction::kRollback || migration.row.state == MigrationState::kRunning ||
         PGC_PLANTED(kPausedGrants);
}

}  // namespace

// Within a round tokens and ready projects only get fewer, and a batch is leased but never given back: what could not
// be granted once need not be looked at again.
struct Core::Impl::Idle {
  struct Held {
    // The batches before it can give nothing more, but for those that the worker was given in this round.
    std::set<Batch*, BatchOrder>::const_iterator next;
    std::vector<Batch*> leased;
    // Index of the first of `leased` that may give something.
    size_t first = 0;
  };

  Worker* worker = nullptr;
  // By direction.
  Held held[2];
};

struct Core::Impl::Round {
  // Free slots and index of the idle worker. The most free one is on top, of equals the one whose id comes first.
  struct LessFree {
    bool operator()(const std::pair<int, size_t>& a, const std::pair<int, size_t>& b) const {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    }
  };
  using Queue = std::priority_queue<std::pair<int, size_t>, std::vector<std::pair<int, size_t>>, LessFree>;
  // First open batch and index of the pairs that may have something to grant, as a heap with the smallest on top.
  using Waiting = std::vector<std::pair<uint32_t, uint32_t>>;

  // In the order of their ids.
  std::vector<Idle> idle;
  Queue queue;
  // No waiting batch can be granted any more.
  bool dry[2] = {false, false};
  std::map<MigrationId, Waiting> waiting[2];
  // Position in Output::messages of each batch's grant. Looked up, never iterated.
  std::unordered_map<const Batch*, size_t> grants;
};

void Core::Impl::Schedule(TimePoint now, Output& out) {
  // Most rounds follow a report that frees nothing.
  if (!fleet_.HasReady()) {
    return;
  }
  Step step(now, out);
  Round round;
  round.idle.reserve(fleet_.workers().size());
  for (auto& [id, worker] : fleet_.workers()) {
    if (worker.FreeSlots() > 0) {
      round.queue.emplace(worker.FreeSlots(), round.idle.size());
      Idle& idle = round.idle.emplace_back();
      idle.worker = &worker;
      idle.held[0].next = idle.held[1].next = worker.batches.begin();
    }
  }
  while (!round.queue.empty()) {
    const size_t index = round.queue.top().second;
    round.queue.pop();
    Idle& idle = round.idle[index];
    const Pick pick = NextFor(idle, round);
    if (pick.batch == nullptr) {
      continue;
    }
    Grant(step, idle, pick, round);
    if (idle.worker->FreeSlots() > 0) {
      round.queue.emplace(idle.worker->FreeSlots(), index);
    }
  }
}

Core::Impl::Pick Core::Impl::NextFor(Idle& idle, Round& round) {
  for (const Direction direction : {Direction::kRollback, Direction::kForward}) {
    if (const Pick held = FromHeld(idle, direction); held.batch != nullptr) {
      return held;
    }
    bool& dry = round.dry[At(direction)];
    if (dry) {
      continue;
    }
    if (const Pick waiting = FromWaiting(direction, round); waiting.batch != nullptr) {
      return waiting;
    }
    dry = true;
  }
  return {};
}

Core::Impl::Pick Core::Impl::FromHeld(Idle& idle, Direction direction) {
  const auto gives = [direction](const Batch& batch) {
    return !batch.ready[At(direction)].empty() && MayGrant(*batch.home, direction) &&
           batch.home->pairs[batch.pair].HasTokens();
  };
  Idle::Held& held = idle.held[At(direction)];
  for (; held.first < held.leased.size(); ++held.first) {
    if (gives(*held.leased[held.first])) {
      return {held.leased[held.first], direction};
    }
  }
  while (held.next != idle.worker->batches.end()) {
    if (gives(**held.next)) {
      return {*held.next, direction};
    }
    ++held.next;
  }
  return {};
}

Core::Impl::Pick Core::Impl::FirstOpen(Migration& migration, Direction direction, Round& round) {
  const auto [found, fresh] = round.waiting[At(direction)].try_emplace(migration.row.id);
  Round::Waiting& heap = found->second;
  if (fresh) {
    for (uint32_t i = 0; i < migration.pairs.size(); ++i) {
      const ServerPair& pair = migration.pairs[i];
      if (!pair.open[At(direction)].empty() && pair.HasTokens()) {
        heap.emplace_back(*pair.open[At(direction)].begin(), i);
      }
    }
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
  }
  while (!heap.empty()) {
    const auto [first, index] = heap.front();
    const ServerPair& pair = migration.pairs[index];
    const auto& open = pair.open[At(direction)];
    if (!open.empty() && *open.begin() == first && pair.HasTokens()) {
      return {&migration.batches[first], direction};
    }
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    if (!open.empty() && pair.HasTokens()) {
      heap.emplace_back(*open.begin(), index);
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  }
  return {};
}

Core::Impl::Pick Core::Impl::FromWaiting(Direction direction, Round& round) const {
  for (const auto& [id, migration] : fleet_.migrations()) {
    if (!MayGrant(*migration, direction)) {
      continue;
    }
    if (const Pick pick = FirstOpen(*migration, direction, round); pick.batch != nullptr) {
      return pick;
    }
  }
  return {};
}

Fence Core::Impl::BeginAttempt(Step& step, Project& project) {
  project.fence = Fence{counters_.next_fence};
  counters_.next_fence += PGC_PLANTED(kReuseFence) && project.attempts > 0 ? 0 : 1;
  ++project.attempts;
  project.last_seq = 0;
  project.seq_gap_allowed = false;
  project.phase = Phase::kFence;
  project.done() &= PGC_PLANTED(kFencePhaseNotRepeated) ? ~0U : ~Bit(Phase::kFence);
  project.attempt_start = step.now().wall;
  project.progress_due = 0;
  if (!PGC_PLANTED(kFenceCounterNotWritten)) {
    step.out().writes.counters = counters_;
  }
  return project.fence;
}

void Core::Impl::Grant(Step& step, Idle& idle, const Pick& pick, Round& round) {
  Worker& worker = *idle.worker;
  Batch& batch = *pick.batch;
  Migration& migration = *batch.home;
  Project& project = migration.projects[batch.ready[At(pick.direction)].front()];
  GrantedProject granted;
  granted.has_history = project.attempts > 0 || migration.row.spec.credentials_of != MigrationId{};
  if (batch.worker == nullptr) {
    fleet_.Lease(batch, worker);
    step.Write(batch);
    for (Idle::Held& held : idle.held) {
      held.leased.push_back(&batch);
    }
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
