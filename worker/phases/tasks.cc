#include "worker/phases/tasks.h"

#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "worker/phases/backup_tasks.h"
#include "worker/phases/change_log.h"
#include "worker/phases/describe.h"
#include "worker/phases/discover.h"
#include "worker/phases/inspect.h"
#include "worker/phases/orphans.h"
#include "worker/phases/prove.h"
#include "worker/phases/reconcile.h"
#include "worker/phases/repair.h"

namespace pgconvoy::worker {
namespace {

// Projects in one message of a task's result; keeps messages far below the limit.
constexpr int kProjectsPerMessage = 500;
// Judging takes a while, and whoever waits should see that it goes on.
constexpr int kCandidatesPerMessage = 20;

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
      *last.mutable_error() = ErrorOf(outcome);
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
      case v1::Task::kInspect: return Inspect();
      case v1::Task::kProve: return Prove();
      case v1::Task::kListChanges: return ListChanges();
      default: return MakeError(Verdict::kPermanent, "PGC-TASK-UNKNOWN", "this worker does not know the task");
    }
  }

  absl::Status Discover() {
    if (!plan_.has_registry()) {
      return InputError("PGC-PLAN-REGISTRY", "the plan has no registry", "list the projects with --projects");
    }
    const v1::Server& server = plan_.servers().at(plan_.registry().server());
    const auto registrar = pool_.Acquire(server, LoginKind::kRegistrar, plan_.registry().database(), "pgc:discover");
    if (!registrar.ok()) {
      return Annotate(registrar.status(), "server \"" + plan_.registry().server() + "\"");
    }
    const auto rows = (*registrar)->Exec(DiscoverSql(plan_));
    if (!rows.ok()) {
      return Annotate(rows.status(), "reading the registry");
    }
    CandidateJudge judge(inspector_);
    v1::TaskResult page;
    for (int row = 0; row < rows->rows(); ++row) {
      PGC_ASSIGN_OR_RETURN(*page.add_projects(), DiscoveredProject(plan_, *rows, row));
      if (task_.discover().detailed()) {
        *page.add_candidates() = judge.Judge(page.projects(page.projects_size() - 1));
      }
      if (page.projects_size() == kProjectsPerMessage || page.candidates_size() == kCandidatesPerMessage) {
        Send(std::exchange(page, {}));
      }
    }
    Send(std::move(page));
    return absl::OkStatus();
  }

  absl::Status Inspect() {
    const v1::InspectTask& wanted = task_.inspect();
    std::vector<v1::Inspection> kinds;
    for (const int kind : wanted.kinds()) {
      kinds.push_back(static_cast<v1::Inspection>(kind));
    }
    for (const v1::ProjectGrant& project : wanted.projects()) {
      v1::TaskResult result;
      *result.add_inspections() = InspectProject(inspector_, project, wanted.migration_id(), kinds);
      Send(std::move(result));
    }
    return absl::OkStatus();
  }

  absl::Status Prove() {
    const auto& projects = task_.prove().projects();
    PGC_ASSIGN_OR_RETURN(const auto checks, ProveConservation(inspector_, {projects.begin(), projects.end()}));
    v1::TaskResult result;
    result.add_inspections()->mutable_checks()->Assign(checks.begin(), checks.end());
    Send(std::move(result));
    return absl::OkStatus();
  }

  absl::Status ListChanges() {
    const v1::ListChangesTask& wanted = task_.list_changes();
    PGC_ASSIGN_OR_RETURN(const auto attempt, inspector_.Look(wanted.project(), wanted.migration_id()));
    PGC_ASSIGN_OR_RETURN(const auto changes, ChangesOf(*attempt));
    v1::TaskResult page;
    for (const v1::RowChange& change : changes) {
      *page.add_changes() = change;
      if (page.changes_size() == kProjectsPerMessage) {
        Send(std::exchange(page, {}));
      }
    }
    Send(std::move(page));
    return absl::OkStatus();
  }

  absl::Status DescribeAll() {
    for (const v1::ProjectSpec& project : task_.describe().projects()) {
      AttemptGrant grant;
      grant.store_id = store_id_;
      grant.plan_hash = plan::PlanHash(plan_);
      grant.ref = project.ref();
      grant.attributes = {project.attributes().begin(), project.attributes().end()};
      PGC_ASSIGN_OR_RETURN(const auto attempt, Attempt::Create(plan_, std::move(grant), pool_, schemas_, reporter_));
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
    // Each by itself: what is gone is told even if this process dies before the end.
    const auto say = [this](const std::string& line) {
      v1::TaskResult result;
      result.add_lines(line);
      Send(std::move(result));
    };
    return task.thorough() ? FindOrphans(pool_, plan_, store_id_, task, say)
                           : ReconcileTarget(pool_, plan_, store_id_, task, say);
  }

  absl::Status RunRepair() {
    v1::TaskResult result;
    const absl::Status outcome =
        Repair(plan_, store_id_, task_.repair(), pool_, schemas_, reporter_, *result.add_inspections());
    // What was mended before an error is told as well.
    Send(std::move(result));
    return outcome;
  }

  const v1::Task& task_;
  const std::string& store_id_;
  SessionPool& pool_;
  SchemaCache& schemas_;
  const std::function<void(const v1::TaskResult&)>& send_;
  v1::Plan plan_;
  NoReporter reporter_;
  const Inspector inspector_{plan_, store_id_, pool_, schemas_, reporter_};
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
