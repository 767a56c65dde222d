#include "coordinator/service/migration_service.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "coordinator/runtime/runtime.h"
#include "coordinator/service/access.h"
#include "coordinator/service/arguments.h"
#include "coordinator/service/audited_task.h"
#include "coordinator/service/change_credentials.h"
#include "coordinator/service/choose_credential.h"
#include "coordinator/service/inspect_tasks.h"
#include "coordinator/service/plan_check.h"
#include "coordinator/service/prune_call.h"
#include "coordinator/service/reconciler.h"
#include "coordinator/service/submit_reactor.h"
#include "coordinator/service/task_reactors.h"
#include "coordinator/service/thread_pool.h"
#include "coordinator/service/views.h"
#include "coordinator/service/watch_reactor.h"
#include "coordinator/service/worker_messages.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"

namespace pgconvoy::service {
namespace {

absl::Status Standby() {
  return MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", "this coordinator does not lead at the moment",
                   "try again");
}

// A stream that ends before it has begun.
template <typename Response>
class FailedStream : public grpc::ServerWriteReactor<Response> {
 public:
  explicit FailedStream(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

class FailedSubmit : public grpc::ServerReadReactor<v1::SubmitMigrationRequest> {
 public:
  explicit FailedSubmit(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

// "" means all migrations.
absl::StatusOr<std::optional<MigrationId>> ToOptionalMigration(const std::string& text) {
  if (text.empty()) {
    return std::nullopt;
  }
  PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(text));
  return std::optional(id);
}

absl::StatusOr<std::pair<std::string, Fence>> ToBackupId(const std::string& text) {
  const size_t slash = text.find('/');
  const auto fence =
      slash == std::string::npos ? std::nullopt : ParseDecimal(std::string_view(text).substr(slash + 1));
  if (!fence.has_value() || !IsValidRef(text.substr(0, slash))) {
    return InputError("PGC-API-ARGUMENT", "backup_id: is not <ref>/<number>");
  }
  return std::pair(text.substr(0, slash), Fence{*fence});
}

class MigrationService : public v1::MigrationService::CallbackService {
 public:
  MigrationService(const Backend& backend, TaskBroker& broker) : backend_(backend), broker_(broker) {}

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;
  grpc::ServerReadReactor<v1::SubmitMigrationRequest>* SubmitMigration(Context*,
                                                                       v1::SubmitMigrationResponse*) override;
  Unary* GetMigration(Context*, const v1::GetMigrationRequest*, v1::Migration*) override;
  Unary* ListMigrations(Context*, const v1::ListMigrationsRequest*, v1::ListMigrationsResponse*) override;
  Unary* ListBatches(Context*, const v1::ListBatchesRequest*, v1::ListBatchesResponse*) override;
  Unary* ListProjects(Context*, const v1::ListProjectsRequest*, v1::ListProjectsResponse*) override;
  Unary* GetProject(Context*, const v1::GetProjectRequest*, v1::Project*) override;
  Unary* ListWorkers(Context*, const v1::ListWorkersRequest*, v1::ListWorkersResponse*) override;
  Unary* ListEvents(Context*, const v1::ListEventsRequest*, v1::ListEventsResponse*) override;
  Unary* VerifyEvents(Context*, const v1::VerifyEventsRequest*, v1::VerifyEventsResponse*) override;
  grpc::ServerWriteReactor<v1::Migration>* WatchMigration(Context*, const v1::WatchMigrationRequest*) override;
  Unary* PauseMigration(Context*, const v1::PauseMigrationRequest*, v1::Migration*) override;
  Unary* ResumeMigration(Context*, const v1::ResumeMigrationRequest*, v1::Migration*) override;
  Unary* CancelMigration(Context*, const v1::CancelMigrationRequest*, v1::Migration*) override;
  Unary* RetryProjects(Context*, const v1::RetryProjectsRequest*, v1::ProjectActionResponse*) override;
  Unary* RollbackProjects(Context*, const v1::RollbackProjectsRequest*, v1::ProjectActionResponse*) override;
  grpc::ServerWriteReactor<v1::DiscoverProjectsResponse>* DiscoverProjects(
      Context*, const v1::DiscoverProjectsRequest*) override;
  grpc::ServerWriteReactor<v1::DescribePlanResponse>* DescribePlan(Context*, const v1::DescribePlanRequest*) override;
  grpc::ServerWriteReactor<v1::InspectProjectsResponse>* InspectProjects(Context*,
                                                                         const v1::InspectProjectsRequest*) override;
  grpc::ServerWriteReactor<v1::ListChangesResponse>* ListChanges(Context*, const v1::ListChangesRequest*) override;
  Unary* ProveConservation(Context*, const v1::ProveConservationRequest*, v1::ProveConservationResponse*) override;
  Unary* ListBackups(Context*, const v1::ListBackupsRequest*, v1::ListBackupsResponse*) override;
  Unary* VerifyBackup(Context*, const v1::VerifyBackupRequest*, v1::VerifyBackupResponse*) override;
  Unary* ExportBackup(Context*, const v1::ExportBackupRequest*, v1::ExportBackupResponse*) override;
  Unary* PruneBackups(Context*, const v1::PruneBackupsRequest*, v1::PruneBackupsResponse*) override;
  Unary* CleanOrphans(Context*, const v1::CleanOrphansRequest*, v1::CleanOrphansResponse*) override;
  Unary* RepairProject(Context*, const v1::RepairProjectRequest*, v1::RepairProjectResponse*) override;
  Unary* GetSealedCredential(Context*, const v1::GetSealedCredentialRequest*, v1::SealedCredential*) override;
  Unary* ChangeCredentials(Context*, const v1::ChangeCredentialsRequest*, v1::ChangeCredentialsResponse*) override;

 private:
  // Where every unary call comes in: refuses it for its deadline, or has `go` finish its reactor.
  Unary* Enter(Context* context,
               const std::function<void(Unary*)>& go,
               std::chrono::hours longest = rpc::kLongestCall);
  // Enter for what needs the store: `work` runs on the pool while this coordinator leads, and finishes the reactor.
  Unary* EnterPool(Context* context,
                   std::function<void(Unary*)> work,
                   std::chrono::hours longest = rpc::kLongestCall);
  // Runs `read` on the pool and finishes with its status.
  Unary* Read(Context* context, std::function<absl::Status()> read, std::chrono::hours longest = rpc::kLongestCall);
  // Runs a command, then gives the migration as it is now to `fill`.
  Unary* Run(Context* context,
             absl::StatusOr<core::Command> command,
             std::function<void(const core::Reply&, v1::Migration)> fill);
  absl::Status CheckExists(MigrationId id);
  // Makes a task on the pool and gives what a worker answers to `response`.
  template <typename Response>
  Unary* Ask(Context* context,
             Response* response,
             std::function<absl::StatusOr<v1::Task>()> make,
             std::optional<Audit> audit = std::nullopt);
  // A backup that is there: its record and the plan that it was made by.
  absl::StatusOr<std::pair<v1::BackupRecord, v1::Task>> FindBackup(const std::string& id);
  absl::StatusOr<v1::Task> MakeRepair(const v1::RepairProjectRequest& request);

  const Backend backend_;
  TaskBroker& broker_;
};

MigrationService::Unary* MigrationService::Enter(Context* context,
                                                 const std::function<void(Unary*)>& go,
                                                 std::chrono::hours longest) {
  Unary* const reactor = context->DefaultReactor();
  const absl::Status status = CheckDeadline(context->deadline(), std::chrono::system_clock::now(), longest);
  if (status.ok()) {
    go(reactor);
  } else {
    reactor->Finish(rpc::ToGrpc(status));
  }
  return reactor;
}

MigrationService::Unary* MigrationService::EnterPool(Context* context,
                                                     std::function<void(Unary*)> work,
                                                     std::chrono::hours longest) {
  const auto go = [this, &work](Unary* reactor) {
    if (!backend_.runtime.leading()) {
      reactor->Finish(rpc::ToGrpc(Standby()));
    } else if (!backend_.pool.Run([reactor, work = std::move(work)] { work(reactor); })) {
      reactor->Finish(rpc::ToGrpc(Overloaded()));
    }
  };
  return Enter(context, go, longest);
}

MigrationService::Unary* MigrationService::Read(Context* context,
                                                std::function<absl::Status()> read,
                                                std::chrono::hours longest) {
  return EnterPool(
      context, [read = std::move(read)](Unary* reactor) { reactor->Finish(rpc::ToGrpc(read())); }, longest);
}

MigrationService::Unary* MigrationService::Run(Context* context,
                                               absl::StatusOr<core::Command> command,
                                               std::function<void(const core::Reply&, v1::Migration)> fill) {
  return Enter(context, [this, &command, &fill](Unary* reactor) {
    if (!command.ok()) {
      reactor->Finish(rpc::ToGrpc(command.status()));
      return;
    }
    const MigrationId id = command->migration;
    backend_.runtime.Run(*std::move(command), [this, reactor, id, fill = std::move(fill)](const core::Reply& reply) {
      if (!reply.status.ok()) {
        reactor->Finish(rpc::ToGrpc(reply.status));
        return;
      }
      const bool taken = backend_.pool.Run([this, reactor, id, fill, reply] {
        const auto row = backend_.reader->GetMigration(id);
        if (row.ok()) {
          fill(reply, ToWire(*row, false));
        }
        reactor->Finish(rpc::ToGrpc(row.status()));
      });
      if (!taken) {
        reactor->Finish(rpc::ToGrpc(Overloaded()));
      }
    });
  });
}

absl::Status MigrationService::CheckExists(MigrationId id) { return backend_.reader->GetMigration(id).status(); }

// ---- submit and watch ------------------------------------------------------------------------------------------

grpc::ServerReadReactor<v1::SubmitMigrationRequest>* MigrationService::SubmitMigration(
    Context* context, v1::SubmitMigrationResponse* response) {
  if (!backend_.runtime.leading()) {
    return new FailedSubmit(rpc::ToGrpc(Standby()));
  }
  return StartSubmit(backend_, *context, response);
}

grpc::ServerWriteReactor<v1::Migration>* MigrationService::WatchMigration(Context*,
                                                                          const v1::WatchMigrationRequest* request) {
  const auto id = ToMigrationId(request->id());
  if (!id.ok()) {
    return new FailedStream<v1::Migration>(rpc::ToGrpc(id.status()));
  }
  return StartWatch(backend_, *id);
}

// ---- reads -----------------------------------------------------------------------------------------------------

MigrationService::Unary* MigrationService::GetMigration(Context* context,
                                                        const v1::GetMigrationRequest* request,
                                                        v1::Migration* response) {
  return Read(context, [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(request->id()));
    PGC_ASSIGN_OR_RETURN(const core::MigrationRow row, backend_.reader->GetMigration(id));
    *response = ToWire(row, true);
    return absl::OkStatus();
  });
}

MigrationService::Unary* MigrationService::ListMigrations(Context* context,
                                                          const v1::ListMigrationsRequest* request,
                                                          v1::ListMigrationsResponse* response) {
  return Read(context, [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const auto page, ToPage(request->page_size(), request->page_token()));
    PGC_ASSIGN_OR_RETURN(const auto found, backend_.reader->ListMigrations(page));
    for (const core::MigrationRow& row : found.rows) {
      *response->add_migrations() = ToWire(row, false);
    }
    response->set_next_page_token(found.next_token);
    return absl::OkStatus();
  });
}

MigrationService::Unary* MigrationService::ListBatches(Context* context,
                                                       const v1::ListBatchesRequest* request,
                                                       v1::ListBatchesResponse* response) {
  return Read(context, [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(request->migration_id()));
    PGC_ASSIGN_OR_RETURN(const auto page, ToPage(request->page_size(), request->page_token()));
    PGC_ASSIGN_OR_RETURN(const auto found, backend_.reader->ListBatches(id, page));
    for (const core::BatchRow& row : found.rows) {
      *response->add_batches() = ToWire(row);
    }
    response->set_next_page_token(found.next_token);
    return found.rows.empty() ? CheckExists(id) : absl::OkStatus();
  });
}

MigrationService::Unary* MigrationService::ListProjects(Context* context,
                                                        const v1::ListProjectsRequest* request,
                                                        v1::ListProjectsResponse* response) {
  return Read(context, [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(request->migration_id()));
    PGC_ASSIGN_OR_RETURN(auto page, ToPage(request->page_size(), request->page_token()));
    PGC_ASSIGN_OR_RETURN(const auto states, ToStates(request->states()));
    if (request->with_history()) {
      page.size = std::min(page.size, kMaxHistoryPageSize);
      PGC_ASSIGN_OR_RETURN(const auto details, backend_.reader->ListProjectDetails(id, states, page));
      for (const store::ProjectDetail& detail : details.rows) {
        *response->add_projects() = ToWire(detail);
      }
      response->set_next_page_token(details.next_token);
      return details.rows.empty() ? CheckExists(id) : absl::OkStatus();
    }
    PGC_ASSIGN_OR_RETURN(const auto found, backend_.reader->ListProjects(id, states, page));
    for (const store::ProjectView& view : found.rows) {
      *response->add_projects() = ToWire(view);
    }
    response->set_next_page_token(found.next_token);
    return found.rows.empty() ? CheckExists(id) : absl::OkStatus();
  });
}

// The row from the store, then the cause from the core, which alone knows why it waits.
MigrationService::Unary* MigrationService::GetProject(Context* context,
                                                      const v1::GetProjectRequest* request,
                                                      v1::Project* response) {
  const auto read = [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(request->migration_id()));
    PGC_RETURN_IF_ERROR(CheckRef(request->ref(), false));
    PGC_ASSIGN_OR_RETURN(const auto detail, backend_.reader->GetProject(id, request->ref()));
    *response = ToWire(detail);
    return absl::OkStatus();
  };
  return EnterPool(context, [this, request, response, read](Unary* reactor) {
    const absl::Status status = read();
    const bool waits = response->state() == v1::PENDING || response->state() == v1::WAITING;
    if (!status.ok() || !waits) {
      reactor->Finish(rpc::ToGrpc(status));
      return;
    }
    backend_.runtime.AskWaitCause(*ToMigrationId(request->migration_id()), request->ref(),
                                  [reactor, response](core::WaitCause cause) {
                                    response->set_wait_cause(std::string(core::Name(cause)));
                                    reactor->Finish(grpc::Status::OK);
                                  });
  });
}

MigrationService::Unary* MigrationService::ListWorkers(Context* context,
                                                       const v1::ListWorkersRequest*,
                                                       v1::ListWorkersResponse* response) {
  return Read(context, [this, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(auto workers, backend_.reader->ListWorkers());
    std::map<std::string, runtime::WorkerNote> notes = backend_.runtime.WorkerNotes();
    for (core::WorkerRow& row : workers) {
      const runtime::WorkerNote& note = notes[row.id];
      // The row is as old as its last change.
      row.last_seen = std::max(row.last_seen, note.heard);
      *response->add_workers() = ToWire(row, note.running);
    }
    return absl::OkStatus();
  });
}

MigrationService::Unary* MigrationService::ListEvents(Context* context,
                                                      const v1::ListEventsRequest* request,
                                                      v1::ListEventsResponse* response) {
  return Read(context, [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const auto id, ToOptionalMigration(request->migration_id()));
    PGC_RETURN_IF_ERROR(CheckRef(request->project_ref(), true));
    PGC_ASSIGN_OR_RETURN(const auto page, ToPage(request->page_size(), request->page_token()));
    PGC_ASSIGN_OR_RETURN(const auto found, backend_.reader->ListEvents(id, request->project_ref(), page));
    for (const store::EventView& view : found.rows) {
      *response->add_events() = ToWire(view);
    }
    response->set_next_page_token(found.next_token);
    return absl::OkStatus();
  });
}

MigrationService::Unary* MigrationService::VerifyEvents(Context* context,
                                                        const v1::VerifyEventsRequest* request,
                                                        v1::VerifyEventsResponse* response) {
  const auto read = [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const store::ChainReport report, backend_.reader->VerifyChain(request->known_head()));
    response->set_events(report.events);
    response->set_links(report.links);
    response->set_head(report.head);
    response->set_problem(report.problem);
    return absl::OkStatus();
  };
  return Read(context, read, rpc::kLongestTask);
}

MigrationService::Unary* MigrationService::ListBackups(Context* context,
                                                       const v1::ListBackupsRequest* request,
                                                       v1::ListBackupsResponse* response) {
  return Read(context, [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const auto id, ToOptionalMigration(request->migration_id()));
    PGC_RETURN_IF_ERROR(CheckRef(request->project_ref(), true));
    PGC_ASSIGN_OR_RETURN(const auto page, ToPage(request->page_size(), request->page_token()));
    PGC_ASSIGN_OR_RETURN(const auto found, backend_.reader->ListBackups(id, request->project_ref(), page));
    for (const store::BackupView& view : found.rows) {
      PGC_RETURN_IF_ERROR(AddBackup(view, *response));
    }
    response->set_next_page_token(found.next_token);
    return absl::OkStatus();
  });
}

MigrationService::Unary* MigrationService::GetSealedCredential(Context* context,
                                                               const v1::GetSealedCredentialRequest* request,
                                                               v1::SealedCredential* response) {
  return Read(context, [this, request, response]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(request->migration_id()));
    PGC_RETURN_IF_ERROR(CheckRef(request->project_ref(), false));
    PGC_ASSIGN_OR_RETURN(auto detail, backend_.reader->GetProject(id, request->project_ref()));
    PGC_ASSIGN_OR_RETURN(const core::MigrationRow migration, backend_.reader->GetMigration(id));
    const ProjectState state = detail.project.row.state;
    const bool stands = state == ProjectState::kSucceeded || state == ProjectState::kSucceededWithWarnings;
    if (stands && migration.spec.credentials_of != MigrationId{}) {
      // A later change may have followed.
      PGC_ASSIGN_OR_RETURN(detail,
                           backend_.reader->GetProject(migration.spec.credentials_of, request->project_ref()));
    }
    PGC_ASSIGN_OR_RETURN(*response, ChooseCredential(detail));
    return absl::OkStatus();
  });
}

MigrationService::Unary* MigrationService::ChangeCredentials(Context* context,
                                                             const v1::ChangeCredentialsRequest* request,
                                                             v1::ChangeCredentialsResponse* response) {
  return EnterPool(context, [this, request, response, actor = ActorOf(*context, request->actor())](Unary* reactor) {
    StartCredentialsChange(backend_, *request, actor, response, reactor);
  });
}

// ---- commands --------------------------------------------------------------------------------------------------

MigrationService::Unary* MigrationService::PauseMigration(Context* context,
                                                          const v1::PauseMigrationRequest* request,
                                                          v1::Migration* response) {
  return Run(
      context,
      ToCommand(core::CommandKind::kPause, request->id(), "", ActorOf(*context, request->actor()), request->reason()),
      [response](const core::Reply&, v1::Migration migration) { *response = std::move(migration); });
}

MigrationService::Unary* MigrationService::ResumeMigration(Context* context,
                                                           const v1::ResumeMigrationRequest* request,
                                                           v1::Migration* response) {
  return Run(context,
             ToCommand(core::CommandKind::kResume, request->id(), "", ActorOf(*context, request->actor()),
                       request->reason()),
             [response](const core::Reply&, v1::Migration migration) { *response = std::move(migration); });
}

MigrationService::Unary* MigrationService::CancelMigration(Context* context,
                                                           const v1::CancelMigrationRequest* request,
                                                           v1::Migration* response) {
  return Run(context,
             ToCommand(core::CommandKind::kCancel, request->id(), "", ActorOf(*context, request->actor()),
                       request->reason()),
             [response](const core::Reply&, v1::Migration migration) { *response = std::move(migration); });
}

auto FillAction(v1::ProjectActionResponse* response) {
  return [response](const core::Reply& reply, v1::Migration migration) {
    response->set_projects_changed(reply.projects_changed);
    *response->mutable_migration() = std::move(migration);
  };
}

MigrationService::Unary* MigrationService::RetryProjects(Context* context,
                                                         const v1::RetryProjectsRequest* request,
                                                         v1::ProjectActionResponse* response) {
  return Run(context,
             ToCommand(core::CommandKind::kRetry, request->migration_id(), request->project_ref(),
                       ActorOf(*context, request->actor()), request->reason()),
             FillAction(response));
}

MigrationService::Unary* MigrationService::RollbackProjects(Context* context,
                                                            const v1::RollbackProjectsRequest* request,
                                                            v1::ProjectActionResponse* response) {
  auto command = ToCommand(core::CommandKind::kRollback, request->migration_id(), request->project_ref(),
                           ActorOf(*context, request->actor()), request->reason());
  if (command.ok()) {
    command->discard_writes = request->discard_writes();
  }
  return Run(context, std::move(command), FillAction(response));
}

// ---- what a worker answers -------------------------------------------------------------------------------------

grpc::ServerWriteReactor<v1::DiscoverProjectsResponse>* MigrationService::DiscoverProjects(
    Context*, const v1::DiscoverProjectsRequest* request) {
  v1::Plan plan;
  if (const grpc::Status status = ReadPlan(request->plan_json(), plan); !status.ok()) {
    return new FailedStream<v1::DiscoverProjectsResponse>(status);
  }
  v1::Task task;
  task.set_plan_json(plan::CanonicalJson(plan));
  task.mutable_discover()->set_detailed(request->detailed());
  return StartDiscover(broker_, std::move(task));
}

grpc::ServerWriteReactor<v1::DescribePlanResponse>* MigrationService::DescribePlan(
    Context*, const v1::DescribePlanRequest* request) {
  v1::Plan plan;
  grpc::Status status = ReadPlan(request->plan_json(), plan);
  if (status.ok() && request->projects_size() > kMaxDescribedProjects) {
    status = rpc::ToGrpc(InputError("PGC-API-ARGUMENT", "projects: at most 1000"));
  }
  for (int i = 0; status.ok() && i < request->projects_size(); ++i) {
    status = rpc::ToGrpc(CheckProject(request->projects(i)));
  }
  if (!status.ok()) {
    return new FailedStream<v1::DescribePlanResponse>(status);
  }
  v1::Task task;
  task.set_plan_json(plan::CanonicalJson(plan));
  *task.mutable_describe()->mutable_projects() = request->projects();
  return StartDescribe(broker_, std::move(task));
}

grpc::ServerWriteReactor<v1::InspectProjectsResponse>* MigrationService::InspectProjects(
    Context*, const v1::InspectProjectsRequest* request) {
  if (!backend_.runtime.leading()) {
    return new FailedStream<v1::InspectProjectsResponse>(rpc::ToGrpc(Standby()));
  }
  return StartInspect(backend_, broker_,
                      [this, wanted = *request] { return InspectTasks(*backend_.reader, wanted); });
}

grpc::ServerWriteReactor<v1::ListChangesResponse>* MigrationService::ListChanges(
    Context*, const v1::ListChangesRequest* request) {
  if (!backend_.runtime.leading()) {
    return new FailedStream<v1::ListChangesResponse>(rpc::ToGrpc(Standby()));
  }
  return StartListChanges(backend_, broker_, [this, wanted = *request]() -> absl::StatusOr<std::vector<v1::Task>> {
    PGC_ASSIGN_OR_RETURN(v1::Task task, ChangesTask(*backend_.reader, wanted));
    return std::vector<v1::Task>{std::move(task)};
  });
}

MigrationService::Unary* MigrationService::ProveConservation(Context* context,
                                                             const v1::ProveConservationRequest* request,
                                                             v1::ProveConservationResponse* response) {
  const auto start = [this, request, response](Unary* reactor) {
    auto task = ProofTask(*backend_.reader, request->migration_id());
    if (!task.ok()) {
      reactor->Finish(rpc::ToGrpc(task.status()));
      return;
    }
    broker_.Start(*std::move(task), MakeChecksSink(reactor, response));
  };
  return EnterPool(context, start, rpc::kLongestTask);
}

template <typename Response>
MigrationService::Unary* MigrationService::Ask(Context* context,
                                               Response* response,
                                               std::function<absl::StatusOr<v1::Task>()> make,
                                               std::optional<Audit> audit) {
  const auto start = [this, response, make = std::move(make), audit = std::move(audit)](Unary* reactor) {
    auto task = make();
    if (!task.ok()) {
      reactor->Finish(rpc::ToGrpc(task.status()));
    } else if (audit.has_value()) {
      StartAudited(backend_, broker_, *std::move(task), *audit, MakeSink(reactor, response));
    } else {
      broker_.Start(*std::move(task), MakeSink(reactor, response));
    }
  };
  return EnterPool(context, start, rpc::kLongestTask);
}

absl::StatusOr<std::pair<v1::BackupRecord, v1::Task>> MigrationService::FindBackup(const std::string& id) {
  PGC_ASSIGN_OR_RETURN(const auto name, ToBackupId(id));
  PGC_ASSIGN_OR_RETURN(const auto view, backend_.reader->FindBackup(name.first, name.second));
  PGC_ASSIGN_OR_RETURN(const auto migration, backend_.reader->GetMigration(view.migration));
  v1::ListBackupsResponse found;
  PGC_RETURN_IF_ERROR(AddBackup(view, found));
  if (found.backups().empty()) {
    return InputError("PGC-BACKUP-ID", "attempt " + id + " has restored a backup and made none");
  }
  if (found.backups(0).backup().has_prune_time()) {
    return MakeError(Verdict::kPermanent, "PGC-BACKUP-PRUNED", "backup " + id + " was pruned");
  }
  v1::Task task;
  task.set_plan_json(migration.spec.plan_json);
  return std::pair(found.backups(0), std::move(task));
}

MigrationService::Unary* MigrationService::VerifyBackup(Context* context,
                                                        const v1::VerifyBackupRequest* request,
                                                        v1::VerifyBackupResponse* response) {
  return Ask(context, response, [this, request]() -> absl::StatusOr<v1::Task> {
    PGC_ASSIGN_OR_RETURN(auto found, FindBackup(request->backup_id()));
    v1::VerifyBackupTask& verify = *found.second.mutable_verify_backup();
    verify.set_backup_id(request->backup_id());
    verify.set_manifest_digest(found.first.backup().manifest_digest());
    verify.set_content(request->content());
    return std::move(found.second);
  });
}

MigrationService::Unary* MigrationService::ExportBackup(Context* context,
                                                        const v1::ExportBackupRequest* request,
                                                        v1::ExportBackupResponse* response) {
  return Ask(context, response, [this, request]() -> absl::StatusOr<v1::Task> {
    PGC_ASSIGN_OR_RETURN(auto found, FindBackup(request->backup_id()));
    v1::ExportBackupTask& exported = *found.second.mutable_export_backup();
    exported.set_backup_id(request->backup_id());
    exported.set_manifest_digest(found.first.backup().manifest_digest());
    exported.set_directory(request->directory());
    return std::move(found.second);
  });
}

MigrationService::Unary* MigrationService::PruneBackups(Context* context,
                                                        const v1::PruneBackupsRequest* request,
                                                        v1::PruneBackupsResponse* response) {
  v1::PruneBackupsRequest asked = *request;
  asked.set_actor(ActorOf(*context, request->actor()));
  const auto start = [this, asked = std::move(asked), response](Unary* reactor) {
    StartPrune(backend_, broker_, asked, response, reactor);
  };
  return EnterPool(context, start, rpc::kLongestTask);
}

MigrationService::Unary* MigrationService::CleanOrphans(Context* context,
                                                        const v1::CleanOrphansRequest* request,
                                                        v1::CleanOrphansResponse* response) {
  v1::Plan plan;
  const auto actor = ToActor(ActorOf(*context, request->actor()));
  grpc::Status status = rpc::ToGrpc(actor.status());
  if (status.ok()) {
    status = ReadPlan(request->plan_json(), plan);
  }
  if (!status.ok()) {
    const auto refuse = [&status](Unary* reactor) { reactor->Finish(status); };
    return Enter(context, refuse, rpc::kLongestTask);
  }
  std::optional<Audit> audit;
  if (request->clean()) {
    audit = Audit{.actor = "operator:" + *actor,
                  .begun_kind = "ORPHANS_CLEAN",
                  .done_kind = "ORPHANS_CLEANED",
                  .failed_kind = "ORPHANS_CLEAN_FAILED",
                  .item_kind = "ORPHAN_REMOVED",
                  .reason = "plan " + plan.name()};
  }
  const auto make = [this, request, plan_json = plan::CanonicalJson(plan)]() -> absl::StatusOr<v1::Task> {
    PGC_ASSIGN_OR_RETURN(v1::Task task, MakeReconcileTask(*backend_.reader, plan_json));
    PGC_ASSIGN_OR_RETURN(const auto ids, backend_.reader->ListBackupIds(kMaxReconcileRefs));
    if (ids.size() > kMaxReconcileRefs) {
      return MakeError(Verdict::kPermanent, "PGC-RECONCILE-SIZE",
                       "the store knows too many backups to name them all");
    }
    v1::ReconcileTask& reconcile = *task.mutable_reconcile();
    reconcile.set_list_only(!request->clean());
    reconcile.set_thorough(true);
    reconcile.mutable_backup_ids()->Assign(ids.begin(), ids.end());
    return task;
  };
  return Ask(context, response, make, std::move(audit));
}

absl::StatusOr<v1::Task> MigrationService::MakeRepair(const v1::RepairProjectRequest& request) {
  PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(request.migration_id()));
  PGC_RETURN_IF_ERROR(CheckRef(request.project_ref(), false));
  PGC_ASSIGN_OR_RETURN(const auto migration, backend_.reader->GetMigration(id));
  PGC_ASSIGN_OR_RETURN(const auto detail, backend_.reader->GetProject(id, request.project_ref()));
  PGC_ASSIGN_OR_RETURN(const store::RefView ref, backend_.reader->GetRef(request.project_ref()));
  if (ref.open) {
    return MakeError(Verdict::kPermanent, "PGC-PROJECT-BUSY",
                     "project " + request.project_ref() + " is in an unfinished migration or needs an operator",
                     "let that migration end first: only then is it clear what should be there");
  }
  v1::Task task;
  task.set_plan_json(migration.spec.plan_json);
  v1::RepairTask& repair = *task.mutable_repair();
  repair.set_migration_id(request.migration_id());
  repair.set_mend(request.mend());
  *repair.mutable_project() = ToGrant(detail, ref.fence);
  return task;
}

MigrationService::Unary* MigrationService::RepairProject(Context* context,
                                                         const v1::RepairProjectRequest* request,
                                                         v1::RepairProjectResponse* response) {
  const auto actor = ToActor(ActorOf(*context, request->actor()));
  const auto id = ToMigrationId(request->migration_id());
  std::optional<Audit> audit;
  if (request->mend() && actor.ok() && id.ok()) {
    audit = Audit{.actor = "operator:" + *actor,
                  .migration = *id,
                  .project_ref = request->project_ref(),
                  .begun_kind = "PROJECT_REPAIR",
                  .done_kind = "PROJECT_REPAIRED",
                  .failed_kind = "PROJECT_REPAIR_FAILED",
                  .item_kind = "PROJECT_MENDED"};
  }
  return Ask(
      context, response,
      [this, request, refused = actor.status()]() -> absl::StatusOr<v1::Task> {
        PGC_RETURN_IF_ERROR(refused);
        return MakeRepair(*request);
      },
      std::move(audit));
}

}  // namespace

std::unique_ptr<grpc::Service> MakeMigrationService(const Backend& backend, TaskBroker& broker) {
  return std::make_unique<MigrationService>(backend, broker);
}

}  // namespace pgconvoy::service
