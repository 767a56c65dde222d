#include "coordinator/service/prune_call.h"

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "coordinator/core/prune.h"
#include "coordinator/runtime/runtime.h"
#include "coordinator/service/arguments.h"
#include "coordinator/service/thread_pool.h"
#include "coordinator/service/views.h"
#include "coordinator/store/store_reader.h"

namespace pgconvoy::service {
namespace {

std::string IdOf(const core::PruneCandidate& candidate) {
  return candidate.ref + "/" + std::to_string(candidate.fence.value);
}

// Lives until the reactor is finished: whoever waits for an answer holds it.
class PruneRun : public std::enable_shared_from_this<PruneRun> {
 public:
  PruneRun(const Backend& backend,
           TaskBroker& broker,
           v1::PruneBackupsResponse* response,
           grpc::ServerUnaryReactor* reactor)
      : backend_(backend), broker_(broker), response_(response), reactor_(reactor) {}

  void Start(const v1::PruneBackupsRequest& request) {
    const absl::Status status = Decide(request);
    if (!status.ok() || request.dry_run() || (decided_.empty() && unfinished_.empty())) {
      Finish(status);
      return;
    }
    MarkDecided();
  }

 private:
  class Sink : public TaskSink {
   public:
    explicit Sink(std::shared_ptr<PruneRun> run) : run_(std::move(run)) {}
    void OnItems(const v1::TaskResult&) override {}
    void OnEnd(const absl::Status& status) override { run_->OnRemoved(status); }

   private:
    const std::shared_ptr<PruneRun> run_;
  };

  void Finish(const absl::Status& status) { reactor_->Finish(rpc::ToGrpc(status)); }

  absl::Status Decide(const v1::PruneBackupsRequest& request) {
    core::PruneRequest asked;
    if (!request.migration_id().empty()) {
      PGC_ASSIGN_OR_RETURN(asked.migration, ToMigrationId(request.migration_id()));
      PGC_RETURN_IF_ERROR(backend_.reader->GetMigration(*asked.migration).status());
    }
    PGC_RETURN_IF_ERROR(CheckRef(request.project_ref(), true));
    PGC_ASSIGN_OR_RETURN(actor_, ToActor(request.actor()));
    asked.ref = request.project_ref();
    if (request.has_older_than_days()) {
      if (request.older_than_days() < 0) {
        return InputError("PGC-API-ARGUMENT", "older_than_days: is negative");
      }
      asked.older_than_days = request.older_than_days();
    }
    asked.force = request.force();
    asked.now = Clock::System().NowWall();
    PGC_ASSIGN_OR_RETURN(store::PruneView view, backend_.reader->ListForPrune(request.project_ref()));
    PGC_RETURN_IF_ERROR(FillRetention(view.backups));
    Sort(view.backups, core::DecidePrune(view.backups, view.refs, asked));
    return absl::OkStatus();
  }

  absl::Status FillRetention(std::vector<core::PruneCandidate>& candidates) {
    for (core::PruneCandidate& candidate : candidates) {
      PGC_ASSIGN_OR_RETURN(const Migration* const migration, FindMigration(candidate.migration));
      candidate.retention_days = migration->retention_days;
    }
    return absl::OkStatus();
  }

  struct Migration {
    std::string plan_json;
    int retention_days = 0;
  };

  absl::StatusOr<const Migration*> FindMigration(MigrationId id) {
    if (const auto known = migrations_.find(id); known != migrations_.end()) {
      return &known->second;
    }
    PGC_ASSIGN_OR_RETURN(const core::MigrationRow row, backend_.reader->GetMigration(id));
    PGC_ASSIGN_OR_RETURN(const v1::Plan plan, plan::PlanFromJson(row.spec.plan_json));
    Migration& migration = migrations_[id];
    migration = {row.spec.plan_json, plan.backup().retention_days()};
    return &migration;
  }

  void Sort(const std::vector<core::PruneCandidate>& candidates, const core::PruneDecision& decision) {
    for (const size_t i : decision.prune) {
      if (decided_.size() < kMaxPruned) {
        decided_.push_back(candidates[i]);
        response_->add_backup_ids(IdOf(candidates[i]));
      } else {
        response_->add_kept(IdOf(candidates[i]) + ": one call removes " + std::to_string(kMaxPruned) + " at most");
      }
    }
    for (const size_t i : decision.unfinished) {
      unfinished_.push_back(candidates[i]);
      response_->add_backup_ids(IdOf(candidates[i]));
    }
    for (const core::PruneDecision::Kept& kept : decision.kept) {
      response_->add_kept(IdOf(candidates[kept.candidate]) + ": " + kept.reason);
    }
  }

  // Durable before a file is touched: a rollback that begins now is told that the backup is gone.
  void MarkDecided() {
    const WallMs now = Clock::System().NowWall();
    Mark(
        core::CommandKind::kPruneBackups, decided_,
        [now](const store::BackupView& view) { return MarkPruned(view, now); },
        [this](const absl::Status& status) {
          if (!status.ok()) {
            Finish(status);
            return;
          }
          for (auto* const list : {&decided_, &unfinished_}) {
            for (core::PruneCandidate& candidate : *list) {
              waiting_[candidate.migration].push_back(std::move(candidate));
            }
          }
          RemoveNext();
        });
  }

  template <typename MakeMark>
  void Mark(core::CommandKind kind,
            const std::vector<core::PruneCandidate>& candidates,
            const MakeMark& make,
            std::function<void(const absl::Status&)> then) {
    core::Command command;
    command.kind = kind;
    command.actor = actor_;
    for (const core::PruneCandidate& candidate : candidates) {
      const auto view = backend_.reader->FindBackup(candidate.ref, candidate.fence);
      auto mark = view.ok() ? make(*view) : view.status();
      if (!mark.ok()) {
        then(mark.status());
        return;
      }
      command.backups.push_back(*std::move(mark));
    }
    backend_.runtime.Run(std::move(command),
                         [self = shared_from_this(), then = std::move(then)](const core::Reply& reply) {
                           // Not on the runtime's thread: what follows reads the store.
                           self->OnPool([then, status = reply.status] { then(status); });
                         });
  }

  void OnPool(std::function<void()> work) {
    if (!backend_.pool.Run([self = shared_from_this(), work = std::move(work)] { work(); })) {
      Finish(MakeError(Verdict::kTransient, "PGC-COORD-OVERLOADED", "too many calls wait",
                       "prune again: it finishes what was begun"));
    }
  }

  // The backups of one migration after the other; each has a backup directory of its own.
  void RemoveNext() {
    if (waiting_.empty()) {
      Finish(absl::OkStatus());
      return;
    }
    const auto migration = FindMigration(waiting_.begin()->first);
    if (!migration.ok()) {
      Finish(migration.status());
      return;
    }
    v1::Task task;
    task.set_plan_json((*migration)->plan_json);
    for (const core::PruneCandidate& candidate : waiting_.begin()->second) {
      task.mutable_prune_backups()->add_backup_ids(IdOf(candidate));
    }
    broker_.Start(std::move(task), std::make_shared<Sink>(shared_from_this()));
  }

  void OnRemoved(const absl::Status& status) {
    if (!status.ok()) {
      Finish(Annotate(status, "the backups are marked as pruned and the next prune removes their files"));
      return;
    }
    OnPool([this] {
      const auto done = waiting_.extract(waiting_.begin());
      Mark(
          core::CommandKind::kBackupsRemoved, done.mapped(),
          [](const store::BackupView& view) { return MarkRemoved(view); },
          [this](const absl::Status& marked) {
            if (marked.ok()) {
              RemoveNext();
            } else {
              Finish(marked);
            }
          });
    });
  }

  const Backend backend_;
  TaskBroker& broker_;
  v1::PruneBackupsResponse* const response_;
  grpc::ServerUnaryReactor* const reactor_;
  std::string actor_;
  std::map<MigrationId, Migration> migrations_;
  std::vector<core::PruneCandidate> decided_;
  std::vector<core::PruneCandidate> unfinished_;
  std::map<MigrationId, std::vector<core::PruneCandidate>> waiting_;
};

}  // namespace

void StartPrune(const Backend& backend,
                TaskBroker& broker,
                const v1::PruneBackupsRequest& request,
                v1::PruneBackupsResponse* response,
                grpc::ServerUnaryReactor* reactor) {
  std::make_shared<PruneRun>(backend, broker, response, reactor)->Start(request);
}

}  // namespace pgconvoy::service
