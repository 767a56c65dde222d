#include <string>
#include <vector>

#include "cli/commands/commands.h"
#include "cli/commands/follow.h"
#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "cli/render/marks.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"

namespace pgconvoy::cli {
namespace {

using render::Count;

void ShowMigration(Session& session, const v1::Migration& migration) {
  if (session.structured()) {
    OutStructured(session, ToJson(migration));
  } else if (session.format() == Format::kName) {
    Out(migration.id() + "\n");
  } else {
    const render::Mark mark = render::MarkOf(static_cast<MigrationState>(migration.state()));
    Out("migration " + migration.id() + " " +
        render::Paint(render::Text(mark, session.out_style()), mark.tone, session.out_style()) + "\n");
  }
}

template <typename Request>
int Steer(Session& session, const SteerOptions& options, const std::string& next) {
  const auto migration = FindMigration(session, options.migration);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  Request request;
  request.set_id(migration->id());
  request.set_reason(options.reason);
  request.set_actor(Actor());
  const auto changed = session.client().Call(request);
  if (!changed.ok()) {
    return Fail(session, changed.status(), "pgconvoy describe migration " + migration->id());
  }
  ShowMigration(session, *changed);
  Say("next: pgconvoy " + next + " " + migration->id());
  return kOk;
}

template <typename Request>
int Act(Session& session, const SteerOptions& options, Request request, const std::string& id) {
  request.set_migration_id(id);
  request.set_project_ref(options.project);
  request.set_reason(options.reason);
  request.set_actor(Actor());
  const auto done = session.client().Call(request);
  if (!done.ok()) {
    return Fail(session, done.status(), "pgconvoy describe migration " + id);
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*done));
  } else if (session.format() == Format::kName) {
    Out(id + "\n");
  } else {
    const char* const noun = done->projects_changed() == 1 ? " project of migration " : " projects of migration ";
    Out(Count(done->projects_changed()) + noun + id + " changed\n");
  }
  Say("next: pgconvoy watch " + id);
  return kOk;
}

std::string WhatRollbackChanges(const v1::Migration& migration, const SteerOptions& options) {
  if (!options.project.empty()) {
    return "rolls back project " + Printable(options.project) + " of migration " + migration.id() + " (" +
           Printable(migration.name()) + ")";
  }
  return "rolls back every project of migration " + migration.id() + " (" + Printable(migration.name()) +
         "): " + Count(migration.projects_succeeded() + migration.projects_warned()) + " that succeeded, " +
         Count(migration.projects_running() + migration.projects_waiting()) + " under way, " +
         Count(migration.projects_failed() + migration.projects_need_operator()) +
         " that failed or need an operator, " + Count(migration.projects_pending()) + " not begun";
}

std::string SameCommand(const v1::Migration& migration, const SteerOptions& options) {
  std::string command = "pgconvoy rollback " + migration.id();
  if (!options.project.empty()) {
    command += " --project " + options.project;
  }
  if (!options.to_backup.empty()) {
    command += " --to-backup " + options.to_backup;
  }
  return command + (options.discard_writes ? " --discard-writes" : "") + (options.wait ? " --wait" : "") +
         (options.cleanup ? " --cleanup" : "") + " --yes";
}

// kOk when the operator agrees.
int ConfirmRollback(Session& session, const v1::Migration& migration, const SteerOptions& options) {
  Say("this " + WhatRollbackChanges(migration, options));
  if (!options.to_backup.empty()) {
    Say("and then puts the rows of the plan's tables back to what backup " + Printable(options.to_backup) + " holds");
  }
  if (options.cleanup) {
    Say("and removes the backups of what is rolled back");
  }
  if (options.discard_writes) {
    Say("rows that tenants wrote after their cutover are discarded; the databases are kept under another name");
  }
  if (options.yes) {
    return kOk;
  }
  return Confirm(session, {.what = "a rollback",
                           .answer = migration.name(),
                           .question = "Type the migration's name to go on: ",
                           .next = SameCommand(migration, options)});
}

absl::StatusOr<std::vector<v1::Project>> ProjectsOf(Session& session,
                                                    const std::string& id,
                                                    const std::string& only) {
  std::vector<std::string> refs = {only};
  if (only.empty()) {
    v1::ListProjectsRequest list;
    list.set_migration_id(id);
    PGC_ASSIGN_OR_RETURN(const auto listed,
                         CallAllPages(session.client(), list, 0, &v1::ListProjectsResponse::projects_size));
    refs.clear();
    for (const v1::Project& project : listed.projects()) {
      refs.push_back(project.ref());
    }
  }
  std::vector<v1::Project> projects;
  for (const std::string& ref : refs) {
    v1::GetProjectRequest request;
    request.set_migration_id(id);
    request.set_ref(ref);
    PGC_ASSIGN_OR_RETURN(v1::Project project, session.client().Call(request));
    projects.push_back(std::move(project));
  }
  return projects;
}

// The latest result of a phase in a direction; null when there is none.
const v1::PhaseResult* ResultOf(const v1::Project& project, v1::Direction direction, v1::Phase phase) {
  const v1::PhaseResult* found = nullptr;
  for (const v1::PhaseResult& result : project.results()) {
    const bool newer = found == nullptr || result.fence() >= found->fence();
    found = result.direction() == direction && result.phase() == phase && newer ? &result : found;
  }
  return found;
}

// What a rollback would do, from what the project's phases left.
std::vector<std::string> WouldUndo(const v1::Project& project) {
  std::vector<std::string> steps;
  if (project.state() == v1::ROLLED_BACK || project.state() == v1::PENDING) {
    return steps;
  }
  const auto has = [&project](v1::Phase phase) { return ResultOf(project, v1::FORWARD, phase); };
  if (const auto* const cutover = has(v1::CUTOVER)) {
    steps.push_back("stop the tenant, and go on only if it has written nothing since; put " +
                    Count(cutover->cutover().after_size()) + " registry columns back");
  }
  if (const auto* const transform = has(v1::TRANSFORM)) {
    steps.push_back("put the rows of " + Count(transform->transform().tables_size()) + " tables back");
  }
  if (const auto* const provision = has(v1::PROVISION)) {
    steps.push_back("drop database " + provision->provision().database());
  }
  if (const auto* const credentials = has(v1::CREDENTIALS)) {
    steps.push_back("end the sessions of role " + credentials->credentials().user() + " and drop it");
  }
  if (const auto* const freeze = has(v1::FREEZE); freeze != nullptr && has(v1::CLEANUP) == nullptr) {
    steps.push_back("let the project write again");
  }
  if (const auto* const backup = has(v1::BACKUP)) {
    steps.push_back("keep backup " + backup->backup().backup_id());
  }
  return steps;
}

void OutSteps(const std::string& ref, const std::vector<std::string>& steps, const std::string& none) {
  Out(Printable(ref) + "\n");
  for (const std::string& step : steps) {
    Out("  " + Printable(step) + "\n");
  }
  if (steps.empty()) {
    Out("  " + none + "\n");
  }
}

int DryRunRollback(Session& session, const v1::Migration& migration, const SteerOptions& options) {
  const auto projects = ProjectsOf(session, migration.id(), options.project);
  if (!projects.ok()) {
    return Fail(session, projects.status());
  }
  for (const v1::Project& project : *projects) {
    OutSteps(project.ref(), WouldUndo(project), "nothing to undo");
  }
  Say("dry run: nothing was changed");
  return kOk;
}

// What VERIFY of each rollback proved. The exit code by how the projects ended: that the rest of the migration stays is
// no failure here.
int ShowProof(Session& session, const std::vector<v1::Project>& projects) {
  int code = kOk;
  for (const v1::Project& project : projects) {
    if (project.state() == v1::NEEDS_OPERATOR) {
      code = kNeedsHuman;
    } else if (project.state() != v1::ROLLED_BACK && project.attempts() > 0 && code == kOk) {
      code = kFailure;
    }
    const v1::PhaseResult* const proof = ResultOf(project, v1::ROLLBACK, v1::VERIFY);
    if (project.state() == v1::ROLLED_BACK && proof != nullptr && !session.structured()) {
      OutSteps(project.ref(), {proof->undo().undone().begin(), proof->undo().undone().end()},
               "nothing was left to undo");
    }
  }
  return code;
}

int PruneAfter(Session& session, const std::string& id, const std::string& project) {
  BackupOptions prune;
  prune.migration = id;
  prune.project = project;
  prune.older_than = "0d";
  return BackupPrune(session, prune);
}

int FollowRollback(Session& session, const v1::Migration& migration, const SteerOptions& options) {
  // As it is now: what was found before the rollback had ended.
  const auto reopened = FindMigration(session, migration.id());
  if (!reopened.ok()) {
    return Fail(session, reopened.status());
  }
  const int ended = Follow(session, *reopened, FollowMode::kWait);
  if (ended == kUnavailable || ended == kTimeout || ended == kInterrupted) {
    return ended;
  }
  const auto projects = ProjectsOf(session, migration.id(), options.project);
  if (!projects.ok()) {
    return Fail(session, projects.status());
  }
  const int code = ShowProof(session, *projects);
  return code == kOk && options.cleanup ? PruneAfter(session, migration.id(), options.project) : code;
}

int ConfirmAndRollBack(Session& session, const v1::Migration& migration, const SteerOptions& options) {
  if (const int refused = ConfirmRollback(session, migration, options); refused != kOk) {
    return refused;
  }
  v1::RollbackProjectsRequest request;
  request.set_discard_writes(options.discard_writes);
  const int asked = Act(session, options, request, migration.id());
  return asked == kOk && (options.wait || options.cleanup) ? FollowRollback(session, migration, options) : asked;
}

// The rollback that comes before the restore cannot be taken back: a backup that is of no use is found before it.
absl::Status CheckBackup(Session& session, const std::string& backup_id) {
  v1::VerifyBackupRequest request;
  request.set_backup_id(backup_id);
  request.set_content(true);
  Say("reading every chunk of " + Printable(backup_id) + " on a worker…");
  return session.client().Call(request).status();
}

// The definitions come back with the migration's rollback, the rows with the backup.
int RollbackToBackup(Session& session, const std::string& id, const SteerOptions& options) {
  v1::GetMigrationRequest request;
  request.set_id(id);
  const auto migration = session.client().Call(request);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  const auto plan = plan::PlanFromJson(migration->plan_json());
  if (!plan.ok()) {
    return Fail(session, plan.status());
  }
  const std::string ref = options.to_backup.substr(0, options.to_backup.rfind('/'));
  if (!plan->has_transform() || (!options.project.empty() && options.project != ref)) {
    return FailUsage(session, "--to-backup wants a backup of the project, of a plan that changes databases in place",
                     "the source of any other plan is never changed; its rollback needs no backup");
  }
  if (const absl::Status intact = CheckBackup(session, options.to_backup); !intact.ok()) {
    return Fail(session, intact);
  }
  SteerOptions rollback = options;
  rollback.project = ref;
  const auto projects = ProjectsOf(session, id, ref);
  if (!projects.ok()) {
    return Fail(session, projects.status());
  }
  const bool undone = projects->front().state() == v1::ROLLED_BACK;
  const int code =
      undone ? ConfirmRollback(session, *migration, rollback) : ConfirmAndRollBack(session, *migration, rollback);
  return code == kOk ? RestoreInPlace(session, options.to_backup, *plan) : code;
}

SteerOptions WithImplied(SteerOptions options) {
  const bool to_backup = !options.to_backup.empty();
  options.discard_writes = options.discard_writes || options.emergency || to_backup;
  options.wait = options.wait || options.emergency || to_backup;
  options.yes = options.yes || options.emergency;
  return options;
}

}  // namespace

int Pause(Session& session, const SteerOptions& options) {
  return Steer<v1::PauseMigrationRequest>(session, options, "resume");
}

int Resume(Session& session, const SteerOptions& options) {
  return Steer<v1::ResumeMigrationRequest>(session, options, "watch");
}

int Cancel(Session& session, const SteerOptions& options) {
  return Steer<v1::CancelMigrationRequest>(session, options, "watch");
}

int Retry(Session& session, const SteerOptions& options) {
  if (options.failed == !options.project.empty()) {
    return FailUsage(session, "retry wants either --failed or --project REF",
                     "--failed takes every project that failed, was rolled back or needs an operator");
  }
  const auto migration = FindMigration(session, options.migration);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  return Act(session, options, v1::RetryProjectsRequest(), migration->id());
}

int Rollback(Session& session, const SteerOptions& asked_for) {
  const SteerOptions options = WithImplied(asked_for);
  const auto migration = FindMigration(session, options.migration);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  if (!options.to_backup.empty()) {
    return RollbackToBackup(session, migration->id(), options);
  }
  if (options.dry_run) {
    return DryRunRollback(session, *migration, options);
  }
  return ConfirmAndRollBack(session, *migration, options);
}

}  // namespace pgconvoy::cli
