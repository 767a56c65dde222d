#include "coordinator/core/fleet.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "common/base/planted.h"
#include "coordinator/core/phase_table.h"

namespace pgconvoy::core {

bool ReadyList::Contains(uint32_t index) const {
  return std::binary_search(descending_.begin(), descending_.end(), index, std::greater<>());
}

void ReadyList::Insert(uint32_t index) {
  descending_.insert(std::lower_bound(descending_.begin(), descending_.end(), index, std::greater<>()), index);
}

void ReadyList::Erase(uint32_t index) {
  const auto found = std::lower_bound(descending_.begin(), descending_.end(), index, std::greater<>());
  if (found != descending_.end() && *found == index) {
    descending_.erase(found);
  }
}

bool ServerPair::HasTokens() const {
  const auto free = [](const Tokens* tokens) {
    return tokens == nullptr || tokens->used < tokens->limit || PGC_PLANTED(kTokensIgnored);
  };
  return free(source_tokens) && free(target_tokens);
}

int64_t Migration::Unended() const {
  return row.counts[At(ProjectState::kPending)] +
         (PGC_PLANTED(kMigrationEndsEarly) ? 0 : row.counts[At(ProjectState::kWaiting)]) +
         row.counts[At(ProjectState::kRunning)];
}

const std::vector<Phase>& Migration::Phases(Direction direction) const {
  return direction == Direction::kRollback ? rollback_phases : row.spec.phases;
}

bool BatchOrder::operator()(const Batch* a, const Batch* b) const {
  return std::tie(a->home->row.id, a->id) < std::tie(b->home->row.id, b->id);
}

Migration& Fleet::AddMigration(MigrationRow row, size_t batches, size_t projects) {
  auto& slot = migrations_[row.id];
  slot = std::make_unique<Migration>();
  slot->row = std::move(row);
  // Counted anew while the projects are added.
  slot->row.counts = {};
  slot->row.rows_copied = 0;
  slot->row.bytes_copied = 0;
  slot->rollback_phases = RollbackPhases(slot->row.spec.phases);
  slot->batches.reserve(batches);
  slot->projects.reserve(projects);
  for (const ServerLimit& limit : slot->row.spec.limits) {
    slot->tokens[limit.server].limit = limit.max_projects;
  }
  by_ref_.reserve(by_ref_.size() + projects);
  return *slot;
}

uint32_t Fleet::PairIndex(Migration& migration, const BatchRow& row) {
  auto& pairs = migration.pairs;
  const auto found = std::find_if(pairs.begin(), pairs.end(), [&row](const ServerPair& pair) {
    return pair.source == row.source_server && pair.target == row.target_server;
  });
  if (found != pairs.end()) {
    return static_cast<uint32_t>(found - pairs.begin());
  }
  const auto tokens_of = [&migration](const std::string& server) -> Tokens* {
    if (server.empty()) {
      return nullptr;
    }
    return &migration.tokens.try_emplace(server, Tokens{.limit = ServerLimit{}.max_projects}).first->second;
  };
  ServerPair pair;
  pair.source = row.source_server;
  pair.target = row.target_server;
  pair.source_tokens = tokens_of(row.source_server);
  pair.target_tokens = row.target_server == row.source_server ? nullptr : tokens_of(row.target_server);
  pairs.push_back(std::move(pair));
  return static_cast<uint32_t>(pairs.size() - 1);
}

void Fleet::AddBatch(Migration& migration, const BatchRow& row) {
  Batch batch;
  batch.id = row.id;
  batch.home = &migration;
  batch.index = static_cast<uint32_t>(migration.batches.size());
  batch.pair = PairIndex(migration, row);
  batch.estimated_bytes = row.estimated_bytes;
  migration.batches.push_back(std::move(batch));
  if (!row.worker_id.empty()) {
    Lease(migration.batches.back(), AddWorker(row.worker_id));
  }
}

void Fleet::AddProject(Migration& migration, ProjectRow row, MonotonicMs ready_at) {
  const auto batch = std::lower_bound(migration.batches.begin(), migration.batches.end(), row.batch,
                                      [](const Batch& candidate, BatchId id) { return candidate.id < id; });
  Project& project = migration.projects.emplace_back();
  project.id = row.id;
  project.home = &migration;
  project.batch = batch->index;
  project.attempts = row.attempts;
  project.ref = std::move(row.ref);
  project.attributes_json = std::move(row.attributes_json);
  project.fence = row.fence;
  project.last_seq = row.last_seq;
  project.not_before = row.not_before;
  project.ready_at = row.state == ProjectState::kWaiting ? ready_at : 0;
  project.rows_copied = row.rows_copied;
  project.bytes_copied = row.bytes_copied;
  project.estimated_bytes = row.estimated_bytes;
  if (row.error) {
    project.error = std::make_unique<ErrorInfo>(*std::move(row.error));
  }
  if (!row.warnings.empty()) {
    project.warnings = std::make_unique<std::vector<std::string>>(std::move(row.warnings));
  }
  project.failures = row.failures;
  project.losses = row.losses;
  project.done_forward = row.done_forward;
  project.done_rollback = row.done_rollback;
  project.state = row.state;
  project.direction = row.direction;
  project.phase = row.phase;
  project.touched = row.touched;
  project.cancelling = row.cancelling;
  project.discard_writes = row.discard_writes;
  project.seq_gap_allowed = row.state == ProjectState::kRunning;
  ++batch->projects;
  migration.row.rows_copied += project.rows_copied;
  migration.row.bytes_copied += project.bytes_copied;
  by_ref_.insert(&project);
  if (project.state == ProjectState::kRunning && batch->worker == nullptr) {
    Lease(*batch, AddWorker(row.worker_id));
  }
  Place(project);
}

void Fleet::RemoveMigration(MigrationId id) {
  const auto found = migrations_.find(id);
  if (found == migrations_.end()) {
    return;
  }
  for (Batch& batch : found->second->batches) {
    if (batch.worker != nullptr) {
      batch.worker->batches.erase(&batch);
    }
  }
  for (Project& project : found->second->projects) {
    by_ref_.erase(&project);
  }
  migrations_.erase(found);
}

Migration* Fleet::FindMigration(MigrationId id) {
  const auto found = migrations_.find(id);
  return found == migrations_.end() ? nullptr : found->second.get();
}

const Migration* Fleet::FindMigration(MigrationId id) const {
  const auto found = migrations_.find(id);
  return found == migrations_.end() ? nullptr : found->second.get();
}

Project* Fleet::Find(MigrationId migration, std::string_view ref) {
  const auto found = by_ref_.find(ref);
  return found == by_ref_.end() || (*found)->home->row.id != migration ? nullptr : *found;
}

const Project* Fleet::Find(MigrationId migration, std::string_view ref) const {
  const Project* project = FindAnywhere(ref);
  return project == nullptr || project->home->row.id != migration ? nullptr : project;
}

const Project* Fleet::FindAnywhere(std::string_view ref) const {
  const auto found = by_ref_.find(ref);
  return found == by_ref_.end() ? nullptr : *found;
}

namespace {

// Adds `step` to the tokens and slots that a running project holds.
void Count(Batch& batch, int step) {
  ServerPair& pair = batch.home->pairs[batch.pair];
  for (Tokens* tokens : {pair.source_tokens, pair.target_tokens}) {
    if (tokens != nullptr) {
      tokens->used += step;
    }
  }
  batch.worker->running += step;
}

uint32_t IndexOf(const Project& project) { return static_cast<uint32_t>(&project - project.home->projects.data()); }

}  // namespace

void Fleet::Unplace(Project& project) {
  Batch& batch = project.home->batches[project.batch];
  --project.home->row.counts[At(project.state)];
  if (project.state == ProjectState::kRunning) {
    batch.running.Erase(IndexOf(project));
    Count(batch, -1);
  } else if (IsEnded(project.state)) {
    --batch.ended;
  } else if (project.ready_at != 0) {
    timers_.erase({project.ready_at, project.home->row.id, IndexOf(project)});
  } else {
    batch.ready[At(project.direction)].Erase(IndexOf(project));
    --ready_;
    RefreshOpen(batch);
  }
}

void Fleet::Place(Project& project) {
  Batch& batch = project.home->batches[project.batch];
  ++project.home->row.counts[At(project.state)];
  if (project.state == ProjectState::kRunning) {
    batch.running.Insert(IndexOf(project));
    Count(batch, 1);
  } else if (IsEnded(project.state)) {
    ++batch.ended;
  } else if (project.ready_at != 0) {
    timers_.insert({project.ready_at, project.home->row.id, IndexOf(project)});
  } else {
    batch.ready[At(project.direction)].Insert(IndexOf(project));
    ++ready_;
    RefreshOpen(batch);
  }
}

void Fleet::RefreshOpen(Batch& batch) {
  ServerPair& pair = batch.home->pairs[batch.pair];
  for (const size_t direction : {size_t{0}, size_t{1}}) {
    if (batch.worker == nullptr && !batch.ready[direction].empty()) {
      pair.open[direction].insert(batch.index);
    } else {
      pair.open[direction].erase(batch.index);
    }
  }
}

void Fleet::Lease(Batch& batch, Worker& worker) {
  batch.worker = &worker;
  worker.batches.insert(&batch);
  RefreshOpen(batch);
}

void Fleet::GiveBack(Batch& batch) {
  batch.worker->batches.erase(&batch);
  batch.worker = nullptr;
  RefreshOpen(batch);
}

Worker& Fleet::AddWorker(const std::string& id) {
  Worker& worker = workers_[id];
  worker.id = id;
  return worker;
}

void Fleet::RemoveWorker(const std::string& id) {
  if (Worker* worker = FindWorker(id)) {
    Disconnect(*worker);
    workers_.erase(id);
  }
}

Worker* Fleet::FindWorker(const std::string& id) {
  const auto found = workers_.find(id);
  return found == workers_.end() ? nullptr : &found->second;
}

Worker* Fleet::WorkerOn(StreamId stream) {
  const auto found = streams_.find(stream);
  return found == streams_.end() ? nullptr : found->second;
}

void Fleet::Connect(Worker& worker, StreamId stream) {
  Disconnect(worker);
  worker.stream = stream;
  streams_[stream] = &worker;
}

void Fleet::Disconnect(Worker& worker) {
  if (worker.stream) {
    streams_.erase(*worker.stream);
    worker.stream.reset();
  }
}

Project& Fleet::ProjectOf(const Timer& timer) {
  return migrations_.at(std::get<MigrationId>(timer))->projects[std::get<uint32_t>(timer)];
}

}  // namespace pgconvoy::core
