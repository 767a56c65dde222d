#include "worker/phases/tasks.h"

#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "common/plan/server_choice.h"
#include "worker/backup/backup.h"
#include "worker/core/sql.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/describe.h"
#include "worker/phases/reconcile.h"

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
      case v1::Task::kVerifyBackup: return VerifyBackup();
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

  absl::Status VerifyBackup() {
    const std::string& id = task_.verify_backup().backup_id();
    const size_t slash = id.rfind('/');
    const auto fence = ParseDecimal(id.substr(slash + 1));
    if (slash == std::string::npos || !fence.has_value() || !IsValidRef(id.substr(0, slash))) {
      return InputError("PGC-BACKUP-ID", "\"" + Printable(id) + "\" is no backup id", "see `pgconvoy backup list`");
    }
    PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(plan_));
    PGC_ASSIGN_OR_RETURN(const auto reader, backup::BackupReader::Open(root, store_id_, id.substr(0, slash), *fence,
                                                                       task_.verify_backup().manifest_digest()));
    PGC_RETURN_IF_ERROR(reader->VerifyAll());
    v1::TaskResult result;
    for (const backup::TableEntry& table : reader->manifest().tables) {
      result.add_lines(table.table + ": " + std::to_string(table.rows) + " rows in " +
                       std::to_string(table.chunks.size()) + " chunk(s), intact");
    }
    Send(std::move(result));
    return absl::OkStatus();
  }

  absl::Status RunReconcile() {
    if (!plan_.has_target()) {
      return absl::OkStatus();
    }
    const auto& live = task_.reconcile().live_refs();
    absl::Status first_failure;
    for (const std::string& name : plan::PossibleServers(plan_, plan_.target().server())) {
      const v1::Server& server = plan_.servers().at(name);
      if (!server.has_provisioner()) {
        continue;
      }
      const auto removed =
          Reconcile(pool_, server, store_id_, {live.begin(), live.end()}, task_.reconcile().next_fence());
      // One server that is down keeps nobody from tidying the others.
      first_failure.Update(removed.status());
      if (removed.ok()) {
        v1::TaskResult result;
        result.mutable_lines()->Assign(removed->begin(), removed->end());
        Send(std::move(result));
      }
    }
    return first_failure;
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
