// What operators ask for.
#include <utility>

#include "common/base/error.h"
#include "common/base/planted.h"
#include "common/base/text.h"
#include "coordinator/core/core_impl.h"

namespace pgconvoy::core {
namespace {

std::string ActorOf(const Command& command) { return "operator:" + command.actor; }

std::string IdText(MigrationId id) { return std::to_string(id.value); }

std::string_view Verb(CommandKind kind) {
  switch (kind) {
    case CommandKind::kPause: return "pause";
    case CommandKind::kResume: return "resume";
    case CommandKind::kCancel: return "cancel";
    case CommandKind::kRetry: return "retry";
    case CommandKind::kRollback: return "roll back";
    case CommandKind::kPruneBackups:
    case CommandKind::kBackupsRemoved: return "prune";
    case CommandKind::kNote: return "note";
  }
  return "command";
}

absl::Status WrongState(const Command& command, MigrationState state) {
  return MakeError(Verdict::kPermanent, "PGC-MIGRATION-STATE",
                   "cannot " + std::string(Verb(command.kind)) + " migration " + IdText(command.migration) +
                       ": it is " + std::string(Name(state)));
}

absl::Status WrongState(const Command& command, const Project& project) {
  return MakeError(Verdict::kPermanent, "PGC-PROJECT-STATE",
                   "cannot " + std::string(Verb(command.kind)) + " project " + project.ref + ": it is " +
                       std::string(Name(project.state)));
}

absl::Status NotFound(std::string_view code, const std::string& message) {
  // Errors of input are InvalidArgument; NotFound says more here.
  const absl::Status error = InputError(code, message);
  absl::Status status(absl::StatusCode::kNotFound, error.message());
  error.ForEachPayload(
      [&status](absl::string_view url, const absl::Cord& payload) { status.SetPayload(url, payload); });
  return status;
}

absl::Status UnknownMigration(MigrationId id) {
  return NotFound("PGC-MIGRATION-UNKNOWN", "there is no migration " + IdText(id));
}

absl::Status UnknownProject(const Command& command) {
  return NotFound("PGC-PROJECT-UNKNOWN",
                  "migration " + IdText(command.migration) + " has no project \"" + Printable(command.ref) + "\"");
}

void Forget(Project& project) {
  MigrationRow& migration = project.home->row;
  migration.rows_copied -= project.rows_copied;
  migration.bytes_copied -= project.bytes_copied;
  project.rows_copied = 0;
  project.bytes_copied = 0;
  project.done_forward = PGC_PLANTED(kRetryKeepsDone) ? project.done_forward : 0;
  project.touched = false;
  project.discard_writes = false;
  project.phase = Phase::kFence;
  project.warnings.reset();
}

}  // namespace

absl::StatusOr<Migration*> Core::Impl::MigrationFor(const Command& command) {
  if (const auto refused = reopen_refused_.find(command.migration); refused != reopen_refused_.end()) {
    absl::Status status = std::move(refused->second);
    reopen_refused_.erase(refused);
    return status;
  }
  if (Migration* migration = fleet_.FindMigration(command.migration)) {
    return migration;
  }
  const auto ended = ended_.find(command.migration);
  return ended == ended_.end() ? UnknownMigration(command.migration) : WrongState(command, ended->second);
}

void Core::Impl::On(Step& step, const Command& command) {
  Reply reply;
  reply.request = command.request;
  reply.migration = command.migration;
  if (command.kind == CommandKind::kPruneBackups || command.kind == CommandKind::kBackupsRemoved) {
    reply.status = MarkBackups(step, command);
    step.Answer(std::move(reply));
    return;
  }
  if (command.kind == CommandKind::kNote) {
    RecordNotes(step, command);
    step.Answer(std::move(reply));
    return;
  }
  const auto migration = MigrationFor(command);
  if (!migration.ok()) {
    reply.status = migration.status();
    step.Answer(std::move(reply));
    return;
  }
  // A reopened migration that has nothing to do is dropped again.
  step.changed().insert(command.migration);
  switch (command.kind) {
    case CommandKind::kPause: reply.status = Pause(step, **migration, command); break;
    case CommandKind::kResume: reply.status = Resume(step, **migration, command); break;
    case CommandKind::kCancel: reply.status = Cancel(step, **migration, command, reply.projects_changed); break;
    case CommandKind::kRetry: reply.status = Retry(step, **migration, command, reply.projects_changed); break;
    case CommandKind::kRollback: reply.status = Rollback(step, **migration, command, reply.projects_changed); break;
    case CommandKind::kPruneBackups:
    case CommandKind::kBackupsRemoved:
    case CommandKind::kNote: break;
  }
  step.Answer(std::move(reply));
}

// An attempt that begins later sees the mark among its project's results; one that runs may be reading the backup.
absl::Status Core::Impl::MarkBackups(Step& step, const Command& command) const {
  const bool prunes = command.kind == CommandKind::kPruneBackups;
  for (const BackupMark& mark : command.backups) {
    const Project* const project = prunes ? fleet_.FindAnywhere(mark.ref) : nullptr;
    if (project != nullptr) {
      return InputError("PGC-PROJECT-BUSY",
                        "project " + mark.ref + " is in unfinished migration " + IdText(project->home->row.id),
                        "wait until that migration has ended, or prune another project's backups");
    }
  }
  for (const BackupMark& mark : command.backups) {
    step.out().writes.result_marks.push_back(mark.result);
    step.Record(mark.result.migration, mark.ref,
                {.kind = prunes ? "BACKUP_PRUNED" : "BACKUP_REMOVED",
                 .actor = ActorOf(command),
                 .reason = command.reason,
                 .details = {{"fence", std::to_string(mark.result.fence.value)}}});
  }
  return absl::OkStatus();
}

void Core::Impl::RecordNotes(Step& step, const Command& command) {
  for (const Note& note : command.notes) {
    step.Record(
        note.migration, note.project_ref,
        {.kind = note.kind, .actor = command.actor, .reason = note.reason, .details = {{"object", note.object}}});
  }
}

absl::Status Core::Impl::Pause(Step& step, Migration& migration, const Command& command) {
  if (migration.row.state == MigrationState::kPaused) {
    return absl::OkStatus();
  }
  if (migration.row.state != MigrationState::kRunning) {
    return WrongState(command, migration.row.state);
  }
  MoveMigration(step, migration, MigrationTrigger::kPause, ActorOf(command), command.reason);
  return absl::OkStatus();
}

absl::Status Core::Impl::Resume(Step& step, Migration& migration, const Command& command) {
  if (migration.row.state == MigrationState::kRunning) {
    return absl::OkStatus();
  }
  if (migration.row.state != MigrationState::kPaused) {
    return WrongState(command, migration.row.state);
  }
  MoveMigration(step, migration, MigrationTrigger::kResume, ActorOf(command), command.reason);
  return absl::OkStatus();
}

absl::Status Core::Impl::Cancel(Step& step, Migration& migration, const Command& command, int64_t& changed) {
  if (migration.row.state == MigrationState::kCancelling) {
    return absl::OkStatus();
  }
  if (FindTransition(migration.row.state, MigrationTrigger::kCancel) == nullptr) {
    return WrongState(command, migration.row.state);
  }
  MoveMigration(step, migration, MigrationTrigger::kCancel, ActorOf(command), command.reason);
  for (Project& project : migration.projects) {
    changed += CancelProject(step, project, command) ? 1 : 0;
  }
  return absl::OkStatus();
}

bool Core::Impl::CancelProject(Step& step, Project& project, const Command& command) {
  if (IsEnded(project.state) || project.direction == Direction::kRollback) {
    return false;
  }
  if (project.state == ProjectState::kRunning) {
    project.cancelling = true;
    step.Write(project);
    AskToStop(step, project);
    return true;
  }
  const Change change{.trigger = project.touched && !PGC_PLANTED(kCancelForgetsRollback) ? Trigger::kCancelTouched
                                                                                         : Trigger::kCancelUntouched,
                      .actor = ActorOf(command),
                      .operator_reason = command.reason};
  if (project.touched && !PGC_PLANTED(kCancelForgetsRollback)) {
    project.cancelling = true;
    TurnBack(step, project, change);
  } else {
    Move(step, project, change);
  }
  return true;
}

void Core::Impl::AskToStop(Step& step, const Project& project) {
  const Worker& worker = *project.home->batches[project.batch].worker;
  if (worker.stream) {
    step.Send(
        SendRevoke{*worker.stream, {{project.home->row.id, project.ref, project.fence}}, RevokeReason::kCancelled});
  }
}

absl::Status Core::Impl::Retry(Step& step, Migration& migration, const Command& command, int64_t& changed) {
  const MigrationState state = migration.row.state;
  if (state == MigrationState::kCancelling || state == MigrationState::kRollingBack) {
    return WrongState(command, state);
  }
  if (!command.ref.empty()) {
    Project* project = fleet_.Find(command.migration, command.ref);
    if (project == nullptr) {
      return UnknownProject(command);
    }
    if (!RetryProject(step, *project, command)) {
      return WrongState(command, *project);
    }
    changed = 1;
  } else {
    for (Project& project : migration.projects) {
      changed += RetryProject(step, project, command) ? 1 : 0;
    }
  }
  if (changed > 0 && IsEnded(state)) {
    MoveMigration(step, migration, MigrationTrigger::kRetry, ActorOf(command), command.reason);
  }
  return absl::OkStatus();
}

bool Core::Impl::RetryProject(Step& step, Project& project, const Command& command) {
  if (FindTransition(project.state, Trigger::kRetried) == nullptr) {
    return false;
  }
  Change change{.trigger = Trigger::kRetried, .actor = ActorOf(command), .operator_reason = command.reason};
  if (project.state == ProjectState::kRolledBack) {
    Forget(project);
    change.direction = Direction::kForward;
  }
  project.failures = 0;
  project.losses = 0;
  if (change.direction.value_or(project.direction) == Direction::kForward) {
    project.done_rollback = 0;
    project.cancelling = false;
    project.error.reset();
  }
  Move(step, project, change);
  return true;
}

absl::Status Core::Impl::Rollback(Step& step, Migration& migration, const Command& command, int64_t& changed) {
  const MigrationState state = migration.row.state;
  if (state == MigrationState::kCancelling) {
    return WrongState(command, state);
  }
  const bool all = command.ref.empty();
  if (all) {
    for (Project& project : migration.projects) {
      changed += RollbackProject(step, project, command) ? 1 : 0;
    }
  } else {
    Project* project = fleet_.Find(command.migration, command.ref);
    if (project == nullptr) {
      return UnknownProject(command);
    }
    if (!RollbackProject(step, *project, command)) {
      return WrongState(command, *project);
    }
    changed = 1;
  }
  const auto trigger = all ? MigrationTrigger::kRollbackAll : MigrationTrigger::kRollbackOne;
  const bool reopens = IsEnded(state) && changed > 0;
  const bool turns = all && (state == MigrationState::kRunning || state == MigrationState::kPaused);
  if (reopens || turns) {
    MoveMigration(step, migration, trigger, ActorOf(command), command.reason);
  }
  return absl::OkStatus();
}

bool Core::Impl::RollbackProject(Step& step, Project& project, const Command& command) {
  if (FindTransition(project.state, Trigger::kRollbackAsked) != nullptr) {
    project.cancelling = false;
    project.discard_writes = command.discard_writes;
    TurnBack(step, project,
             {.trigger = Trigger::kRollbackAsked, .actor = ActorOf(command), .operator_reason = command.reason});
    return true;
  }
  if (IsEnded(project.state)) {
    return false;
  }
  const bool discards_more = command.discard_writes && !project.discard_writes;
  project.discard_writes = project.discard_writes || command.discard_writes;
  if (project.direction == Direction::kRollback) {
    // Under way already; the wider permission counts from its next attempt on.
    step.Write(project);
    return discards_more;
  }
  if (project.state != ProjectState::kRunning) {
    return RollBackWaiting(step, project, command);
  }
  project.done_rollback = kRollbackAskedBit;
  step.Write(project);
  AskToStop(step, project);
  return true;
}

bool Core::Impl::RollBackWaiting(Step& step, Project& project, const Command& command) {
  Change change{.trigger = Trigger::kRollbackUntouched, .actor = ActorOf(command), .operator_reason = command.reason};
  if (project.touched) {
    change.trigger = Trigger::kRollbackTouched;
    TurnBack(step, project, change);
  } else {
    Move(step, project, change);
  }
  return true;
}

}  // namespace pgconvoy::core
