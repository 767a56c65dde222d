// The decisions of Core, in pieces: submit.cc, scheduler.cc, reports.cc, sessions.cc, commands.cc, lifecycle.cc and
// load.cc. All of them change projects through Move() alone, which takes the new state from the transition table.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/fleet.h"
#include "coordinator/core/step.h"
#include "coordinator/core/transitions.h"

namespace pgconvoy::core {

// Bit 0 of done_rollback: a rollback was asked for while a forward attempt runs.
inline constexpr uint32_t kRollbackAskedBit = 1;
// Warnings kept per project; the rest is counted by nobody and kept in the phase results.
inline constexpr size_t kMaxWarnings = 100;
// Refs that a busy submission names.
inline constexpr size_t kMaxBusyNamed = 10;

// The phases that the project's attempt has still to do, in order.
std::vector<Phase> RemainingPhases(const Project& project);
// The first of them.
std::optional<Phase> NextPhase(const Project& project);
// True when cancel or rollback wants the running forward attempt to end.
bool StopAsked(const Project& project);

class Core::Impl {
 public:
  Impl(const Settings& settings, uint64_t seed) : settings_(settings), seed_(seed) {}

  void Load(Snapshot snapshot, TimePoint now);
  void Apply(const Event& event, TimePoint now, Output& out);
  void Schedule(TimePoint now, Output& out);
  std::optional<MonotonicMs> NextDeadline() const;
  bool Holds(MigrationId migration) const { return fleet_.FindMigration(migration) != nullptr; }
  WaitCause WhyWaiting(MigrationId migration, const std::string& ref, TimePoint now) const;
  std::string CheckInvariants() const;

 private:
  // What an event leads to, one overload per event.
  void On(Step& step, const WorkerHello& hello);
  void On(Step& step, const WorkerHeartbeat& heartbeat);
  void On(Step& step, const WorkerGone& gone);
  void On(Step& step, const WorkerReport& report);
  void On(Step& step, const WorkerRelease& release);
  void On(Step& step, const SubmitMigration& submit);
  void On(Step& step, const Command& command);
  void On(Step& step, const Reopen& reopen);
  void On(Step& step, const Tick& tick);

  // ---- load.cc
  void LoadMigration(MigrationRow row,
                     std::vector<BatchRow> batches,
                     std::vector<ProjectRow> projects,
                     TimePoint now);

  // ---- submit.cc
  absl::Status CheckSubmission(const SubmitMigration& submit) const;
  absl::Status CheckBusy(const std::vector<const std::string*>& refs) const;
  MigrationId Create(Step& step, const SubmitMigration& submit);

  // ---- scheduler.cc
  struct Pick {
    Batch* batch = nullptr;
    Direction direction = Direction::kForward;
  };
  // A worker with free slots, and all that is kept for one Schedule().
  struct Idle;
  struct Round;
  Pick NextFor(Idle& idle, Round& round);
  static Pick FromHeld(Idle& idle, Direction direction);
  Pick FromWaiting(Direction direction, Round& round) const;
  // The first batch of a migration that nobody holds and that can be granted from.
  static Pick FirstOpen(Migration& migration, Direction direction, Round& round);
  void Grant(Step& step, Idle& idle, const Pick& pick, Round& round);
  Fence BeginAttempt(Step& step, Project& project);

  // ---- sessions.cc
  // The worker of a stream that still counts; null for a superseded one. Stamps its arrival.
  Worker* Heard(Step& step, StreamId stream);
  void SetDraining(Step& step, Worker& worker, bool draining);
  void ReconcileHeld(Step& step, Worker& worker, const WorkerHello& hello);
  void ExpireLeases(Step& step);
  // Ends every lease of the worker; its running projects count as lost.
  void Forfeit(Step& step, Worker& worker);
  void EndBackoffs(Step& step);

  // ---- reports.cc
  // What a report body does; "" when accepted, else why it is illegal.
  std::string Take(Step& step, Project& project, const WorkerReport& report, const PhaseStarted& body);
  std::string Take(Step& step, Project& project, const WorkerReport& report, const IntentReported& body);
  std::string Take(Step& step, Project& project, const WorkerReport& report, const Progress& body);
  std::string Take(Step& step, Project& project, const WorkerReport& report, const PhaseDone& body);
  std::string Take(Step& step, Project& project, const WorkerReport& report, const AttemptFailed& body);
  std::string Take(Step& step, Project& project, const WorkerReport& report, const AttemptDone& body);
  void RecordIllegal(Step& step, const Project& project, const WorkerReport& report, const std::string& why);

  // ---- lifecycle.cc
  struct Change {
    Trigger trigger;
    std::string actor = std::string(kCoordinator);
    std::optional<Direction> direction = std::nullopt;
    // Both 0 unless it waits for time.
    MonotonicMs ready_at = 0;
    WallMs not_before = 0;
    // An operator's words.
    std::string operator_reason = {};
  };
  // The only way a project changes state: by a row of the transition table.
  void Move(Step& step, Project& project, const Change& change);
  // Turns the project to a rollback that begins anew.
  void TurnBack(Step& step, Project& project, Change change);
  void AttemptSucceeded(Step& step, Project& project, const std::string& actor);
  void AttemptEndedBadly(Step& step, Project& project, const ErrorInfo& error, const std::string& actor);
  // The attempt ended without an error of its own: released, or its grant never arrived.
  void AttemptGivenUp(Step& step, Project& project, const Change& change);
  void AttemptLost(Step& step, Project& project);
  void StopAfterAttempt(Step& step, Project& project, const std::string& actor);
  void FailTransiently(Step& step, Project& project, const ErrorInfo& error, const std::string& actor);
  void FailPermanently(Step& step, Project& project, const ErrorInfo& error, const std::string& actor);
  void NeedOperator(Step& step, Project& project, Change change, ErrorInfo error);
  MonotonicMs Backoff(const Project& project) const;
  // Gives the batch back when its holder has nothing to do with it.
  void SettleBatch(Step& step, Batch& batch);
  void MoveMigration(Step& step,
                     Migration& migration,
                     MigrationTrigger trigger,
                     std::string_view actor,
                     const std::string& operator_reason);
  void EndMigrations(Step& step);

  // ---- commands.cc
  absl::Status MarkBackups(Step& step, const Command& command) const;
  static void RecordNotes(Step& step, const Command& command);
  absl::Status Pause(Step& step, Migration& migration, const Command& command);
  absl::Status Resume(Step& step, Migration& migration, const Command& command);
  absl::Status Cancel(Step& step, Migration& migration, const Command& command, int64_t& changed);
  absl::Status Retry(Step& step, Migration& migration, const Command& command, int64_t& changed);
  absl::Status Rollback(Step& step, Migration& migration, const Command& command, int64_t& changed);
  bool CancelProject(Step& step, Project& project, const Command& command);
  bool RetryProject(Step& step, Project& project, const Command& command);
  bool RollbackProject(Step& step, Project& project, const Command& command);
  bool RollBackWaiting(Step& step, Project& project, const Command& command);
  void AskToStop(Step& step, const Project& project);
  absl::StatusOr<Migration*> MigrationFor(const Command& command);

  const Settings settings_;
  const uint64_t seed_;
  Counters counters_;
  Fleet fleet_;
  // Migrations that are not in memory any more.
  std::map<MigrationId, MigrationState> ended_;
  // Request ids of all migrations, ended ones too.
  std::map<std::string, MigrationId> by_request_;
  // Why the last Reopen of a migration was refused, until its command is answered.
  std::map<MigrationId, absl::Status> reopen_refused_;
};

}  // namespace pgconvoy::core
