// MigrationService with answers that a test has laid out, behind a real gRPC server on 127.0.0.1.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"

namespace pgconvoy::cli {

// Thread safety: a test fills the public fields before Start, or holds `mutex`.
class FakeService : public v1::MigrationService::Service {
 public:
  std::mutex mutex;
  std::vector<v1::Migration> migrations;
  std::vector<v1::Batch> batches;
  std::vector<v1::Project> projects;
  std::vector<v1::Worker> workers;
  std::vector<v1::Event> events;
  std::vector<v1::ProjectSpec> discovered;
  // Sent with a detailed discovery, one for each of `discovered`.
  std::vector<v1::Candidate> candidates;
  // Answered for every project that is inspected, with its ref.
  v1::ProjectInspection inspection;
  std::vector<v1::CheckResult> proof;
  v1::SealedCredential credential;
  // Answered to every call but Get and List when not OK.
  absl::Status refusal;
  // What WatchMigration sends; it stays open behind the last one unless that has ended.
  std::vector<v1::Migration> watch;
  // Items of a page, whatever was asked for.
  int most_per_page = 1000;

  // What came in.
  std::vector<v1::SubmitHeader> headers;
  std::vector<int> chunk_sizes;
  std::vector<v1::ProjectSpec> submitted;
  std::vector<std::string> actions;
  v1::ListProjectsRequest last_list_projects;
  // What the latest ListWorkers was given.
  std::chrono::milliseconds time_left{};
  int described = 0;
  std::vector<v1::InspectProjectsRequest> inspected;

  grpc::Status SubmitMigration(grpc::ServerContext*,
                               grpc::ServerReader<v1::SubmitMigrationRequest>* reader,
                               v1::SubmitMigrationResponse* response) override;
  grpc::Status GetMigration(grpc::ServerContext*, const v1::GetMigrationRequest*, v1::Migration*) override;
  grpc::Status ListMigrations(grpc::ServerContext*,
                              const v1::ListMigrationsRequest*,
                              v1::ListMigrationsResponse*) override;
  grpc::Status ListBatches(grpc::ServerContext*, const v1::ListBatchesRequest*, v1::ListBatchesResponse*) override;
  grpc::Status ListProjects(grpc::ServerContext*, const v1::ListProjectsRequest*, v1::ListProjectsResponse*) override;
  grpc::Status GetProject(grpc::ServerContext*, const v1::GetProjectRequest*, v1::Project*) override;
  grpc::Status ListWorkers(grpc::ServerContext*, const v1::ListWorkersRequest*, v1::ListWorkersResponse*) override;
  grpc::Status ListEvents(grpc::ServerContext*, const v1::ListEventsRequest*, v1::ListEventsResponse*) override;
  grpc::Status WatchMigration(grpc::ServerContext*,
                              const v1::WatchMigrationRequest*,
                              grpc::ServerWriter<v1::Migration>*) override;
  grpc::Status PauseMigration(grpc::ServerContext*, const v1::PauseMigrationRequest*, v1::Migration*) override;
  grpc::Status ResumeMigration(grpc::ServerContext*, const v1::ResumeMigrationRequest*, v1::Migration*) override;
  grpc::Status CancelMigration(grpc::ServerContext*, const v1::CancelMigrationRequest*, v1::Migration*) override;
  grpc::Status RetryProjects(grpc::ServerContext*,
                             const v1::RetryProjectsRequest*,
                             v1::ProjectActionResponse*) override;
  grpc::Status RollbackProjects(grpc::ServerContext*,
                                const v1::RollbackProjectsRequest*,
                                v1::ProjectActionResponse*) override;
  grpc::Status DiscoverProjects(grpc::ServerContext*,
                                const v1::DiscoverProjectsRequest*,
                                grpc::ServerWriter<v1::DiscoverProjectsResponse>*) override;
  grpc::Status DescribePlan(grpc::ServerContext*,
                            const v1::DescribePlanRequest*,
                            grpc::ServerWriter<v1::DescribePlanResponse>*) override;
  grpc::Status InspectProjects(grpc::ServerContext*,
                               const v1::InspectProjectsRequest*,
                               grpc::ServerWriter<v1::InspectProjectsResponse>*) override;
  grpc::Status ProveConservation(grpc::ServerContext*,
                                 const v1::ProveConservationRequest*,
                                 v1::ProveConservationResponse*) override;
  grpc::Status ListBackups(grpc::ServerContext*, const v1::ListBackupsRequest*, v1::ListBackupsResponse*) override;
  grpc::Status VerifyBackup(grpc::ServerContext*, const v1::VerifyBackupRequest*, v1::VerifyBackupResponse*) override;
  grpc::Status GetSealedCredential(grpc::ServerContext*,
                                   const v1::GetSealedCredentialRequest*,
                                   v1::SealedCredential*) override;

 private:
  grpc::Status Act(const std::string& what, const std::string& id, v1::Migration* migration);
};

class FakeServer {
 public:
  ~FakeServer() { Stop(); }
  // Port 0: a free one, kept for later starts.
  void Start(int port = 0);
  void Stop();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  FakeService service;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

v1::Migration MakeMigration(const std::string& id, v1::MigrationState state);
v1::Project MakeProject(const std::string& ref, v1::ProjectState state);

}  // namespace pgconvoy::cli
