// The status store as the coordinator's runtime sees it: rows, the leader's epoch, all or nothing. Every commit passes
// the oracles on its way in.
//
// Thread safety: none.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/core/core.h"
#include "tests/sim/world.h"
#include "worker/core/takeover.h"

namespace pgconvoy::sim {

// A result or intent as a worker gets it with a grant; `value` is what its payload says.
struct StoredResult {
  worker::ResultKey key;
  int64_t value = 0;
};
struct StoredIntent {
  // 'R'ole, 'D'atabase, 'B'ackup, 'F'reeze.
  char kind = 0;
  int64_t fence = 0;
  int64_t value = 0;
};
struct History {
  std::vector<StoredResult> results;
  std::vector<StoredIntent> intents;
};

enum class CommitResult : uint8_t { kDone, kNotLeader };

class Store {
 public:
  explicit Store(Judge& judge) : judge_(judge) {}

  int64_t epoch() const { return epoch_; }
  // Takes the lead: the new epoch.
  int64_t RaiseEpoch();
  core::Snapshot Load() const;
  std::optional<core::Reopen> LoadMigration(MigrationId migration) const;
  CommitResult Commit(core::Writes writes, int64_t epoch);

  const History& HistoryOf(ProjectId project) const { return histories_[IndexOf(project)]; }
  const std::vector<core::ProjectRow>& projects() const { return projects_; }
  const std::vector<core::MigrationRow>& migrations() const { return migrations_; }
  // Null until it is submitted.
  const core::ProjectRow* Find(MigrationId migration, const std::string& ref) const;
  int64_t next_fence() const { return counters_.next_fence; }
  // Whether that password can be opened with what the store holds.
  bool HasSealed(const std::string& ref, int64_t password) const;
  // Whether that result is durable, by the fence of its attempt.
  bool HasResult(const std::string& ref, Phase phase, int64_t fence) const;
  bool AllEnded() const;

 private:
  // Ids count from 1 without a gap, so they say where in the lists their rows are.
  static size_t IndexOf(ProjectId project) { return static_cast<size_t>(project.value - 1); }
  static size_t IndexOf(MigrationId migration) { return static_cast<size_t>(migration.value - 1); }
  // Whether it is so in any migration of the project.
  template <typename Is>
  bool AnyHistory(const std::string& ref, const Is& is) const;
  void CheckGrants(const core::Writes& writes);
  void CheckLimits(const core::MigrationRow& migration);
  void CheckAttempt(const core::AttemptRow& attempt);
  void CheckEvent(const core::EventRow& event);
  void CheckSecrets(const std::string& text);
  void CheckStates();
  void TakeRows(core::Writes& writes);
  void TakeHistories(core::Writes& writes);

  Judge& judge_;
  int64_t epoch_ = 0;
  core::Counters counters_;
  std::vector<core::MigrationRow> migrations_;
  std::vector<core::BatchRow> batches_;
  std::vector<core::ProjectRow> projects_;
  std::map<std::string, core::WorkerRow> workers_;
  // By migration and index of the ref: where its row is in `projects_`; -1: not in that migration.
  std::vector<std::array<int, kProjects>> row_of_;
  std::vector<History> histories_;
  // The state of each row of `projects_` as the event log tells it.
  std::vector<ProjectState> states_;
  std::vector<size_t> changed_;
  int64_t highest_fence_ = 0;
};

}  // namespace pgconvoy::sim
