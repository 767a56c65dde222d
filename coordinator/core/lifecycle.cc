// How attempts end and what that makes of their projects.
#include <algorithm>
#include <cstdlib>

#include "common/base/planted.h"
#include "coordinator/core/core_impl.h"
#include "coordinator/core/phase_table.h"

namespace pgconvoy::core {
namespace {

// splitmix64: one well-mixed number per input, so that jitter depends on seed and fence alone and not on what
// happened before.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

void SetError(Project& project, ErrorInfo error) { project.error = std::make_unique<ErrorInfo>(std::move(error)); }

ErrorInfo OperatorError(std::string_view code, std::string message, std::string_view remedy) {
  return {Verdict::kOperator, std::string(code), std::move(message), std::string(remedy)};
}

// What decides a failed forward attempt's way when its error cannot pass.
Trigger PermanentTrigger(const Project& project) {
  if (project.direction == Direction::kRollback) {
    return Trigger::kRollbackFailed;
  }
  if (!project.touched) {
    return Trigger::kFailedUntouched;
  }
  return project.home->row.spec.rollback_on_failure && !PGC_PLANTED(kFailedWithoutRollback) ? Trigger::kFailedTouched
                                                                                            : Trigger::kFailedKept;
}

}  // namespace

std::vector<Phase> RemainingPhases(const Project& project) {
  std::vector<Phase> phases;
  for (const Phase phase : project.home->Phases(project.direction)) {
    if ((project.done() & Bit(phase)) == 0) {
      phases.push_back(phase);
    }
  }
  return phases;
}

std::optional<Phase> NextPhase(const Project& project) {
  for (const Phase phase : project.home->Phases(project.direction)) {
    if ((project.done() & Bit(phase)) == 0) {
      return phase;
    }
  }
  return std::nullopt;
}

bool StopAsked(const Project& project) {
  return project.direction == Direction::kForward && !PGC_PLANTED(kStopForgotten) &&
         (project.cancelling || (project.done_rollback & kRollbackAskedBit) != 0);
}

void Core::Impl::Move(Step& step, Project& project, const Change& change) {
  const Transition* row = FindTransition(project.state, change.trigger);
  if (row == nullptr) {
    // Going on would write a state that the table does not know; the store still holds the last good one.
    std::abort();
  }
  Batch& batch = project.home->batches[project.batch];
  const uint32_t ended_before = batch.ended;
  const std::string worker = WorkerIdOf(project);
  // What ended together with the attempt is told with its end.
  const std::string phases = change.direction.has_value() ? "" : step.TakeBackPhasesDone(project);
  fleet_.Unplace(project);
  project.state = row->to;
  project.direction = change.direction.value_or(project.direction);
  project.ready_at = change.ready_at;
  project.not_before = change.not_before;
  fleet_.Place(project);
  step.Write(project);
  step.Write(*project.home);
  if (batch.ended != ended_before) {
    step.Write(batch);
  }
  step.changed().insert(project.home->row.id);
  step.Record(project.home->row.id, project.ref,
              {.kind = "PROJECT_STATE",
               .actor = change.actor,
               .rule = row->id,
               .reason = row->reason,
               .details = {{"from", Name(row->from)},
                           {"to", Name(row->to)},
                           {"direction", Name(project.direction)},
                           {"fence", std::to_string(project.fence.value)},
                           {"worker", worker.empty() ? WorkerIdOf(project) : worker},
                           {"phases", phases},
                           {"error", project.error ? project.error->code : ""},
                           {"operator_reason", change.operator_reason}}});
  SettleBatch(step, batch);
}

void Core::Impl::SettleBatch(Step& step, Batch& batch) {
  if (batch.worker == nullptr || !batch.running.empty()) {
    return;
  }
  if (!batch.HasReady() || batch.worker->draining || batch.worker->lost) {
    fleet_.GiveBack(batch);
    step.Write(batch);
  }
}

void Core::Impl::TurnBack(Step& step, Project& project, Change change) {
  project.done_rollback = 0;
  project.failures = 0;
  project.losses = 0;
  change.direction = Direction::kRollback;
  Move(step, project, change);
}

void Core::Impl::NeedOperator(Step& step, Project& project, Change change, ErrorInfo error) {
  SetError(project, std::move(error));
  Move(step, project, change);
}

void Core::Impl::AttemptSucceeded(Step& step, Project& project, const std::string& actor) {
  step.WriteAttempt(project, "succeeded");
  if (project.direction == Direction::kRollback) {
    Move(step, project,
         {.trigger = project.cancelling ? Trigger::kUndoneForCancel : Trigger::kUndone, .actor = actor});
    return;
  }
  project.error.reset();
  project.cancelling = false;
  if ((project.done_rollback & kRollbackAskedBit) != 0) {
    TurnBack(step, project, {.trigger = Trigger::kSucceededDespiteRollback, .actor = actor});
    return;
  }
  const bool warned = project.warnings != nullptr;
  Move(step, project, {.trigger = warned ? Trigger::kSucceededWithWarnings : Trigger::kSucceeded, .actor = actor});
}

void Core::Impl::AttemptEndedBadly(Step& step, Project& project, const ErrorInfo& error, const std::string& actor) {
  step.WriteAttempt(project, error.verdict == Verdict::kAbandoned ? "abandoned" : "failed", &error);
  if (error.verdict == Verdict::kOperator) {
    NeedOperator(step, project, {.trigger = Trigger::kOperatorNeeded, .actor = actor}, error);
  } else if (error.verdict == Verdict::kFenced) {
    NeedOperator(
        step, project, {.trigger = Trigger::kStoreRegressed, .actor = actor},
        OperatorError("PGC-STORE-REGRESSED",
                      "a server has seen a higher fence than this store ever gave out: " + error.message,
                      "find out whether the store was restored from an old backup before anything else runs"));
  } else if (StopAsked(project)) {
    if (error.verdict != Verdict::kAbandoned) {
      SetError(project, error);
    }
    StopAfterAttempt(step, project, actor);
  } else if (error.verdict == Verdict::kAbandoned) {
    Move(step, project, {.trigger = Trigger::kAbandoned, .actor = actor});
  } else if (error.verdict == Verdict::kPermanent) {
    FailPermanently(step, project, error, actor);
  } else {
    FailTransiently(step, project, error, actor);
  }
}

void Core::Impl::FailTransiently(Step& step, Project& project, const ErrorInfo& error, const std::string& actor) {
  project.failures += PGC_PLANTED(kRetryForEver) ? 0 : 1;
  if (project.failures >= project.home->row.spec.max_attempts) {
    NeedOperator(step, project, {.trigger = Trigger::kRetriesExhausted, .actor = actor},
                 OperatorError("PGC-RETRIES-EXHAUSTED",
                               "gave up after " + std::to_string(project.failures) +
                                   " failed attempts; the last error was " + error.code + ": " + error.message,
                               error.remedy.empty() ? "remove the cause, then retry" : error.remedy));
    return;
  }
  if (project.direction == Direction::kForward) {
    // A rollback keeps the error that led to it.
    SetError(project, error);
  }
  const MonotonicMs pause = Backoff(project);
  Move(step, project,
       {.trigger = Trigger::kFailedTransiently,
        .actor = actor,
        .ready_at = step.now().mono + pause,
        .not_before = step.now().wall + pause});
}

void Core::Impl::FailPermanently(Step& step, Project& project, const ErrorInfo& error, const std::string& actor) {
  SetError(project, error);
  const Change change{.trigger = PermanentTrigger(project), .actor = actor};
  if (change.trigger == Trigger::kFailedTouched) {
    TurnBack(step, project, change);
  } else {
    Move(step, project, change);
  }
}

MonotonicMs Core::Impl::Backoff(const Project& project) const {
  const MigrationSpec& spec = project.home->row.spec;
  MonotonicMs pause = std::max<MonotonicMs>(spec.initial_backoff_ms, 1);
  for (int i = 1; i < project.failures && pause < spec.max_backoff_ms; ++i) {
    pause *= 2;
  }
  pause = std::max<MonotonicMs>(std::min(pause, spec.max_backoff_ms), 1);
  const MonotonicMs half = pause / 2;
  const uint64_t draw = Mix(seed_ ^ Mix(static_cast<uint64_t>(project.fence.value)));
  return std::max<MonotonicMs>(half + static_cast<MonotonicMs>(draw % static_cast<uint64_t>(pause - half + 1)), 1);
}

void Core::Impl::AttemptGivenUp(Step& step, Project& project, const Change& change) {
  step.WriteAttempt(project, "abandoned");
  if (StopAsked(project)) {
    StopAfterAttempt(step, project, change.actor);
  } else {
    Move(step, project, change);
  }
}

void Core::Impl::AttemptLost(Step& step, Project& project) {
  const std::string worker = WorkerIdOf(project);
  step.WriteAttempt(project, "lost");
  step.Record(project.home->row.id, project.ref,
              {.kind = "LEASE_EXPIRED",
               .rule = FindTransition(ProjectState::kRunning, Trigger::kLeaseLost)->id,
               .reason = FindTransition(ProjectState::kRunning, Trigger::kLeaseLost)->reason,
               .details = {{"worker", worker}, {"fence", std::to_string(project.fence.value)}}});
  ++project.losses;
  // Nobody knows what it did or will still try when it wakes: only a rollback, which begins with FENCE, shuts it out.
  project.touched = true;
  if (StopAsked(project)) {
    StopAfterAttempt(step, project, std::string(kCoordinator));
  } else if (project.losses >= settings_.max_lost_attempts) {
    NeedOperator(step, project, {.trigger = Trigger::kLossesExhausted},
                 OperatorError("PGC-WORKER-LOSSES",
                               std::to_string(project.losses) +
                                   " workers were lost while they ran this project, "
                                   "the last one in " +
                                   std::string(Name(project.phase)),
                               "look at the workers' logs for what ends them, then retry"));
  } else {
    Move(step, project, {.trigger = Trigger::kLeaseLost});
  }
}

void Core::Impl::StopAfterAttempt(Step& step, Project& project, const std::string& actor) {
  const bool rollback = (project.done_rollback & kRollbackAskedBit) != 0;
  if (rollback) {
    // The later request counts: it ends as rolled back.
    project.cancelling = false;
  }
  if (project.touched) {
    TurnBack(step, project,
             {.trigger = rollback ? Trigger::kStoppedTouchedByRollback : Trigger::kStoppedTouchedByCancel,
              .actor = actor});
    return;
  }
  project.done_rollback = 0;
  Move(step, project,
       {.trigger = rollback ? Trigger::kStoppedUntouchedByRollback : Trigger::kStoppedUntouchedByCancel,
        .actor = actor});
}

void Core::Impl::MoveMigration(Step& step,
                               Migration& migration,
                               MigrationTrigger trigger,
                               std::string_view actor,
                               const std::string& operator_reason) {
  const MigrationTransition* row = FindTransition(migration.row.state, trigger);
  if (row == nullptr) {
    // As in Move(): a bug that must not reach the store.
    std::abort();
  }
  migration.row.state = row->to;
  migration.row.end_time = IsEnded(row->to) ? step.now().wall : 0;
  step.Write(migration);
  step.changed().insert(migration.row.id);
  step.Record(migration.row.id, {},
              {.kind = "MIGRATION_" + std::string(Name(row->to)),
               .actor = actor,
               .rule = row->id,
               .reason = row->reason,
               .details = {{"from", Name(row->from)}, {"operator_reason", operator_reason}}});
}

namespace {

MigrationTrigger EndTrigger(const MigrationRow& row) {
  const auto count = [&row](ProjectState state) { return row.counts[At(state)]; };
  const bool unsolved = count(ProjectState::kFailed) + count(ProjectState::kNeedsOperator) > 0;
  if (row.state == MigrationState::kCancelling) {
    return MigrationTrigger::kEndedCancelled;
  }
  if (row.state == MigrationState::kRollingBack) {
    return unsolved ? MigrationTrigger::kEndedFailed : MigrationTrigger::kEndedRolledBack;
  }
  if (unsolved || count(ProjectState::kRolledBack) > 0) {
    return MigrationTrigger::kEndedFailed;
  }
  if (count(ProjectState::kCancelled) > 0) {
    return MigrationTrigger::kEndedCancelled;
  }
  return count(ProjectState::kSucceededWithWarnings) > 0 ? MigrationTrigger::kEndedWithWarnings
                                                         : MigrationTrigger::kEndedSucceeded;
}

}  // namespace

void Core::Impl::EndMigrations(Step& step) {
  if (step.changed().empty()) {
    return;
  }
  for (const MigrationId id : std::set<MigrationId>(step.changed())) {
    Migration* migration = fleet_.FindMigration(id);
    if (migration == nullptr) {
      // What a step has changed was held when the step began, and is dropped here alone.
      std::abort();
    }
    if (migration->Unended() > 0) {
      continue;
    }
    if (!IsEnded(migration->row.state)) {
      MoveMigration(step, *migration, EndTrigger(migration->row), kCoordinator, "");
      step.out().reconciles.push_back({id});
    }
    ended_[id] = migration->row.state;
    fleet_.RemoveMigration(id);
  }
}

}  // namespace pgconvoy::core
