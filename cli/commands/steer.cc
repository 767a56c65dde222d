#include <cstdio>
#include <iostream>
#include <string>

#include "cli/commands/commands.h"
#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "cli/render/marks.h"
#include "common/base/error.h"
#include "common/base/text.h"

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
  return command + (options.discard_writes ? " --discard-writes" : "") + " --yes";
}

// kOk when the operator agrees.
int ConfirmRollback(Session& session, const v1::Migration& migration, const SteerOptions& options) {
  Say("this " + WhatRollbackChanges(migration, options));
  if (options.discard_writes) {
    Say("rows that tenants wrote after their cutover are discarded; the databases are kept under another name");
  }
  if (options.yes) {
    return kOk;
  }
  if (!session.can_ask()) {
    return Fail(session,
                MakeError(Verdict::kPermanent, "PGC-CLI-CONFIRM", "a rollback wants a confirmation",
                          "nobody can be asked here, so say it on the command line"),
                SameCommand(migration, options));
  }
  std::fprintf(stderr, "Type the migration's name to go on: ");
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != migration.name()) {
    Say("nothing was changed");
    return kRefused;
  }
  return kOk;
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

int Rollback(Session& session, const SteerOptions& options) {
  const auto migration = FindMigration(session, options.migration);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  if (const int refused = ConfirmRollback(session, *migration, options); refused != kOk) {
    return refused;
  }
  v1::RollbackProjectsRequest request;
  request.set_discard_writes(options.discard_writes);
  return Act(session, options, request, migration->id());
}

}  // namespace pgconvoy::cli
