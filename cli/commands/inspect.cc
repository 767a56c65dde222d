#include <cctype>
#include <set>

#include "cli/commands/commands.h"
#include "cli/commands/inputs.h"
#include "cli/commands/json.h"
#include "cli/render/checks.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::cli {
namespace {

using Kinds = std::vector<v1::Inspection>;

// What is looked at: a plan's projects, or a migration's.
struct Subject {
  v1::Plan plan;
  std::vector<v1::ProjectSpec> projects;
  // Empty for a plan.
  std::string migration_id;
};

render::Verdict VerdictOf(const v1::CheckResult& check) {
  if (check.passed()) {
    return render::Verdict::kPassed;
  }
  return check.warning() ? render::Verdict::kWarning : render::Verdict::kFailed;
}

render::CheckView ViewOf(const std::string& ref, const v1::CheckResult& check) {
  return {ref, check.name(), VerdictOf(check), check.message(), check.measured(), check.needed(), check.remedy()};
}

// A project that could not be inspected has failed.
render::CheckView ViewOf(const std::string& ref, const v1::Error& error) {
  return {ref, "inspection", render::Verdict::kFailed, error.code() + ": " + error.message(), "", "", error.remedy()};
}

std::vector<render::CheckView> ViewsOf(const v1::InspectProjectsResponse& response) {
  std::vector<render::CheckView> views;
  for (const v1::ProjectInspection& inspection : response.inspections()) {
    for (const v1::CheckResult& check : inspection.checks()) {
      views.push_back(ViewOf(inspection.ref(), check));
    }
    if (inspection.has_error()) {
      views.push_back(ViewOf(inspection.ref(), inspection.error()));
    }
  }
  return views;
}

int ExitCodeOf(const std::vector<render::CheckView>& views) {
  int code = kOk;
  for (const render::CheckView& view : views) {
    if (view.verdict == render::Verdict::kFailed) {
      return kFailure;
    }
    code = view.verdict == render::Verdict::kWarning ? kWarnings : code;
  }
  return code;
}

absl::StatusOr<v1::InspectProjectsResponse> Inspect(Session& session, const Subject& subject, const Kinds& kinds) {
  v1::InspectProjectsRequest request;
  request.set_migration_id(subject.migration_id);
  if (subject.migration_id.empty()) {
    request.set_plan_json(plan::CanonicalJson(subject.plan));
  }
  request.mutable_kinds()->Add(kinds.begin(), kinds.end());
  Say("looking at " +
      (subject.projects.empty() ? std::string("every project that ended well")
                                : render::Count(static_cast<int64_t>(subject.projects.size())) + " projects") +
      " on a worker…");
  return session.client().Inspect(request, subject.projects);
}

// The registry's projects unless the command names others.
int PlanSubject(Session& session, const InspectOptions& options, const std::string& file, Subject& subject) {
  if (options.all && !options.projects.empty()) {
    return FailUsage(session, "either --projects or --all", "--all, which is the default, takes the plan's registry");
  }
  if (const int code = LoadPlanFile(file, subject.plan); code != kOk) {
    return code;
  }
  return LoadProjectList(session, options.projects, /*refs=*/true, subject.plan, subject.projects);
}

int Save(Session& session, const std::string& file, const v1::InspectProjectsResponse& response) {
  const std::string text = file.ends_with(".json") ? ToJson(response) : render::DrawEachCheck(ViewsOf(response), {});
  const absl::Status saved = WriteFile(file, text);
  return saved.ok() ? kOk : Fail(session, saved);
}

void Show(const Session& session, const v1::InspectProjectsResponse& response, bool each) {
  const std::vector<render::CheckView> views = ViewsOf(response);
  if (session.structured()) {
    OutStructured(session, ToJson(response));
  } else if (session.format() == Format::kName) {
    std::set<std::string> failed;
    for (const render::CheckView& view : views) {
      if (view.verdict == render::Verdict::kFailed && failed.insert(view.ref).second) {
        Out(Printable(view.ref) + "\n");
      }
    }
  } else {
    Out(each ? render::DrawEachCheck(views, session.out_style()) : render::DrawChecks(views, session.out_style()));
  }
}

// ---- validate --------------------------------------------------------------------------------------------------

bool NamesMigration(const std::string& target) {
  return target == "latest" || target.find_first_not_of("0123456789") == std::string::npos;
}

Kinds KindsOf(const ValidateOptions& options, const Subject& subject) {
  const bool migrated = !subject.migration_id.empty();
  Kinds kinds;
  const bool none = !options.pre && !options.post && !options.integrity && !options.comprehensive;
  const bool all = options.comprehensive;
  if (options.pre || all || (none && !migrated)) {
    kinds.push_back(v1::PRE_CHECKS);
  }
  if (options.post || (migrated && (all || none))) {
    kinds.push_back(v1::POST_CHECKS);
  }
  if (options.integrity || all || none) {
    kinds.push_back(v1::INTEGRITY_CHECKS);
  }
  if (migrated && all && subject.plan.has_target()) {
    kinds.push_back(v1::CONTENT);
  }
  return kinds;
}

int MigrationSubject(Session& session, const InspectOptions& options, const std::string& name, Subject& subject) {
  const auto migration = FindMigration(session, name);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  v1::GetMigrationRequest request;
  request.set_id(migration->id());
  const auto whole = session.client().Call(request);
  const auto plan = whole.ok() ? plan::PlanFromJson(whole->plan_json()) : whole.status();
  if (!plan.ok()) {
    return Fail(session, plan.status());
  }
  subject.plan = *plan;
  subject.migration_id = migration->id();
  if (options.projects.ends_with(".csv")) {
    return LoadProjectList(session, options.projects, /*refs=*/false, subject.plan, subject.projects);
  }
  for (const std::string& ref : SplitList(options.projects)) {
    subject.projects.emplace_back().set_ref(ref);
  }
  return kOk;
}

bool TakesOutOfSharedTables(const v1::Plan& plan) {
  bool shared = false;
  for (const v1::Table& table : plan.tables()) {
    shared = shared || !table.where().empty();
  }
  return shared && plan.has_target();
}

// Adds the proof as an inspection of no project.
absl::Status Prove(Session& session, const Subject& subject, v1::InspectProjectsResponse& response) {
  Say("adding up the shared tables and every target…");
  v1::ProveConservationRequest request;
  request.set_migration_id(subject.migration_id);
  PGC_ASSIGN_OR_RETURN(const v1::ProveConservationResponse proof, session.client().Call(request));
  *response.add_inspections()->mutable_checks() = proof.checks();
  return absl::OkStatus();
}

}  // namespace

int Check(Session& session, const InspectOptions& options) {
  Subject subject;
  if (const int code = PlanSubject(session, options, options.plan, subject); code != kOk) {
    return code;
  }
  const auto found = Inspect(session, subject, {v1::PRE_CHECKS});
  if (!found.ok()) {
    return FailTask(session, found.status());
  }
  Show(session, *found, /*each=*/false);
  if (!options.save_report.empty()) {
    if (const int code = Save(session, options.save_report, *found); code != kOk) {
      return code;
    }
  }
  Say("nothing was changed");
  return ExitCodeOf(ViewsOf(*found));
}

int Validate(Session& session, const ValidateOptions& options) {
  Subject subject;
  const bool migrated = NamesMigration(options.target);
  const int code = migrated ? MigrationSubject(session, options, options.target, subject)
                            : PlanSubject(session, options, options.target, subject);
  if (code != kOk) {
    return code;
  }
  if (!migrated && options.post && subject.plan.has_target()) {
    return FailUsage(session, "--post wants a migration: a plan alone has no targets to look into",
                     "name the migration that `pgconvoy submit` made");
  }
  auto found = Inspect(session, subject, KindsOf(options, subject));
  if (!found.ok()) {
    return FailTask(session, found.status());
  }
  if (migrated && options.comprehensive && TakesOutOfSharedTables(subject.plan)) {
    if (const absl::Status proven = Prove(session, subject, *found); !proven.ok()) {
      return FailTask(session, proven);
    }
  }
  Show(session, *found, options.show_details);
  return ExitCodeOf(ViewsOf(*found));
}

}  // namespace pgconvoy::cli
