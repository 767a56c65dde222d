#include "tests/sim/store.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/base/planted.h"
#include "coordinator/core/transitions.h"
#include "tests/sim/payload.h"

namespace pgconvoy::sim {
namespace {

template <typename Row>
void Upsert(std::vector<Row>& rows, Row row) {
  const auto place =
      std::lower_bound(rows.begin(), rows.end(), row.id, [](const Row& other, auto id) { return other.id < id; });
  if (place != rows.end() && place->id == row.id) {
    *place = std::move(row);
  } else {
    rows.insert(place, std::move(row));
  }
}

template <typename Row>
std::vector<Row> Of(const std::vector<Row>& rows, MigrationId migration) {
  std::vector<Row> found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found),
               [migration](const Row& row) { return row.migration == migration; });
  return found;
}

}  // namespace

int64_t Store::RaiseEpoch() {
  if (!PGC_PLANTED(kEpochNotRaised) || epoch_ == 0) {
    ++epoch_;
  }
  return epoch_;
}

core::Snapshot Store::Load() const {
  core::Snapshot snapshot;
  snapshot.counters = counters_;
  snapshot.migrations = migrations_;
  for (const core::MigrationRow& migration : migrations_) {
    if (!IsEnded(migration.state)) {
      for (core::BatchRow& row : Of(batches_, migration.id)) {
        snapshot.batches.push_back(std::move(row));
      }
      for (core::ProjectRow& row : Of(projects_, migration.id)) {
        snapshot.projects.push_back(std::move(row));
      }
    }
  }
  for (const auto& [id, worker] : workers_) {
    snapshot.workers.push_back(worker);
  }
  return snapshot;
}

std::optional<core::Reopen> Store::LoadMigration(MigrationId migration) const {
  for (const core::MigrationRow& row : migrations_) {
    if (row.id == migration) {
      return core::Reopen{row, Of(batches_, migration), Of(projects_, migration)};
    }
  }
  return std::nullopt;
}

CommitResult Store::Commit(core::Writes writes, int64_t epoch) {
  if (epoch != epoch_ && !PGC_PLANTED(kNoEpochCheck)) {
    return CommitResult::kNotLeader;
  }
  if (epoch < epoch_) {
    judge_.Fail("O5",
                "the store took writes of epoch " + std::to_string(epoch) + " in epoch " + std::to_string(epoch_));
  }
  for (const core::AttemptRow& attempt : writes.attempts) {
    CheckAttempt(attempt);
  }
  TakeRows(writes);
  TakeHistories(writes);
  for (const core::EventRow& event : writes.events) {
    CheckEvent(event);
  }
  CheckStates();
  CheckGrants(writes);
  return CommitResult::kDone;
}

void Store::TakeRows(core::Writes& writes) {
  for (core::MigrationRow& row : writes.new_migrations) {
    const bool known = std::any_of(migrations_.begin(), migrations_.end(), [&row](const core::MigrationRow& other) {
      return other.spec.request_id == row.spec.request_id;
    });
    if (known) {
      judge_.Fail("O8", "one submission made two migrations");
      return;
    }
    row_of_.emplace_back().fill(-1);
    Upsert(migrations_, std::move(row));
  }
  for (core::BatchRow& row : writes.new_batches) {
    Upsert(batches_, std::move(row));
  }
  for (core::ProjectRow& row : writes.new_projects) {
    states_.resize(std::max(states_.size(), IndexOf(row.id) + 1));
    states_[IndexOf(row.id)] = row.state;
    row_of_[IndexOf(row.migration)][IndexOfRef(row.ref)] = static_cast<int>(IndexOf(row.id));
    histories_.resize(std::max(histories_.size(), IndexOf(row.id) + 1));
    Upsert(projects_, std::move(row));
  }
  for (core::MigrationRow& row : writes.migrations) {
    Upsert(migrations_, std::move(row));
  }
  for (core::BatchRow& row : writes.batches) {
    Upsert(batches_, std::move(row));
  }
  for (core::ProjectRow& row : writes.projects) {
    changed_.push_back(IndexOf(row.id));
    if (row.error) {
      CheckSecrets(row.error->message);
    }
    Upsert(projects_, std::move(row));
  }
  for (core::WorkerRow& row : writes.workers) {
    workers_[row.id] = std::move(row);
  }
  counters_ = writes.counters.value_or(counters_);
}

void Store::TakeHistories(core::Writes& writes) {
  for (const core::IntentRow& row : writes.intents) {
    CheckSecrets(row.payload_json);
    const Payload payload = ParsePayload(row.payload_json);
    histories_[IndexOf(row.project)].intents.push_back({payload.kind, row.fence.value, payload.value});
  }
  for (const core::PhaseResultRow& row : writes.results) {
    CheckSecrets(row.payload_json);
    auto& results = histories_[IndexOf(row.project)].results;
    const worker::ResultKey key{row.phase, row.direction, row.fence.value};
    // FENCE has no fence of its own to be told apart by but its attempt's, like all others.
    const bool twice = std::any_of(results.begin(), results.end(), [&key](const StoredResult& other) {
      return other.key.phase == key.phase && other.key.direction == key.direction && other.key.fence == key.fence;
    });
    if (twice) {
      judge_.Fail("O8", "a result of " + std::string(Name(row.phase)) + " was recorded twice");
    }
    results.push_back({key, ParsePayload(row.payload_json).value});
  }
}

// The row that begins an attempt carries a fence that nobody has seen.
void Store::CheckAttempt(const core::AttemptRow& attempt) {
  if (!attempt.outcome.empty()) {
    return;
  }
  if (attempt.fence.value <= highest_fence_) {
    judge_.Fail("O5", "fence " + std::to_string(attempt.fence.value) + " was given out after " +
                          std::to_string(highest_fence_));
  }
  highest_fence_ = std::max(highest_fence_, attempt.fence.value);
}

void Store::CheckEvent(const core::EventRow& event) {
  judge_.Tell("store", event.project_ref, event.kind, event.rule, event.detail_json);
  if (event.kind == "REPORT_REFUSED") {
    judge_.Fail("O8", "an honest report was refused: " + event.reason);
  }
  if (event.kind != "PROJECT_STATE") {
    return;
  }
  const auto rows = core::ProjectTransitions();
  size_t number = 0;
  std::from_chars(event.rule.data() + 2, event.rule.data() + event.rule.size(), number);
  if (number == 0 || number > rows.size() || rows[number - 1].id != event.rule) {
    judge_.Fail("O8", "there is no rule " + event.rule);
    return;
  }
  const core::ProjectRow* const row = Find(event.migration, event.project_ref);
  if (row == nullptr) {
    judge_.Fail("O8", "an event tells of a project that is not there: " + event.project_ref);
    return;
  }
  ProjectState& state = states_[IndexOf(row->id)];
  if (state != rows[number - 1].from) {
    judge_.Fail("O8",
                "project " + event.project_ref + " took " + event.rule + " while it was " + std::string(Name(state)));
  }
  state = rows[number - 1].to;
}

// Whatever goes into the store may be read by people.
void Store::CheckSecrets(const std::string& text) {
  if (text.find(kPlainSecret) != std::string::npos) {
    judge_.Fail("O9", "a secret reached the store");
  }
}

void Store::CheckStates() {
  for (const size_t index : changed_) {
    const core::ProjectRow& row = projects_[index];
    const ProjectState told = states_[index];
    if (row.state != told) {
      judge_.Fail("O8", "project " + row.ref + " is " + std::string(Name(row.state)) + ", but its events say " +
                            std::string(Name(told)));
    }
  }
  changed_.clear();
}

const core::ProjectRow* Store::Find(MigrationId migration, const std::string& ref) const {
  const int row = IndexOf(migration) < row_of_.size() ? row_of_[IndexOf(migration)][IndexOfRef(ref)] : -1;
  return row < 0 ? nullptr : &projects_[static_cast<size_t>(row)];
}

template <typename Is>
bool Store::AnyHistory(const std::string& ref, const Is& is) const {
  return std::any_of(row_of_.begin(), row_of_.end(), [&](const auto& rows) {
    const int row = rows[IndexOfRef(ref)];
    return row >= 0 && is(histories_[static_cast<size_t>(row)]);
  });
}

bool Store::HasSealed(const std::string& ref, int64_t password) const {
  return AnyHistory(ref, [password](const History& history) {
    return std::any_of(history.intents.begin(), history.intents.end(),
                       [&](const auto& intent) { return intent.kind == 'R' && intent.value == password; });
  });
}

bool Store::HasResult(const std::string& ref, Phase phase, int64_t fence) const {
  return AnyHistory(ref, [phase, fence](const History& history) {
    return std::any_of(history.results.begin(), history.results.end(), [&](const auto& result) {
      return result.key.phase == phase && result.key.direction == Direction::kForward && result.key.fence == fence;
    });
  });
}

// What was granted was allowed to be: nothing forward while an operator has stopped it, no more on a server than it may
// have.
void Store::CheckGrants(const core::Writes& writes) {
  const bool granted = std::any_of(writes.attempts.begin(), writes.attempts.end(),
                                   [](const core::AttemptRow& attempt) { return attempt.outcome.empty(); });
  if (!granted) {
    return;
  }
  for (const core::AttemptRow& attempt : writes.attempts) {
    const MigrationState state = migrations_[IndexOf(attempt.migration)].state;
    if (attempt.outcome.empty() && attempt.direction == Direction::kForward && state != MigrationState::kRunning) {
      judge_.Fail("O8", "a project was granted while its migration was " + std::string(Name(state)));
    }
  }
  for (const core::MigrationRow& migration : migrations_) {
    CheckLimits(migration);
  }
}

void Store::CheckLimits(const core::MigrationRow& migration) {
  for (const core::ServerLimit& limit : migration.spec.limits) {
    const auto running = std::count_if(projects_.begin(), projects_.end(), [&](const core::ProjectRow& row) {
      const core::BatchRow& batch = batches_[static_cast<size_t>(row.batch.value - 1)];
      return row.state == ProjectState::kRunning && row.migration == migration.id &&
             (batch.source_server == limit.server || batch.target_server == limit.server);
    });
    if (running > limit.max_projects) {
      judge_.Fail("O8", std::to_string(running) + " projects run on a server that may have fewer");
    }
  }
}

bool Store::AllEnded() const {
  return !migrations_.empty() && std::all_of(migrations_.begin(), migrations_.end(),
                                             [](const core::MigrationRow& row) { return IsEnded(row.state); });
}

}  // namespace pgconvoy::sim
