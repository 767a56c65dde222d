#include <cstdio>
#include <map>

#include "cli/commands/commands.h"
#include "cli/commands/follow.h"
#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "common/plan/csv.h"
#include "common/plan/plan.h"
#include "common/plan/project_check.h"

namespace pgconvoy::cli {
namespace {

using render::Count;

void SayProblems(const std::vector<plan::Problem>& problems) {
  for (const plan::Problem& problem : problems) {
    Say(Printable(plan::Format(problem)));
  }
}

std::vector<v1::ProjectSpec> SpecsOf(const std::vector<plan::ProjectEntry>& entries) {
  std::vector<v1::ProjectSpec> specs;
  specs.reserve(entries.size());
  for (const plan::ProjectEntry& entry : entries) {
    v1::ProjectSpec& spec = specs.emplace_back();
    spec.set_ref(entry.ref);
    spec.set_estimated_bytes(entry.estimated_bytes);
    spec.mutable_attributes()->insert(entry.attributes.begin(), entry.attributes.end());
  }
  return specs;
}

// That a server of the plan cannot be reached or refuses us is a failure of the task that a worker ran, and says
// nothing about the coordinator.
int FailTask(const Session& session, const absl::Status& status, const std::string& next = {}) {
  const int code = Fail(session, status, next);
  return code == kRefused || CodeOf(status).starts_with("PGC-PG-") ? kFailure : code;
}

// kOk with `projects` filled, else the exit code.
int LoadProjectList(Session& session,
                    const SubmitOptions& options,
                    const std::string& plan_json,
                    std::vector<v1::ProjectSpec>& projects) {
  if (!options.all) {
    const plan::ParsedProjects parsed = plan::LoadProjects(options.projects);
    SayProblems(parsed.problems);
    if (!parsed.ok()) {
      return kBadInput;
    }
    projects = SpecsOf(parsed.projects);
    return kOk;
  }
  Say("reading the registry on a worker…");
  auto found = session.client().Discover(plan_json);
  if (!found.ok()) {
    return FailTask(session, found.status());
  }
  if (found->empty()) {
    return Fail(session, InputError("PGC-PLAN-NO-PROJECTS", "the registry names no project",
                                    "check registry.table and registry.where of the plan"));
  }
  projects = *std::move(found);
  return kOk;
}

// What the coordinator would refuse, said before anything is sent.
absl::Status CheckProjects(const v1::Plan& plan, const std::vector<v1::ProjectSpec>& projects) {
  plan::ProjectCheck check(plan);
  for (const v1::ProjectSpec& project : projects) {
    PGC_RETURN_IF_ERROR(check.Add(project.ref(), {project.attributes().begin(), project.attributes().end()}));
  }
  return absl::OkStatus();
}

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

}  // namespace

int LoadPlanFile(const std::string& file, v1::Plan& plan) {
  const plan::ParsedPlan parsed = plan::LoadPlan(file);
  SayProblems(parsed.problems);
  plan = parsed.plan;
  return parsed.ok() ? kOk : kBadInput;
}

int Submit(Session& session, const SubmitOptions& options) {
  if (options.all == !options.projects.empty()) {
    return FailUsage(session, "submit wants either --projects FILE.csv or --all",
                     "--all takes every project that the plan's registry names");
  }
  v1::Plan plan;
  const int loaded = LoadPlanFile(options.plan, plan);
  return loaded == kOk ? SubmitPlan(session, options, plan) : loaded;
}

int SubmitPlan(Session& session, const SubmitOptions& options, const v1::Plan& plan) {
  const std::string plan_json = plan::CanonicalJson(plan);
  std::vector<v1::ProjectSpec> projects;
  if (const int code = LoadProjectList(session, options, plan_json, projects); code != kOk) {
    return code;
  }
  if (const absl::Status status = CheckProjects(plan, projects); !status.ok()) {
    return Fail(session, status);
  }
  return options.dry_run ? DryRun(session, plan_json, projects)
                         : SubmitForReal(session, options, plan_json, projects);
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
