// From rows to a fleet: the start of a term, and migrations that come back.
#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/planted.h"
#include "coordinator/core/core_impl.h"

namespace pgconvoy::core {
namespace {

// The rows of each migration, in place of one list for all.
template <typename Row>
std::map<MigrationId, std::vector<Row>> ByMigration(std::vector<Row> rows) {
  // Counted first: growing a vector of a million rows would hold them twice.
  std::map<MigrationId, std::vector<Row>> grouped;
  std::map<MigrationId, size_t> sizes;
  for (const Row& row : rows) {
    ++sizes[row.migration];
  }
  if (sizes.size() == 1) {
    grouped.emplace(sizes.begin()->first, std::move(rows));
    return grouped;
  }
  for (const auto& [migration, size] : sizes) {
    grouped[migration].reserve(size);
  }
  for (Row& row : rows) {
    grouped[row.migration].push_back(std::move(row));
  }
  return grouped;
}

// A wall time of the store as a time of this process. Clocks jump: nothing waits longer than the longest pause.
MonotonicMs ReadyAt(const ProjectRow& row, const MigrationSpec& spec, TimePoint now) {
  if (row.not_before <= now.wall) {
    return 0;
  }
  return now.mono + std::max<MonotonicMs>(1, std::min(row.not_before - now.wall, spec.max_backoff_ms));
}

void Fill(Worker& worker, const WorkerRow& row) {
  worker.incarnation = row.incarnation;
  worker.version = row.version;
  worker.host = row.host;
  worker.slots = row.slots;
  worker.draining = row.state == "draining";
}

}  // namespace

void Core::Impl::LoadMigration(MigrationRow row,
                               std::vector<BatchRow> batches,
                               std::vector<ProjectRow> projects,
                               TimePoint now) {
  std::sort(batches.begin(), batches.end(), [](const BatchRow& a, const BatchRow& b) { return a.id < b.id; });
  const auto earlier = [](const ProjectRow& a, const ProjectRow& b) {
    return std::tie(a.batch, a.id) < std::tie(b.batch, b.id);
  };
  if (!std::is_sorted(projects.begin(), projects.end(), earlier)) {
    std::sort(projects.begin(), projects.end(), earlier);
  }
  Migration& migration = fleet_.AddMigration(std::move(row), batches.size(), projects.size());
  for (const BatchRow& batch : batches) {
    fleet_.AddBatch(migration, batch);
  }
  for (ProjectRow& project : projects) {
    const MonotonicMs ready_at = ReadyAt(project, migration.row.spec, now);
    if (PGC_PLANTED(kLoadForgetsDone)) {
      project.done_forward = 0;
    }
    fleet_.AddProject(migration, std::move(project), ready_at);
  }
}

void Core::Impl::Load(Snapshot snapshot, TimePoint now) {
  counters_ = snapshot.counters;
  for (const WorkerRow& row : snapshot.workers) {
    if (row.state != "lost" && row.state != "drained") {
      Fill(fleet_.AddWorker(row.id), row);
    }
  }
  auto batches = ByMigration(std::move(snapshot.batches));
  auto projects = ByMigration(std::move(snapshot.projects));
  for (MigrationRow& row : snapshot.migrations) {
    if (!PGC_PLANTED(kLoadForgetsRequests)) {
      by_request_[row.spec.request_id] = row.id;
    }
    if (IsEnded(row.state)) {
      ended_[row.id] = row.state;
    } else {
      const MigrationId id = row.id;
      LoadMigration(std::move(row), std::move(batches[id]), std::move(projects[id]), now);
    }
  }
  for (auto& [id, worker] : fleet_.workers()) {
    worker.last_heard = now.mono;
  }
}

void Core::Impl::On(Step& step, const Reopen& reopen) {
  const MigrationId id = reopen.migration.id;
  if (Holds(id)) {
    return;
  }
  std::vector<const std::string*> refs;
  for (const ProjectRow& project : reopen.projects) {
    refs.push_back(&project.ref);
  }
  if (absl::Status busy = CheckBusy(refs); !busy.ok()) {
    reopen_refused_[id] = busy;
    return;
  }
  by_request_[reopen.migration.spec.request_id] = id;
  LoadMigration(reopen.migration, reopen.batches, reopen.projects, step.now());
}

}  // namespace pgconvoy::core
