#include <algorithm>

#include "cli/commands/commands.h"
#include "cli/commands/history.h"
#include "cli/commands/inputs.h"
#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "cli/render/statistics.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::cli {
namespace {

// Enough for a median that will not move much.
constexpr int kMaxMigrations = 10;
constexpr size_t kMaxSamples = 2'000;

struct Basis {
  int64_t migrations = 0;
  render::Summary per_project_ms;
  // Of those projects together.
  int64_t bytes = 0;
  int64_t ms = 0;
  // Projects at once: the workers' slots, at most what the plan allows on a server.
  int64_t parallel = 1;
};

bool EndedWell(v1::ProjectState state) { return state == v1::SUCCEEDED || state == v1::SUCCEEDED_WITH_WARNINGS; }

absl::StatusOr<int64_t> Parallel(Session& session, const v1::Plan& plan) {
  PGC_ASSIGN_OR_RETURN(const v1::ListWorkersResponse workers, session.client().Call(v1::ListWorkersRequest()));
  int64_t slots = 0;
  for (const v1::Worker& worker : workers.workers()) {
    slots += worker.state() == "connected" ? worker.slots() : 0;
  }
  for (const std::string& server : {plan.source().server(), plan.target().server()}) {
    const auto found = plan.servers().find(server);
    if (found != plan.servers().end()) {
      slots = std::min<int64_t>(slots, found->second.max_projects());
    }
  }
  return std::max<int64_t>(1, slots);
}

// Finished migrations under a plan of this name, the newest first.
absl::StatusOr<Basis> FindBasis(Session& session, const v1::Plan& plan) {
  Basis basis;
  PGC_ASSIGN_OR_RETURN(basis.parallel, Parallel(session, plan));
  PGC_ASSIGN_OR_RETURN(
      const v1::ListMigrationsResponse list,
      CallAllPages(session.client(), v1::ListMigrationsRequest(), 0, &v1::ListMigrationsResponse::migrations_size));
  std::vector<int64_t> samples;
  for (const v1::Migration& migration : list.migrations()) {
    const bool counts = migration.name() == plan.name() && HasEnded(migration) &&
                        migration.projects_succeeded() + migration.projects_warned() > 0;
    if (!counts || basis.migrations == kMaxMigrations || samples.size() >= kMaxSamples) {
      continue;
    }
    ++basis.migrations;
    PGC_RETURN_IF_ERROR(EachProjectWithHistory(session, migration.id(), [&](const v1::Project& project) {
      if (EndedWell(project.state())) {
        samples.push_back(DurationMs(project));
        basis.bytes += project.bytes_copied();
        basis.ms += samples.back();
      }
    }));
  }
  basis.per_project_ms = render::Summarize(std::move(samples));
  return basis;
}

v1::Estimate Total(const v1::InspectProjectsResponse& found) {
  v1::Estimate total;
  for (const v1::ProjectInspection& inspection : found.inspections()) {
    const v1::Estimate& one = inspection.estimate();
    total.set_rows(total.rows() + one.rows());
    total.set_source_bytes(total.source_bytes() + one.source_bytes());
    total.set_backup_bytes(total.backup_bytes() + one.backup_bytes());
    total.set_target_bytes(total.target_bytes() + one.target_bytes());
    total.set_roles(total.roles() + one.roles());
    total.set_databases(total.databases() + one.databases());
    total.set_connections(std::max(total.connections(), one.connections()));
  }
  return total;
}

int64_t Forecast(const Basis& basis, int64_t per_project_ms, int64_t projects) {
  return (per_project_ms * projects + basis.parallel - 1) / basis.parallel;
}

std::string BasisText(const Basis& basis) {
  if (basis.per_project_ms.count == 0) {
    return "no basis yet: no migration of a plan of this name has finished";
  }
  const double seconds = static_cast<double>(std::max<int64_t>(basis.ms, 1)) / 1000;
  return render::Count(basis.per_project_ms.count) + " projects of " + render::Count(basis.migrations) +
         " migrations: median " + render::Duration(basis.per_project_ms.p50) + ", p95 " +
         render::Duration(basis.per_project_ms.p95) + " a project, " +
         render::Bytes(static_cast<int64_t>(static_cast<double>(basis.bytes) / seconds)) + "/s each; " +
         render::Count(basis.parallel) + " at once";
}

std::string Line(std::string key, const std::string& value) {
  key.resize(14, ' ');
  return key + value + "\n";
}

void ShowText(const Session& session, const v1::InspectProjectsResponse& found, const Basis& basis) {
  const v1::Estimate total = Total(found);
  const int64_t projects = found.inspections_size();
  if (session.wide()) {
    render::Table table{{{"REF"}, {"ROWS", true}, {"SOURCE", true}, {"BACKUP", true}, {"TARGET", true}}, {}};
    for (const v1::ProjectInspection& one : found.inspections()) {
      table.rows.push_back({{one.ref()},
                            {render::Count(one.estimate().rows())},
                            {render::Bytes(one.estimate().source_bytes())},
                            {render::Bytes(one.estimate().backup_bytes())},
                            {render::Bytes(one.estimate().target_bytes())}});
    }
    Out(render::Draw(table, true, session.out_style()) + "\n");
  }
  const bool known = basis.per_project_ms.count > 0;
  Out(Line("projects", render::Count(projects)) + Line("rows", render::Count(total.rows())) +
      Line("source", render::Bytes(total.source_bytes())) +
      Line("backup", render::Bytes(total.backup_bytes()) + " before compression") +
      Line("target", render::Bytes(total.target_bytes()) + " with indexes") +
      Line("disk", render::Bytes(total.backup_bytes() + total.target_bytes()) + " for backups and targets") +
      Line("roles", render::Count(total.roles())) + Line("databases", render::Count(total.databases())) +
      Line("connections", render::Count(basis.parallel * total.connections()) + " at most, " +
                              render::Count(total.connections()) + " for each of " + render::Count(basis.parallel) +
                              " projects at once") +
      Line("duration", known ? render::Duration(Forecast(basis, basis.per_project_ms.p50, projects)) + ", up to " +
                                   render::Duration(Forecast(basis, basis.per_project_ms.p95, projects))
                             : "-") +
      Line("basis", BasisText(basis)));
}

std::string Json(const v1::InspectProjectsResponse& found, const Basis& basis) {
  const v1::Estimate total = Total(found);
  const int64_t count = found.inspections_size();
  std::vector<JsonRow> projects;
  for (const v1::ProjectInspection& one : found.inspections()) {
    projects.push_back({{"ref", one.ref()},
                        {"rows", one.estimate().rows()},
                        {"source_bytes", one.estimate().source_bytes()},
                        {"backup_bytes", one.estimate().backup_bytes()},
                        {"target_bytes", one.estimate().target_bytes()}});
  }
  return ToJson(JsonFields{{"projects_total", count},
                           {"rows", total.rows()},
                           {"source_bytes", total.source_bytes()},
                           {"backup_bytes", total.backup_bytes()},
                           {"target_bytes", total.target_bytes()},
                           {"roles", int64_t{total.roles()}},
                           {"databases", int64_t{total.databases()}},
                           {"connections", basis.parallel * total.connections()},
                           {"projects_at_once", basis.parallel},
                           {"basis_projects", basis.per_project_ms.count},
                           {"median_ms_per_project", basis.per_project_ms.p50},
                           {"p95_ms_per_project", basis.per_project_ms.p95},
                           {"duration_ms", Forecast(basis, basis.per_project_ms.p50, count)},
                           {"duration_p95_ms", Forecast(basis, basis.per_project_ms.p95, count)},
                           {"basis", BasisText(basis)},
                           {"projects", std::move(projects)}});
}

// The first project that could not be measured, if there is one.
absl::Status FirstError(const v1::InspectProjectsResponse& found) {
  for (const v1::ProjectInspection& one : found.inspections()) {
    if (one.has_error()) {
      return MakeError(Verdict::kPermanent, one.error().code(), "project " + one.ref() + ": " + one.error().message(),
                       one.error().remedy());
    }
  }
  return absl::OkStatus();
}

}  // namespace

int Estimate(Session& session, const InspectOptions& options) {
  v1::Plan plan;
  if (const int code = LoadPlanFile(options.plan, plan); code != kOk) {
    return code;
  }
  std::vector<v1::ProjectSpec> projects;
  if (const int code = LoadProjectList(session, options.projects, /*refs=*/true, plan, projects); code != kOk) {
    return code;
  }
  v1::InspectProjectsRequest request;
  request.set_plan_json(plan::CanonicalJson(plan));
  request.add_kinds(v1::ESTIMATE);
  Say("measuring " + render::Count(static_cast<int64_t>(projects.size())) + " projects on a worker…");
  const auto found = session.client().Inspect(request, projects);
  if (!found.ok()) {
    return FailTask(session, found.status());
  }
  if (const absl::Status measured = FirstError(*found); !measured.ok()) {
    return FailTask(session, measured, "pgconvoy check " + options.plan);
  }
  const auto basis = FindBasis(session, plan);
  if (!basis.ok()) {
    return Fail(session, basis.status());
  }
  if (session.structured()) {
    OutStructured(session, Json(*found, *basis));
  } else {
    ShowText(session, *found, *basis);
  }
  return kOk;
}

}  // namespace pgconvoy::cli
