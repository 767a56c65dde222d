#include "coordinator/service/inspect_tasks.h"

#include <grpcpp/grpcpp.h>

#include <functional>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "coordinator/service/arguments.h"
#include "coordinator/service/plan_check.h"
#include "coordinator/service/views.h"

namespace pgconvoy::service {
namespace {

// A message holds 4 MiB.
constexpr size_t kTaskBytes = 2 << 20;
constexpr int kPageSize = 200;

using Take = std::function<absl::Status(const store::ProjectDetail&)>;

bool EndedWell(ProjectState state) {
  return state == ProjectState::kSucceeded || state == ProjectState::kSucceededWithWarnings;
}

// With the results of these phases, all of them when none is named.
v1::ProjectGrant GrantOf(const store::ProjectDetail& detail, const std::set<v1::Phase>& phases) {
  v1::Project project = ToWire(detail);
  v1::ProjectGrant grant;
  grant.set_ref(project.ref());
  *grant.mutable_attributes() = project.attributes();
  grant.set_fence(detail.last_fence.value);
  grant.set_direction(v1::FORWARD);
  for (v1::PhaseResult& result : *project.mutable_results()) {
    // Where a rollback ended: what was done before it does not count.
    const bool undone = result.direction() == v1::ROLLBACK && result.phase() == v1::CLEANUP;
    if (phases.empty() || undone || phases.contains(result.phase())) {
      *grant.add_done() = std::move(result);
    }
  }
  return grant;
}

// Collects projects into tasks, a new one whenever the last is full.
class TaskFiller {
 public:
  explicit TaskFiller(v1::Task empty) : empty_(std::move(empty)) {}

  void Add(v1::ProjectGrant grant) {
    const size_t bytes = grant.ByteSizeLong();
    if (tasks_.empty() || bytes_ + bytes > kTaskBytes) {
      tasks_.push_back(empty_);
      bytes_ = 0;
    }
    bytes_ += bytes;
    *tasks_.back().mutable_inspect()->add_projects() = std::move(grant);
    ++projects_;
  }
  int projects() const { return projects_; }
  std::vector<v1::Task> Finish() && { return std::move(tasks_); }

 private:
  const v1::Task empty_;
  std::vector<v1::Task> tasks_;
  size_t bytes_ = 0;
  int projects_ = 0;
};

absl::StatusOr<v1::Task> EmptyTask(const v1::InspectProjectsRequest& request, const std::string& plan_json) {
  v1::Task task;
  task.set_plan_json(plan_json);
  task.mutable_inspect()->set_migration_id(request.migration_id());
  if (request.kinds().empty()) {
    return InputError("PGC-API-ARGUMENT", "kinds: must name at least one inspection");
  }
  for (const int kind : request.kinds()) {
    if (kind == v1::INSPECTION_UNSPECIFIED || !v1::Inspection_IsValid(kind)) {
      return InputError("PGC-API-ARGUMENT", "kinds: " + std::to_string(kind) + " is no inspection");
    }
    task.mutable_inspect()->add_kinds(static_cast<v1::Inspection>(kind));
  }
  return task;
}

absl::StatusOr<std::vector<v1::Task>> TasksOfPlan(const v1::InspectProjectsRequest& request) {
  v1::Plan plan;
  if (const grpc::Status status = ReadPlan(request.plan_json(), plan); !status.ok()) {
    return rpc::FromGrpc(status);
  }
  if (request.projects().empty() || request.projects_size() > kMaxDescribedProjects) {
    return InputError("PGC-API-ARGUMENT", "projects: 1 to 1000 with a plan");
  }
  PGC_ASSIGN_OR_RETURN(v1::Task empty, EmptyTask(request, plan::CanonicalJson(plan)));
  TaskFiller filler(std::move(empty));
  for (const v1::ProjectSpec& project : request.projects()) {
    PGC_RETURN_IF_ERROR(CheckProject(project));
    v1::ProjectGrant grant;
    grant.set_ref(project.ref());
    *grant.mutable_attributes() = project.attributes();
    filler.Add(std::move(grant));
  }
  return std::move(filler).Finish();
}

absl::Status EachEndedWell(store::StoreReader& reader, MigrationId migration, const Take& take) {
  store::PageRequest page{kPageSize, ""};
  do {
    PGC_ASSIGN_OR_RETURN(
        const auto found,
        reader.ListProjectDetails(migration, {ProjectState::kSucceeded, ProjectState::kSucceededWithWarnings}, page));
    for (const store::ProjectDetail& detail : found.rows) {
      PGC_RETURN_IF_ERROR(take(detail));
    }
    page.token = found.next_token;
  } while (!page.token.empty());
  return absl::OkStatus();
}

absl::Status EachNamed(store::StoreReader& reader,
                       MigrationId migration,
                       const v1::InspectProjectsRequest& request,
                       const Take& take) {
  for (const v1::ProjectSpec& project : request.projects()) {
    PGC_RETURN_IF_ERROR(CheckRef(project.ref(), false));
    PGC_ASSIGN_OR_RETURN(const auto detail, reader.GetProject(migration, project.ref()));
    if (!EndedWell(detail.project.row.state)) {
      return MakeError(Verdict::kPermanent, "PGC-INSPECT-STATE",
                       "project " + project.ref() + " is " + std::string(Name(detail.project.row.state)),
                       "only projects that have ended well can be validated; see `pgconvoy describe project`");
    }
    PGC_RETURN_IF_ERROR(take(detail));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::Task>> TasksOfMigration(store::StoreReader& reader,
                                                       const v1::InspectProjectsRequest& request) {
  PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(request.migration_id()));
  PGC_ASSIGN_OR_RETURN(const auto migration, reader.GetMigration(id));
  PGC_ASSIGN_OR_RETURN(v1::Task empty, EmptyTask(request, migration.spec.plan_json));
  TaskFiller filler(std::move(empty));
  const Take take = [&filler](const store::ProjectDetail& detail) -> absl::Status {
    if (filler.projects() == kMaxInspectedProjects) {
      return InputError("PGC-API-ARGUMENT", "projects: more than 10000 have ended well",
                        "name them, at most 10000 in one call");
    }
    filler.Add(GrantOf(detail, {}));
    return absl::OkStatus();
  };
  const bool all = request.projects().empty();
  PGC_RETURN_IF_ERROR(all ? EachEndedWell(reader, id, take) : EachNamed(reader, id, request, take));
  return std::move(filler).Finish();
}

// Of the migrations of the same plan, newest first.
absl::StatusOr<std::vector<MigrationId>> SamePlan(store::StoreReader& reader, const core::MigrationRow& migration) {
  std::vector<MigrationId> ids;
  store::PageRequest page{kMaxPageSize, ""};
  do {
    PGC_ASSIGN_OR_RETURN(const auto found, reader.ListMigrations(page));
    for (const core::MigrationRow& row : found.rows) {
      if (row.spec.plan_hash == migration.spec.plan_hash) {
        ids.push_back(row.id);
      }
    }
    page.token = found.next_token;
  } while (!page.token.empty());
  return ids;
}

}  // namespace

absl::StatusOr<std::vector<v1::Task>> InspectTasks(store::StoreReader& reader,
                                                   const v1::InspectProjectsRequest& request) {
  if (request.plan_json().empty() == request.migration_id().empty()) {
    return InputError("PGC-API-ARGUMENT", "plan_json, migration_id: exactly one of them");
  }
  return request.migration_id().empty() ? TasksOfPlan(request) : TasksOfMigration(reader, request);
}

absl::StatusOr<v1::Task> ChangesTask(store::StoreReader& reader, const v1::ListChangesRequest& request) {
  PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(request.migration_id()));
  PGC_ASSIGN_OR_RETURN(const auto migration, reader.GetMigration(id));
  PGC_ASSIGN_OR_RETURN(const auto detail, reader.GetProject(id, request.project_ref()));
  v1::Task task;
  task.set_plan_json(migration.spec.plan_json);
  task.mutable_list_changes()->set_migration_id(request.migration_id());
  *task.mutable_list_changes()->mutable_project() = GrantOf(detail, {v1::FENCE});
  return task;
}

absl::StatusOr<v1::Task> ProofTask(store::StoreReader& reader, const std::string& migration_id) {
  PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(migration_id));
  PGC_ASSIGN_OR_RETURN(const auto migration, reader.GetMigration(id));
  PGC_ASSIGN_OR_RETURN(const auto ids, SamePlan(reader, migration));
  v1::Task task;
  task.set_plan_json(migration.spec.plan_json);
  size_t bytes = 0;
  std::set<std::string> known;
  for (const MigrationId each : ids) {
    PGC_RETURN_IF_ERROR(EachEndedWell(reader, each, [&](const store::ProjectDetail& detail) -> absl::Status {
      if (known.insert(detail.project.row.ref).second) {
        *task.mutable_prove()->add_projects() = GrantOf(detail, {v1::FENCE});
        bytes += task.prove().projects(task.prove().projects_size() - 1).ByteSizeLong();
      }
      return bytes <= kTaskBytes
                 ? absl::OkStatus()
                 : InputError("PGC-PROVE-SIZE", "the plan has moved too many projects to prove at once");
    }));
  }
  return task;
}

}  // namespace pgconvoy::service
