#include <cstdio>
#include <string>

#include "cli/commands/commands.h"
#include "cli/commands/follow.h"
#include "cli/commands/inputs.h"
#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "common/plan/plan.h"

namespace pgconvoy::cli {
namespace {

using render::Count;

// Prints what every phase would do, project by project.
class DryRunPrinter {
 public:
  explicit DryRunPrinter(const Session& session) : session_(session) {}

  void Add(const v1::PhaseDescription& description) {
    if (session_.structured()) {
      *all_.add_descriptions() = description;
      return;
    }
    if (session_.format() == Format::kName) {
      if (description.ref() != ref_) {
        Out(Printable(description.ref()) + "\n");
      }
      ref_ = description.ref();
      return;
    }
    if (description.ref() != ref_) {
      Out((ref_.empty() ? "" : "\n") +
          render::Paint(Printable(description.ref()), render::Tone::kTitle, session_.out_style()) + "\n");
      ref_ = description.ref();
    }
    Out("  " + v1::Phase_Name(description.phase()) + "\n");
    for (const std::string& step : description.steps()) {
      Out("    " + Printable(step) + "\n");
    }
  }

  void Finish() const {
    if (session_.structured()) {
      OutStructured(session_, ToJson(all_));
    }
  }

 private:
  const Session& session_;
  std::string ref_;
  v1::DescribePlanResponse all_;
};

int DryRun(Session& session, const std::string& plan_json, const std::vector<v1::ProjectSpec>& projects) {
  DryRunPrinter printer(session);
  const absl::Status status = session.client().Describe(
      plan_json, projects, [&printer](const v1::PhaseDescription& description) { printer.Add(description); });
  if (!status.ok()) {
    return FailTask(session, status);
  }
  printer.Finish();
  Say("dry run: " + Count(static_cast<int64_t>(projects.size())) + " projects, nothing was changed");
  return kOk;
}

void ShowSubmitted(const Session& session, const v1::SubmitMigrationResponse& response) {
  const v1::Migration& migration = response.migration();
  if (session.structured()) {
    OutStructured(session, ToJson(response));
  } else if (session.format() == Format::kName) {
    Out(migration.id() + "\n");
  } else {
    Out("migration " + migration.id() + " (" + Printable(migration.name()) + ") with " +
        Count(migration.projects_total()) + " projects\n");
  }
}

int SubmitForReal(Session& session,
                  const SubmitOptions& options,
                  const std::string& plan_json,
                  const std::vector<v1::ProjectSpec>& projects) {
  v1::SubmitHeader header;
  header.set_request_id(options.request_id.empty() ? RandomUuid() : options.request_id);
  header.set_plan_json(plan_json);
  header.set_batch_size(options.batch_size);
  header.set_actor(Actor());
  const auto response = session.client().Submit(header, projects);
  if (!response.ok()) {
    return Fail(session, response.status(),
                "submitting again with --request-id " + header.request_id() + " can never make a second migration");
  }
  const v1::Migration& migration = response->migration();
  if (response->existed()) {
    Say("this request id is known: it made migration " + migration.id());
  }
  if (options.wait) {
    Say("migration " + migration.id() + " with " + Count(migration.projects_total()) + " projects");
    return Follow(session, migration, FollowMode::kWait);
  }
  ShowSubmitted(session, *response);
  Say("next: pgconvoy watch " + migration.id() + ", pgconvoy get projects --migration " + migration.id());
  return kOk;
}

// What the options say goes into the plan, so that its hash and the event log show it.
int MergeOptions(Session& session, const SubmitOptions& options, v1::Plan& plan) {
  if (options.skip_backup && (plan.has_target() || !plan.has_transform())) {
    return FailUsage(session, "--skip-backup is for plans that change a database in place",
                     "this one copies, and every row that it copies comes from the backup");
  }
  if (options.skip_backup && plan.execution().mode() == v1::Execution::BACKUP_ONLY) {
    return FailUsage(session, "--skip-backup contradicts a plan that only makes backups", "leave it out");
  }
  v1::Execution& execution = *plan.mutable_execution();
  if (options.batch_size > 0) {
    execution.set_batch_size(options.batch_size);
  }
  if (options.retry_attempts > 0) {
    execution.set_max_attempts(options.retry_attempts);
  }
  if (options.no_rollback) {
    execution.set_on_failure(v1::Execution::KEEP);
  }
  // An option can only add to what the plan says itself.
  execution.set_skip_backup(execution.skip_backup() || options.skip_backup);
  execution.set_skip_pre_validation(execution.skip_pre_validation() || options.skip_pre_validation);
  execution.set_skip_post_validation(execution.skip_post_validation() || options.skip_post_validation);
  return kOk;
}

void Warn(const Session& session, const std::string& text) {
  Say(render::Paint("warning", render::Tone::kBad, session.err_style()) + ": " + text);
}

// Says what the safety of this migration is to go without; false when it goes without nothing.
bool SayWhatIsSkipped(const Session& session, const v1::Execution& execution) {
  if (execution.skip_backup()) {
    Warn(session,
         "NO BACKUP IS TAKEN: a rollback has only the change log of the database itself, and when that is "
         "lost, so are the old rows");
  }
  if (execution.skip_pre_validation()) {
    Warn(session, "failed checks before the migration do not stop a project");
  }
  if (execution.skip_post_validation()) {
    Warn(session, "failed checks after the cutover do not undo it");
  }
  return execution.skip_backup() || execution.skip_pre_validation() || execution.skip_post_validation();
}

std::string SameCommand(const SubmitOptions& options) {
  std::string command = "pgconvoy submit " + options.plan;
  command += options.all ? " --all" : " --projects " + options.projects;
  command += options.skip_backup ? " --skip-backup" : "";
  command += options.skip_pre_validation ? " --skip-pre-validation" : "";
  command += options.skip_post_validation ? " --skip-post-validation" : "";
  command += options.no_rollback ? " --no-rollback" : "";
  command += options.retry_attempts > 0 ? " --retry-attempts " + std::to_string(options.retry_attempts) : "";
  command += options.batch_size > 0 ? " --batch-size " + std::to_string(options.batch_size) : "";
  return command + (options.wait ? " --wait" : "") + " --yes";
}

// kOk when the operator agrees. Where nobody can be asked only what takes away from a migration's safety must be
// confirmed: scripts that submit have decided already.
int ConfirmSubmit(Session& session, const SubmitOptions& options, const v1::Plan& plan, size_t projects) {
  const bool skips = SayWhatIsSkipped(session, plan.execution());
  if (options.yes || (!session.can_ask() && !skips)) {
    return kOk;
  }
  Say("this starts a migration of " + Count(static_cast<int64_t>(projects)) + " projects under plan " +
      Printable(plan.name()) + " with the coordinator at " + session.address());
  return Confirm(session, {.what = "what is skipped", .next = SameCommand(options)});
}

}  // namespace

int Submit(Session& session, const SubmitOptions& options) {
  if (options.all == !options.projects.empty()) {
    return FailUsage(session, "submit wants either --projects FILE.csv or --all",
                     "--all takes every project that the plan's registry names");
  }
  v1::Plan plan;
  if (const int code = LoadPlanFile(options.plan, plan); code != kOk) {
    return code;
  }
  if (const int code = MergeOptions(session, options, plan); code != kOk) {
    return code;
  }
  return SubmitPlan(session, options, plan);
}

int SubmitPlan(Session& session, const SubmitOptions& options, const v1::Plan& plan) {
  std::vector<v1::ProjectSpec> projects;
  if (const int code = LoadProjectList(session, options.projects, /*refs=*/false, plan, projects); code != kOk) {
    return code;
  }
  const std::string plan_json = plan::CanonicalJson(plan);
  if (options.dry_run) {
    return DryRun(session, plan_json, projects);
  }
  if (const int code = ConfirmSubmit(session, options, plan, projects.size()); code != kOk) {
    return code;
  }
  return SubmitForReal(session, options, plan_json, projects);
}

int SubmitProject(Session& session,
                  const SubmitOptions& options,
                  const v1::Plan& plan,
                  const v1::ProjectSpec& project) {
  if (const absl::Status status = CheckProjects(plan, {project}); !status.ok()) {
    return Fail(session, status);
  }
  return SubmitForReal(session, options, plan::CanonicalJson(plan), {project});
}

int ValidatePlanFile(Session& session, const std::string& file) {
  const plan::ParsedPlan parsed = plan::LoadPlan(file);
  SayProblems(parsed.problems);
  if (!parsed.ok()) {
    return kBadInput;
  }
  if (session.structured()) {
    OutStructured(session, ToJson(parsed.plan));
  } else if (session.format() == Format::kName) {
    Out(Printable(parsed.plan.name()) + "\n");
  } else {
    Out("plan " + Printable(parsed.plan.name()) + " is valid: " + Count(parsed.plan.servers_size()) + " servers, " +
        Count(parsed.plan.tables_size()) + " tables, " + Count(parsed.plan.checks_size()) + " checks; hash " +
        plan::PlanHash(parsed.plan) + "\n");
  }
  return parsed.problems.empty() ? kOk : kWarnings;
}

}  // namespace pgconvoy::cli
