// Checks the whole state against itself. Slow on purpose: it trusts no index.
#include <map>
#include <set>
#include <string>

#include "coordinator/core/core_impl.h"

namespace pgconvoy::core {
namespace {

std::string Where(const Project& project) {
  return " (project " + project.ref + " of migration " + std::to_string(project.home->row.id.value) + ")";
}

// What a migration's indices must say, counted from its projects.
struct Tally {
  StateCounts counts{};
  int64_t rows = 0;
  int64_t bytes = 0;
  std::map<uint32_t, uint32_t> in_batch;
  std::map<uint32_t, uint32_t> ended;
  std::map<uint32_t, size_t> ready[2];
  std::map<uint32_t, size_t> running;
  std::map<const Tokens*, int> tokens;
  std::map<const Worker*, int> on_worker;
  size_t timers = 0;
};

std::string CheckPlace(const Project& project, const std::set<Fleet::Timer>& timers, Tally& tally) {
  const Batch& batch = project.home->batches[project.batch];
  const auto index = static_cast<uint32_t>(&project - project.home->projects.data());
  if (IsEnded(project.state)) {
    ++tally.ended[batch.index];
    return project.ready_at == 0 ? "" : "an ended project has a timer";
  }
  if (project.state == ProjectState::kRunning) {
    ++tally.running[batch.index];
    if (batch.worker == nullptr || !batch.running.Contains(index)) {
      return "a running project is not among its batch's running ones, or its lease has no holder";
    }
    const ServerPair& pair = project.home->pairs[batch.pair];
    ++tally.tokens[pair.source_tokens];
    ++tally.tokens[pair.target_tokens];
    ++tally.on_worker[batch.worker];
    return project.ready_at == 0 ? "" : "a running project has a timer";
  }
  if (project.ready_at != 0) {
    ++tally.timers;
    return timers.contains({project.ready_at, project.home->row.id, index}) ? "" : "a project's timer is missing";
  }
  ++tally.ready[At(project.direction)][batch.index];
  return batch.ready[At(project.direction)].Contains(index) ? "" : "a ready project is in no queue";
}

std::string CheckProject(const Project& project) {
  if (project.state == ProjectState::kPending && (project.attempts != 0 || project.fence != Fence{})) {
    return "a pending project has had an attempt";
  }
  if (project.state == ProjectState::kRunning && project.fence == Fence{}) {
    return "a running project has no fence";
  }
  if (project.direction == Direction::kRollback && (project.done_rollback & kRollbackAskedBit) != 0) {
    return "a rollback is asked for that has begun";
  }
  if (project.state == ProjectState::kWaiting && StopAsked(project)) {
    return "a project that was asked to stop waits to go forward";
  }
  if (project.state == ProjectState::kNeedsOperator && !project.error) {
    return "a project needs an operator and does not say why";
  }
  return "";
}

std::string CheckBatch(const Batch& batch, const Tally& tally) {
  const auto in = [&batch](const auto& map) { return map.contains(batch.index) ? map.at(batch.index) : 0; };
  if (in(tally.in_batch) != batch.projects || in(tally.ended) != batch.ended) {
    return "a batch counts its projects wrongly";
  }
  if (in(tally.running) != batch.running.size()) {
    return "a batch has a project running that does not run";
  }
  for (const size_t direction : {size_t{0}, size_t{1}}) {
    if (in(tally.ready[direction]) != batch.ready[direction].size()) {
      return "a batch queues a project that is not ready";
    }
    const bool open = batch.home->pairs[batch.pair].open[direction].contains(batch.index);
    if (open != (batch.worker == nullptr && !batch.ready[direction].empty())) {
      return "a batch is offered wrongly";
    }
  }
  if (batch.worker != nullptr) {
    if (!batch.worker->batches.contains(const_cast<Batch*>(&batch)) || batch.worker->lost) {
      return "a leased batch has no holder";
    }
    if (batch.running.empty() && !batch.HasReady()) {
      return "a batch is leased for nothing";
    }
  }
  return "";
}

std::string CheckMigration(const Migration& migration, const Tally& tally) {
  if (tally.counts != migration.row.counts) {
    return "the counts of a migration are wrong";
  }
  if (tally.rows != migration.row.rows_copied || tally.bytes != migration.row.bytes_copied) {
    return "the sums of a migration are wrong";
  }
  if (!IsEnded(migration.row.state) && migration.Unended() == 0) {
    return "a migration without anything left to do has not ended";
  }
  for (const auto& [server, tokens] : migration.tokens) {
    const int used = tally.tokens.contains(&tokens) ? tally.tokens.at(&tokens) : 0;
    if (used != tokens.used || used > tokens.limit) {
      return "tokens of server " + server + " do not match what runs";
    }
  }
  for (const Batch& batch : migration.batches) {
    if (std::string problem = CheckBatch(batch, tally); !problem.empty()) {
      return problem + " (batch " + std::to_string(batch.id.value) + ")";
    }
  }
  return "";
}

}  // namespace

std::string Fleet::CheckInvariants() const {
  size_t projects = 0;
  size_t timers = 0;
  size_t ready = 0;
  std::map<const Worker*, int> running;
  for (const auto& [id, migration] : migrations_) {
    Tally tally;
    for (const Project& project : migration->projects) {
      ++tally.counts[At(project.state)];
      ++tally.in_batch[project.batch];
      tally.rows += project.rows_copied;
      tally.bytes += project.bytes_copied;
      std::string problem = CheckPlace(project, timers_, tally);
      if (problem.empty() && FindAnywhere(project.ref) != &project) {
        problem = "a ref is in two places";
      }
      if (!problem.empty()) {
        return problem + Where(project);
      }
    }
    if (std::string problem = CheckMigration(*migration, tally); !problem.empty()) {
      return problem;
    }
    projects += migration->projects.size();
    timers += tally.timers;
    for (const Batch& batch : migration->batches) {
      ready += batch.ready[0].size() + batch.ready[1].size();
    }
    for (const auto& [worker, count] : tally.on_worker) {
      running[worker] += count;
    }
  }
  if (projects != by_ref_.size() || timers != timers_.size() || ready != ready_) {
    return "an index holds what no migration has";
  }
  for (const auto& [id, worker] : workers_) {
    const int count = running.contains(&worker) ? running.at(&worker) : 0;
    if (count != worker.running) {
      return "worker " + id + " counts its projects wrongly";
    }
    if (worker.stream && (!streams_.contains(*worker.stream) || streams_.at(*worker.stream) != &worker)) {
      return "worker " + id + " has a stream that is not its own";
    }
    for (const Batch* batch : worker.batches) {
      if (batch->worker != &worker) {
        return "worker " + id + " holds a batch of somebody else";
      }
    }
  }
  return "";
}

std::string Core::Impl::CheckInvariants() const {
  std::set<Fence> fences;
  for (const auto& [id, migration] : fleet_.migrations()) {
    for (const Project& project : migration->projects) {
      std::string problem = CheckProject(project);
      if (project.fence != Fence{} &&
          (project.fence.value >= counters_.next_fence || !fences.insert(project.fence).second)) {
        problem = "a fence is not unique or was never given out";
      }
      if (!problem.empty()) {
        return problem + Where(project);
      }
    }
  }
  return fleet_.CheckInvariants();
}

}  // namespace pgconvoy::core
