// The coordinator's pure core: what happened comes in, what is to be done comes out.
//
// It owns the whole fleet state (migrations, batches, projects, workers, leases, tokens) and decides every
// transition. It does no I/O, reads no clock, draws no randomness but from the seed it was given, starts no thread.
// The same class runs in production and in simulation.
//
// Protocol with its caller (coordinator/runtime): apply a group of events, commit `Output::writes` in one
// transaction, and only then let `Output::messages` and `Output::replies` out. When a commit fails or its outcome
// is unknown, throw the core away and Load() a new one from the store under a new epoch.
//
// Thread safety: none; one thread owns it.
// Determinism: same seed, same Load and same events give the same outputs, byte for byte. No iteration order of a
// hash table reaches a decision.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/model/model.h"

namespace pgconvoy::core {

// ---- limits and settings ---------------------------------------------------------------------------------------

struct Settings {
  // A worker that was silent for so long has lost its leases.
  MonotonicMs lease_ttl_ms = 15'000;
  // Attempts of one project that may end with a lost lease before it needs an operator: a project that kills every
  // worker that touches it must not kill them for ever.
  int max_lost_attempts = 25;
  // Progress reports are written at most so often per project.
  MonotonicMs progress_interval_ms = 2'000;
};

// ---- ids of the shell ------------------------------------------------------------------------------------------

// One worker stream, as long as it is open. Given by the service, never reused within a process.
using StreamId = Id<struct StreamTag>;
// One waiting unary call; 0 when nobody waits.
using RequestId = Id<struct RequestTag>;

// ---- what the store holds: rows --------------------------------------------------------------------------------
// Rows are values. The core emits whole rows; the store upserts them by key. Within one group the last one of a key
// counts. Opaque payloads (plan_json, payload_json, …) pass through the core unread.

struct ErrorInfo {
  // TRANSIENT, PERMANENT, FENCED, OPERATOR or ABANDONED.
  Verdict verdict = Verdict::kPermanent;
  std::string code;
  std::string message;
  std::string remedy;
};

// Counters of a migration's projects by state; index: static_cast<int>(ProjectState).
using StateCounts = std::array<int64_t, kProjectStateCount + 1>;

struct ServerLimit {
  std::string server;
  int max_projects = 8;
};

// Everything that a migration's plan means to the core. Computed by the service when the migration is submitted.
struct MigrationSpec {
  std::string name;
  std::string request_id;
  std::string plan_json;
  std::string plan_hash;
  // Forward phases that apply, in order; FENCE first.
  std::vector<Phase> phases;
  std::vector<ServerLimit> limits;
  int batch_size = 20;
  int64_t batch_bytes = int64_t{1} << 30;
  // Failed attempts of one direction before the project needs an operator. Lost attempts do not count here.
  int max_attempts = 8;
  MonotonicMs initial_backoff_ms = 500;
  MonotonicMs max_backoff_ms = 30'000;
  bool rollback_on_failure = true;
  // The migration whose credentials this one changes; unset: it changes none.
  MigrationId credentials_of;
};

struct MigrationRow {
  MigrationId id;
  MigrationSpec spec;
  MigrationState state = MigrationState::kRunning;
  WallMs create_time = 0;
  // 0 until ended.
  WallMs end_time = 0;
  StateCounts counts{};
  int64_t rows_copied = 0;
  int64_t bytes_copied = 0;
  int64_t estimated_bytes = 0;
};

struct BatchRow {
  BatchId id;
  MigrationId migration;
  BatchState state = BatchState::kWaiting;
  std::string source_server;
  std::string target_server;
  int64_t projects = 0;
  int64_t projects_ended = 0;
  int64_t estimated_bytes = 0;
  // Empty unless kLeased.
  std::string worker_id;
};

struct ProjectRow {
  ProjectId id;
  MigrationId migration;
  BatchId batch;
  std::string ref;
  // JSON object of strings; "" when there are none. Opaque.
  std::string attributes_json;
  ProjectState state = ProjectState::kPending;
  Direction direction = Direction::kForward;
  // Last phase begun; kFence before the first.
  Phase phase = Phase::kFence;
  Fence fence;
  // Attempts begun, both directions.
  int attempts = 0;
  // Failed attempts of the present direction since submit, retry or the turn to rollback.
  int failures = 0;
  // Attempts that ended with a lost lease since then.
  int losses = 0;
  // Bit p set: forward phase p has a durable result. FENCE, which every attempt repeats, counts for the latest one.
  uint32_t done_forward = 0;
  // The same for rollback; cleared whenever a rollback begins anew. Bit 0, which no phase has: a rollback was asked for
  // while a forward attempt ran, and begins when that attempt ends.
  uint32_t done_rollback = 0;
  // True once any intent or any phase result beyond PRE_VALIDATION is recorded, or an attempt was lost, of which nobody
  // knows what it did: there may be something to undo.
  bool touched = false;
  // Cancel was asked for while it ran or waited: the rollback that follows ends as kCancelled.
  bool cancelling = false;
  // The rollback was asked for by an operator, and may discard what the tenant wrote.
  bool discard_writes = false;
  // Highest report sequence number recorded under `fence`.
  int64_t last_seq = 0;
  // Empty unless kRunning.
  std::string worker_id;
  // Wall time before which it is not granted again; 0: none. Converted on Load.
  WallMs not_before = 0;
  std::optional<ErrorInfo> error;
  std::vector<std::string> warnings;
  int64_t rows_copied = 0;
  int64_t bytes_copied = 0;
  int64_t estimated_bytes = 0;
};

struct AttemptRow {
  ProjectId project;
  MigrationId migration;
  int number = 0;
  Fence fence;
  Direction direction = Direction::kForward;
  std::string worker_id;
  // 0 in the row that ends an attempt begun in an earlier term: the store keeps what it has.
  WallMs start_time = 0;
  // 0 while it runs.
  WallMs end_time = 0;
  Phase phase = Phase::kFence;
  // "", "succeeded", "failed", "lost", "abandoned"
  std::string outcome;
  std::optional<ErrorInfo> error;
};

struct IntentRow {
  ProjectId project;
  MigrationId migration;
  Fence fence;
  // Orders the intents of a fence: the report's sequence number.
  int64_t seq = 0;
  // proto Intent as JSON.
  std::string payload_json;
};

struct PhaseResultRow {
  ProjectId project;
  MigrationId migration;
  Fence fence;
  Phase phase = Phase::kFence;
  Direction direction = Direction::kForward;
  WallMs end_time = 0;
  // proto PhaseResult as JSON, or the name of its phase as a JSON string when it says nothing else.
  std::string payload_json;
};

struct WorkerRow {
  std::string id;
  std::string incarnation;
  std::string version;
  std::string host;
  int slots = 0;
  // "connected", "draining", "drained", "lost"
  std::string state;
  WallMs last_seen = 0;
};

struct EventRow {
  WallMs time = 0;
  // 0: none.
  MigrationId migration;
  // "": none.
  std::string project_ref;
  std::string kind;
  std::string actor;
  // Id of the row in the phase or transition table that decided it, for example "T-07".
  std::string rule;
  std::string reason;
  // JSON object, or "".
  std::string detail_json;
};

struct Counters {
  int64_t next_fence = 1;
  int64_t next_migration = 1;
  int64_t next_batch = 1;
  int64_t next_project = 1;
};

struct Writes {
  // New migrations come with all their batches and projects; they are inserted, everything else is upserted.
  std::vector<MigrationRow> new_migrations;
  std::vector<BatchRow> new_batches;
  std::vector<ProjectRow> new_projects;
  std::vector<MigrationRow> migrations;
  std::vector<BatchRow> batches;
  std::vector<ProjectRow> projects;
  std::vector<AttemptRow> attempts;
  std::vector<IntentRow> intents;
  // New ones.
  std::vector<PhaseResultRow> results;
  // Results that exist, with what has become of them.
  std::vector<PhaseResultRow> result_marks;
  std::vector<WorkerRow> workers;
  std::vector<EventRow> events;
  // Set when it changed: the next fence and the next row ids to give out.
  std::optional<Counters> counters;
  bool Empty() const;
};

// What Load() starts from: all unended migrations with their batches and projects, the ended ones' headers, and
// all workers. Rows of ended projects in unended migrations are included.
struct Snapshot {
  Counters counters;
  std::vector<MigrationRow> migrations;
  std::vector<BatchRow> batches;
  std::vector<ProjectRow> projects;
  std::vector<WorkerRow> workers;
};

// ---- events in -------------------------------------------------------------------------------------------------

struct HeldProject {
  MigrationId migration;
  std::string ref;
  Fence fence;
};

struct WorkerHello {
  StreamId stream;
  std::string worker_id;
  std::string incarnation;
  std::string version;
  std::string host;
  int slots = 1;
  bool draining = false;
  std::vector<HeldProject> held;
};
struct WorkerHeartbeat {
  StreamId stream;
  bool draining = false;
};
// The stream closed. Leases live on until their time is up: the worker may reconnect.
struct WorkerGone {
  StreamId stream;
};

struct PhaseStarted {
  Phase phase = Phase::kFence;
};
struct IntentReported {
  std::string payload_json;
};
struct Progress {
  int64_t rows = 0;
  int64_t bytes = 0;
};
struct PhaseDone {
  Phase phase = Phase::kFence;
  std::string payload_json;
  // Set by the converter for COPY, else 0.
  int64_t rows_copied = 0;
  int64_t bytes_copied = 0;
  std::vector<std::string> warnings;
};
struct AttemptFailed {
  Phase phase = Phase::kFence;
  ErrorInfo error;
};
struct AttemptDone {
  std::vector<std::string> warnings;
};
struct WorkerReport {
  StreamId stream;
  MigrationId migration;
  std::string ref;
  Fence fence;
  int64_t seq = 0;
  std::variant<PhaseStarted, IntentReported, Progress, PhaseDone, AttemptFailed, AttemptDone> body;
};
struct WorkerRelease {
  StreamId stream;
  std::vector<HeldProject> projects;
};

struct ProjectInput {
  std::string ref;
  std::string attributes_json;
  int64_t estimated_bytes = 0;
  std::string source_server;
  std::string target_server;
};
struct SubmitMigration {
  RequestId request;
  std::string actor;
  MigrationSpec spec;
  std::vector<ProjectInput> projects;
  std::string reason = {};
};

// What becomes of a backup: its BACKUP result with the new mark in it.
struct BackupMark {
  std::string ref;
  PhaseResultRow result;
};

enum class CommandKind : uint8_t {
  kPause,
  kResume,
  kCancel,
  kRetry,
  kRollback,
  // Decides that backups go. Refused while a project of theirs is in an unfinished migration. All or nothing.
  kPruneBackups,
  // Their files are gone.
  kBackupsRemoved,
  // Only appends to the event log.
  kNote,
};

// What was done outside of the core, for the event log.
struct Note {
  // Unset, "": none.
  MigrationId migration;
  std::string project_ref;
  std::string kind;
  std::string reason;
  // What was removed or mended, and where; "": none.
  std::string object;
};
struct Command {
  RequestId request;
  CommandKind kind = CommandKind::kPause;
  MigrationId migration;
  // kRetry, kRollback: "" for all.
  std::string ref;
  bool discard_writes = false;
  std::string actor;
  std::string reason;
  // kPruneBackups, kBackupsRemoved; `migration` and `ref` are unset then.
  std::vector<BackupMark> backups;
  // kNote; `migration` and `ref` are unset then, and `actor` is the event's whole actor.
  std::vector<Note> notes;
};

// For kRetry and kRollback of an *ended* migration the runtime first hands its rows back in.
struct Reopen {
  MigrationRow migration;
  std::vector<BatchRow> batches;
  std::vector<ProjectRow> projects;
};

// Time passes. The runtime sends one at NextDeadline() at the latest, after it has drained its queue.
struct Tick {};

using Event = std::variant<WorkerHello,
                           WorkerHeartbeat,
                           WorkerGone,
                           WorkerReport,
                           WorkerRelease,
                           SubmitMigration,
                           Command,
                           Reopen,
                           Tick>;

// ---- directives out --------------------------------------------------------------------------------------------

struct SendWelcome {
  StreamId stream;
};
struct GrantedProject {
  ProjectId id;
  std::string ref;
  std::string attributes_json;
  Fence fence;
  Direction direction = Direction::kForward;
  // FENCE first; forward phases already done are left out, for a rollback all that apply.
  std::vector<Phase> phases;
  bool discard_writes = false;
  // True when earlier attempts, or the migration whose credentials are changed, may have left results or intents: the
  // runtime attaches them from the store.
  bool has_history = false;
};
struct SendGrant {
  StreamId stream;
  MigrationId migration;
  BatchId batch;
  std::vector<GrantedProject> projects;
};
struct SendAck {
  StreamId stream;
  MigrationId migration;
  std::string ref;
  Fence fence;
  int64_t seq = 0;
  // "": accepted. "LEASE_LOST": stale fence. "ILLEGAL": a report that the state machine does not allow here.
  std::string refused_reason;
  std::string refused_message;
};
enum class RevokeReason : uint8_t { kLeaseLost = 1, kCancelled = 2 };
struct SendRevoke {
  StreamId stream;
  std::vector<HeldProject> projects;
  RevokeReason reason = RevokeReason::kLeaseLost;
};
using Message = std::variant<SendWelcome, SendGrant, SendAck, SendRevoke>;

struct Reply {
  RequestId request;
  absl::Status status;
  MigrationId migration;
  // SubmitMigration: the request id was known.
  bool existed = false;
  // kRetry, kRollback, kCancel: projects that changed.
  int64_t projects_changed = 0;
};

// A target server of a migration that has just ended: a reconcile task is due. The shell runs it.
struct ReconcileDue {
  MigrationId migration;
};

struct Output {
  Writes writes;
  std::vector<Message> messages;
  std::vector<Reply> replies;
  std::vector<ReconcileDue> reconciles;
};

// ---- the core --------------------------------------------------------------------------------------------------

struct TimePoint {
  MonotonicMs mono = 0;
  WallMs wall = 0;
};

// Why a project waits; the closed list.
enum class WaitCause : uint8_t {
  kNone = 0,
  kPausedByUser,
  kRetryBackoff,
  kSourceTokens,
  kTargetTokens,
  kNoWorker,
  kBatchOrder,
};
std::string_view Name(WaitCause cause);

class Core {
 public:
  // `seed` feeds the jitter of backoffs and nothing else.
  Core(const Settings& settings, uint64_t seed);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Starts a term: every lease found in the snapshot is renewed once, from `now`. Called once, before Apply.
  void Load(Snapshot snapshot, TimePoint now);

  // Applies one event. Messages and replies are appended to `out`, rows replace older rows of the same key.
  void Apply(const Event& event, TimePoint now, Output& out);

  // Gives work to workers that have free slots. The runtime calls it once per group, after the last Apply.
  void Schedule(TimePoint now, Output& out);

  // When time alone changes something next (a lease ends, a backoff is over); nothing when never.
  std::optional<MonotonicMs> NextDeadline() const;

  // True when the migration is in memory, so that a command needs no Reopen first.
  bool Holds(MigrationId migration) const;

  // Why this project waits now; kNone when it does not wait or is unknown. For GetProject.
  WaitCause WhyWaiting(MigrationId migration, const std::string& ref, TimePoint now) const;

  // Checks every invariant over the whole state: counts match, tokens match what runs, one running attempt per ref,
  // fences unique, leases have holders. "" when all hold, else what does not. For tests and debug builds.
  std::string CheckInvariants() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgconvoy::core
