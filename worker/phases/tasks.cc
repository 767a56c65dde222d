#include "worker/phases/tasks.h"

#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "worker/core/sql.h"
#include "worker/phases/backup_tasks.h"
#include "worker/phases/describe.h"
#include "worker/phases/orphans.h"
#include "worker/phases/reconcile.h"
#include "worker/phases/repair.h"

namespace pgconvoy::worker {
namespace {

// Projects in one message of a task's result; keeps messages far below the limit.
constexpr int kProjectsPerMessage = 500;

// A task reports to nobody and holds nothing.
class NoReporter : public Reporter {
 public:
  absl::Status Intent(const v1::Intent&) override {
    return MakeError(Verdict::kPermanent, "PGC-TASK-WRITES", "a task may not make anything");
  }
  void Progress(int64_t, int64_t) override {}
  absl::Status Checkpoint() override { return absl::OkStatus(); }
};

class TaskRunner {
 public:
  TaskRunner(const v1::Task& task,
             const std::string& store_id,
             SessionPool& pool,
             SchemaCache& schemas,
             const std::function<void(const v1::TaskResult&)>& send)
      : task_(task), store_id_(store_id), pool_(pool), schemas_(schemas), send_(send) {}

  void Run() {
    const absl::Status outcome = Dispatch();
    v1::TaskResult last;
    if (!outcome.ok()) {
      last.mutable_error()->set_verdict(VerdictOf(outcome) == Verdict::kTransient ? v1::TRANSIENT : v1::PERMANENT);
      last.mutable_error()->set_code(CodeOf(outcome));
      last.mutable_error()->set_message(MessageOf(outcome));
      last.mutable_error()->set_remedy(RemedyOf(outcome));
    }
    last.set_done(true);
    Send(std::move(last));
  }

 private:
  void Send(v1::TaskResult result) {
    result.set_task_id(task_.task_id());
    send_(result);
  }

  absl::Status Dispatch() {
    PGC_ASSIGN_OR_RETURN(plan_, plan::PlanFromJson(task_.plan_json()));
    switch (task_.body_case()) {
      case v1::Task::kDiscover: return Discover();
      case v1::Task::kDescribe: return DescribeAll();
      case v1::Task::kVerifyBackup: return SendLines(VerifyBackup(plan_, store_id_, task_.verify_backup()));
      case v1::Task::kExportBackup: return SendLines(ExportBackup(plan_, store_id_, task_.export_backup()));
      case v1::Task::kPruneBackups: return SendLines(PruneBackups(plan_, store_id_, task_.prune_backups()));
      case v1::Task::kRepair: return RunRepair();
      case v1::Task::kReconcile: return RunReconcile();
      default: return MakeError(Verdict::kPermanent, "PGC-TASK-UNKNOWN", "this worker does not know the task");
    }
  }

  std::string DiscoverSql() const {
    const v1::Registry& registry = plan_.registry();
    std::string columns = Ident(registry.ref_column()) + "::pg_catalog.text, ";
    columns += registry.estimated_bytes().empty() ? "0" : "(" + registry.estimated_bytes() + ")::pg_catalog.int8";
    for (const std::string& attribute : registry.attribute_columns()) {
      columns += ", " + Ident(attribute) + "::pg_catalog.text";
    }
    return "SELECT " + columns + " FROM " + SplitTable(registry.table()).Quoted() +
           (registry.where().empty() ? "" : " WHERE " + registry.where()) + " ORDER BY 1";
  }

  absl::Status Discover() {
    if (!plan_.has_registry()) {
      return InputError("PGC-PLAN-REGISTRY", "the plan has no registry", "list the projects with --projects");
    }
    const v1::Server& server = plan_.servers().at(plan_.registry().server());
    PGC_ASSIGN_OR_RETURN(PooledSession registrar,
                         pool_.Acquire(server, LoginKind::kRegistrar, plan_.registry().database(), "pgc:discover"));
    const auto rows = registrar->Exec(DiscoverSql());
    if (!rows.ok()) {
      return Annotate(rows.status(), "reading the registry");
    }
    v1::TaskResult page;
    for (int row = 0; row < rows->rows(); ++row) {
      PGC_RETURN_IF_ERROR(AddProject(*rows, row, page));
      if (page.projects_size() == kProjectsPerMessage) {
        Send(std::exchange(page, {}));
      }
    }
    Send(std::move(page));
    return absl::OkStatus();
  }

  absl::Status AddProject(const pg::Result& rows, int row, v1::TaskResult& page) const {
    v1::ProjectSpec* const project = page.add_projects();
    project->set_ref(rows.Text(row, 0));
    if (!IsValidRef(project->ref())) {
      return InputError("PGC-PROJECT-REF", "the registry holds the illegal ref \"" + Printable(project->ref()) + "\"",
                        "allowed: [a-z0-9][a-z0-9_-]{0,39}; exclude it with registry.where");
    }
    project->set_estimated_bytes(std::max<int64_t>(0, rows.Int(row, 1)));
    for (int i = 0; i < plan_.registry().attribute_columns_size(); ++i) {
      if (const auto value = rows.Get(row, i + 2)) {
        (*project->mutable_attributes())[plan_.registry().attribute_columns(i)] = std::string(*value);
      }
    }
    return absl::OkStatus();
  }

  absl::Status DescribeAll() {
    NoReporter reporter;
    for (const v1::ProjectSpec& project : task_.describe().projects()) {
      AttemptGrant grant;
      grant.store_id = store_id_;
      grant.plan_hash = plan::PlanHash(plan_);
      grant.ref = project.ref();
      grant.attributes = {project.attributes().begin(), project.attributes().end()};
      PGC_ASSIGN_OR_RETURN(const auto attempt, Attempt::Create(plan_, std::move(grant), pool_, schemas_, reporter));
      PGC_ASSIGN_OR_RETURN(const auto phases, DescribeProject(*attempt));
      v1::TaskResult result;
      result.mutable_descriptions()->Assign(phases.begin(), phases.end());
      Send(std::move(result));
    }
    return absl::OkStatus();
  }

  absl::Status SendLines(const absl::StatusOr<std::vector<std::string>>& lines) {
    PGC_RETURN_IF_ERROR(lines.status());
    v1::TaskResult result;
    result.mutable_lines()->Assign(lines->begin(), lines->end());
    Send(std::move(result));
    return absl::OkStatus();
  }

  absl::Status RunReconcile() {
    const v1::ReconcileTask& task = task_.reconcile();
    return SendLines(task.thorough() ? FindOrphans(pool_, plan_, store_id_, task)
                                     : ReconcileTarget(pool_, plan_, store_id_, task));
  }

  absl::Status RunRepair() {
    NoReporter reporter;
    PGC_ASSIGN_OR_RETURN(auto inspection, Repair(plan_, store_id_, task_.repair(), pool_, schemas_, reporter));
    v1::TaskResult result;
    *result.add_inspections() = std::move(inspection);
    Send(std::move(result));
    return absl::OkStatus();
  }

  const v1::Task& task_;
  const std::string& store_id_;
  SessionPool& pool_;
  SchemaCache& schemas_;
  const std::function<void(const v1::TaskResult&)>& send_;
  v1::Plan plan_;
};

}  // namespace

void RunTask(const v1::Task& task,
             const std::string& store_id,
             SessionPool& pool,
             SchemaCache& schemas,
             const std::function<void(const v1::TaskResult&)>& send) {
  TaskRunner(task, store_id, pool, schemas, send).Run();
}

}  // namespace pgconvoy::worker
