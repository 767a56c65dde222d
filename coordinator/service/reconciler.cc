#include "coordinator/service/reconciler.h"

#include <memory>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/log/log.h"
#include "common/plan/plan.h"
#include "coordinator/service/audited_task.h"
#include "coordinator/service/thread_pool.h"
#include "coordinator/store/store_reader.h"

namespace pgconvoy::service {
namespace {

class LogSink : public TaskSink {
 public:
  explicit LogSink(MigrationId migration) : context_{std::to_string(migration.value), "", "", 0} {}
  void OnItems(const v1::TaskResult& result) override {
    for (const std::string& line : result.lines()) {
      log::Write(log::Level::kInfo, context_, "reconciled", {{"line", line}});
    }
  }
  void OnEnd(const absl::Status& status) override {
    if (!status.ok()) {
      log::Write(log::Level::kWarn, context_, "not reconciled", {{"error", Describe(status)}});
    }
  }

 private:
  const log::Context context_;
};

absl::StatusOr<v1::Task> MakeTask(store::StoreReader& reader, MigrationId migration) {
  PGC_ASSIGN_OR_RETURN(const core::MigrationRow row, reader.GetMigration(migration));
  return MakeReconcileTask(reader, row.spec.plan_json);
}

}  // namespace

absl::StatusOr<v1::Task> MakeReconcileTask(store::StoreReader& reader, const std::string& plan_json) {
  PGC_ASSIGN_OR_RETURN(const store::LiveRefs live, reader.ListLiveRefs(kMaxReconcileRefs));
  if (live.refs.size() > kMaxReconcileRefs) {
    return MakeError(Verdict::kPermanent, "PGC-RECONCILE-SIZE", "the store knows too many projects to name them all");
  }
  v1::Task task;
  task.set_plan_json(plan_json);
  task.mutable_reconcile()->set_next_fence(live.next_fence.value);
  for (const std::string& ref : live.refs) {
    task.mutable_reconcile()->add_live_refs(ref);
  }
  return task;
}

void StartReconcile(const Backend& backend, TaskBroker& broker, MigrationId migration) {
  const bool taken = backend.pool.Run([&backend, &broker, migration] {
    auto sink = std::make_shared<LogSink>(migration);
    auto task = MakeTask(*backend.reader, migration);
    if (task.ok()) {
      task->mutable_reconcile();
      Audit audit;
      audit.actor = "coordinator";
      audit.migration = migration;
      audit.item_kind = "ORPHAN_REMOVED";
      StartAudited(backend, broker, *std::move(task), std::move(audit), std::move(sink));
    } else {
      sink->OnEnd(task.status());
    }
  });
  if (!taken) {
    log::Warn("not reconciled: too much waits", {{"migration", std::to_string(migration.value)}});
  }
}

}  // namespace pgconvoy::service
