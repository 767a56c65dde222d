// MigrationService: what the CLI and scripts ask. Reads come from committed state on a pool of threads, commands go to
// the runtime; nothing is decided here.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "coordinator/core/core.h"
#include "coordinator/service/submit_reactor.h"
#include "coordinator/service/task_broker.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"

namespace pgconvoy::service {

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
  grpc::ServerWriteReactor<v1::Migration>* WatchMigration(Context*, const v1::WatchMigrationRequest*) override;
  Unary* PauseMigration(Context*, const v1::PauseMigrationRequest*, v1::Migration*) override;
  Unary* ResumeMigration(Context*, const v1::ResumeMigrationRequest*, v1::Migration*) override;
  Unary* CancelMigration(Context*, const v1::CancelMigrationRequest*, v1::Migration*) override;
  Unary* RetryProjects(Context*, const v1::RetryProjectsRequest*, v1::ProjectActionResponse*) override;
  Unary* RollbackProjects(Context*, const v1::RollbackProjectsRequest*, v1::ProjectActionResponse*) override;
  grpc::ServerWriteReactor<v1::DiscoverProjectsResponse>* DiscoverProjects(
      Context*, const v1::DiscoverProjectsRequest*) override;
  grpc::ServerWriteReactor<v1::DescribePlanResponse>* DescribePlan(Context*, const v1::DescribePlanRequest*) override;
  Unary* ListBackups(Context*, const v1::ListBackupsRequest*, v1::ListBackupsResponse*) override;
  Unary* VerifyBackup(Context*, const v1::VerifyBackupRequest*, v1::VerifyBackupResponse*) override;
  Unary* GetSealedCredential(Context*, const v1::GetSealedCredentialRequest*, v1::SealedCredential*) override;

 private:
  // Runs `read` on the pool and finishes with its status.
  Unary* Read(Context* context, std::function<absl::Status()> read);
  // Runs a command, then gives the migration as it is now to `fill`.
  Unary* Run(Context* context,
             absl::StatusOr<core::Command> command,
             std::function<void(const core::Reply&, v1::Migration)> fill);
  absl::Status CheckExists(MigrationId id);

  const Backend backend_;
  TaskBroker& broker_;
};

}  // namespace pgconvoy::service
