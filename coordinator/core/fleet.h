// The fleet in memory: migrations, batches, projects, workers, and the indices that keep every decision independent
// of how many projects there are. It knows where a thing is, not what becomes of it; core_impl.h decides that.
//
// Thread safety: none. Ownership: Fleet owns everything; pointers into it live until RemoveMigration / RemoveWorker.
// Invariant: a project is either placed (counted, queued, holding its tokens) or between Unplace and Place.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <vector>

#include "common/model/model.h"
#include "coordinator/core/core.h"

namespace pgconvoy::core {

struct Migration;
struct Worker;

// "No row of it has been written into the present Output", or one that no longer counts.
inline constexpr uint32_t kNoRow = UINT32_MAX;

constexpr uint32_t Bit(Phase phase) { return uint32_t{1} << static_cast<unsigned>(phase); }
// Array index of a direction.
constexpr size_t At(Direction direction) { return direction == Direction::kRollback ? 1 : 0; }
constexpr size_t At(ProjectState state) { return static_cast<size_t>(state); }

// Project indices, smallest first out. 4 bytes each: a fleet's worth of them waits at once.
class ReadyList {
 public:
  bool empty() const { return descending_.empty(); }
  size_t size() const { return descending_.size(); }
  uint32_t front() const { return descending_.back(); }
  // Ascending.
  auto begin() const { return descending_.rbegin(); }
  auto end() const { return descending_.rend(); }
  bool Contains(uint32_t index) const;
  void Insert(uint32_t index);
  void Erase(uint32_t index);

 private:
  std::vector<uint32_t> descending_;
};

// One project. Field by field as ProjectRow, but small: a million of them stay in memory.
struct Project {
  ProjectId id;
  Migration* home = nullptr;
  // Index in home->batches.
  uint32_t batch = 0;
  uint32_t row_hint = kNoRow;
  uint32_t attempt_hint = kNoRow;
  int32_t attempts = 0;
  std::string ref;
  std::string attributes_json;
  Fence fence;
  int64_t last_seq = 0;
  WallMs not_before = 0;
  // 0 when nothing keeps it back; else it stands in Fleet::timers.
  MonotonicMs ready_at = 0;
  // 0 when the running attempt was begun in an earlier term.
  WallMs attempt_start = 0;
  MonotonicMs progress_due = 0;
  int64_t rows_copied = 0;
  int64_t bytes_copied = 0;
  int64_t estimated_bytes = 0;
  std::unique_ptr<ErrorInfo> error;
  std::unique_ptr<std::vector<std::string>> warnings;
  int32_t failures = 0;
  int32_t losses = 0;
  uint32_t done_forward = 0;
  uint32_t done_rollback = 0;
  ProjectState state = ProjectState::kPending;
  Direction direction = Direction::kForward;
  Phase phase = Phase::kFence;
  bool touched = false;
  bool cancelling = false;
  bool discard_writes = false;
  // Progress is acknowledged before it is durable, so after a Load the worker may be ahead of last_seq, once.
  bool seq_gap_allowed = false;

  uint32_t& done() { return direction == Direction::kRollback ? done_rollback : done_forward; }
  uint32_t done() const { return direction == Direction::kRollback ? done_rollback : done_forward; }
};

// How many projects of a migration may be in flight on one server.
struct Tokens {
  int limit = 0;
  int used = 0;
};

// Batches of a migration that share source and target, and so their tokens.
struct ServerPair {
  std::string source;
  std::string target;
  // Null when the pair names no such server; target_tokens also when source and target are one server.
  Tokens* source_tokens = nullptr;
  Tokens* target_tokens = nullptr;
  // Indices of batches that nobody holds and that have ready projects, by direction.
  std::set<uint32_t> open[2];

  bool HasTokens() const;
};

struct Batch {
  BatchId id;
  Migration* home = nullptr;
  // Index in home->batches.
  uint32_t index = 0;
  // Index in home->pairs.
  uint32_t pair = 0;
  uint32_t projects = 0;
  uint32_t ended = 0;
  uint32_t row_hint = kNoRow;
  int64_t estimated_bytes = 0;
  // Null when nobody holds it.
  Worker* worker = nullptr;
  ReadyList ready[2];
  ReadyList running;

  bool HasReady() const { return !ready[0].empty() || !ready[1].empty(); }
};

struct Migration {
  // spec, state, counts and sums are kept up to date.
  MigrationRow row;
  std::vector<Phase> rollback_phases;
  // Ascending by id. Never grows after it was built: pointers into both vectors stay valid.
  std::vector<Batch> batches;
  std::vector<Project> projects;
  std::vector<ServerPair> pairs;
  std::map<std::string, Tokens> tokens;
  uint32_t row_hint = kNoRow;

  int64_t Unended() const;
  const std::vector<Phase>& Phases(Direction direction) const;
};

struct BatchOrder {
  bool operator()(const Batch* a, const Batch* b) const;
};

struct Worker {
  std::string id;
  std::string incarnation;
  std::string version;
  std::string host;
  int slots = 0;
  // None while it is not connected.
  std::optional<StreamId> stream;
  MonotonicMs last_heard = 0;
  bool draining = false;
  // Its leases are gone; only its open stream keeps it in memory.
  bool lost = false;
  int running = 0;
  std::set<Batch*, BatchOrder> batches;
  uint32_t row_hint = kNoRow;

  int FreeSlots() const { return stream && !draining && !lost ? slots - running : 0; }
};

class Fleet {
 public:
  using Timer = std::tuple<MonotonicMs, MigrationId, uint32_t>;

  // Adds an empty migration with room for so many batches and projects.
  Migration& AddMigration(MigrationRow row, size_t batches, size_t projects);
  // In ascending order of id. The worker it names is made if it is unknown.
  void AddBatch(Migration& migration, const BatchRow& row);
  // In ascending order of (batch, id), after all batches. A WAITING project is kept back until `ready_at`.
  void AddProject(Migration& migration, ProjectRow row, MonotonicMs ready_at);
  // All its projects must have ended.
  void RemoveMigration(MigrationId id);

  Migration* FindMigration(MigrationId id);
  const Migration* FindMigration(MigrationId id) const;
  // Null when this migration is not in memory or has no such project.
  Project* Find(MigrationId migration, std::string_view ref);
  const Project* Find(MigrationId migration, std::string_view ref) const;
  // Whatever migration in memory it belongs to.
  const Project* FindAnywhere(std::string_view ref) const;

  // Takes a project out of every count and queue, so that its state, direction and ready_at may be changed.
  void Unplace(Project& project);
  void Place(Project& project);

  void Lease(Batch& batch, Worker& worker);
  void GiveBack(Batch& batch);

  Worker& AddWorker(const std::string& id);
  // It must hold nothing.
  void RemoveWorker(const std::string& id);
  Worker* FindWorker(const std::string& id);
  Worker* WorkerOn(StreamId stream);
  // No other worker may be on that stream.
  void Connect(Worker& worker, StreamId stream);
  void Disconnect(Worker& worker);

  // Checks all indices against the rows; "" when they hold.
  std::string CheckInvariants() const;

  const std::map<MigrationId, std::unique_ptr<Migration>>& migrations() const { return migrations_; }
  const std::map<std::string, Worker>& workers() const { return workers_; }
  std::map<std::string, Worker>& workers() { return workers_; }
  // Whether any project could be granted if there were workers and tokens for it.
  bool HasReady() const { return ready_ > 0; }
  // Projects in backoff, by the time it ends.
  const std::set<Timer>& timers() const { return timers_; }
  Project& ProjectOf(const Timer& timer);

 private:
  struct RefHash {
    using is_transparent = void;
    size_t operator()(std::string_view ref) const { return std::hash<std::string_view>()(ref); }
    size_t operator()(const Project* project) const { return (*this)(std::string_view(project->ref)); }
  };
  struct RefEqual {
    using is_transparent = void;
    static std::string_view Ref(std::string_view ref) { return ref; }
    static std::string_view Ref(const Project* project) { return project->ref; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Ref(a) == Ref(b);
    }
  };

  uint32_t PairIndex(Migration& migration, const BatchRow& row);
  static void RefreshOpen(Batch& batch);

  std::map<MigrationId, std::unique_ptr<Migration>> migrations_;
  std::map<std::string, Worker> workers_;
  std::map<StreamId, Worker*> streams_;
  std::set<Timer> timers_;
  // Projects that stand in a ReadyList.
  size_t ready_ = 0;
  // Looked up, never iterated: its order must not reach a decision.
  std::unordered_set<Project*, RefHash, RefEqual> by_ref_;
};

}  // namespace pgconvoy::core
