#include "fake_service.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/rpc/rpc.h"

namespace pgconvoy::cli {
namespace {

grpc::Status Missing(const std::string& what) { return rpc::ToGrpc(absl::NotFoundError("there is no " + what)); }

// One page of `all`; the token is the index of its first item.
template <typename Request, typename Item, typename Add>
std::string Page(const Request& request, const std::vector<Item>& all, int most, Add add) {
  size_t at = request.page_token().empty() ? 0 : std::stoul(request.page_token());
  const int size = request.page_size() > 0 ? std::min(request.page_size(), most) : most;
  const size_t end = std::min(all.size(), at + static_cast<size_t>(size));
  for (; at < end; ++at) {
    add(all[at]);
  }
  return end < all.size() ? std::to_string(end) : "";
}

}  // namespace

grpc::Status FakeService::SubmitMigration(grpc::ServerContext*,
                                          grpc::ServerReader<v1::SubmitMigrationRequest>* reader,
                                          v1::SubmitMigrationResponse* response) {
  const std::lock_guard lock(mutex);
  v1::SubmitMigrationRequest request;
  while (reader->Read(&request)) {
    if (request.has_header()) {
      headers.push_back(request.header());
    } else {
      chunk_sizes.push_back(request.projects().projects_size());
      submitted.insert(submitted.end(), request.projects().projects().begin(), request.projects().projects().end());
    }
  }
  if (!refusal.ok()) {
    return rpc::ToGrpc(refusal);
  }
  *response->mutable_migration() = migrations.front();
  response->set_existed(headers.size() > 1 && headers.back().request_id() == headers.front().request_id());
  return grpc::Status::OK;
}

grpc::Status FakeService::GetMigration(grpc::ServerContext*,
                                       const v1::GetMigrationRequest* request,
                                       v1::Migration* response) {
  const std::lock_guard lock(mutex);
  for (const v1::Migration& migration : migrations) {
    if (migration.id() == request->id()) {
      *response = migration;
      return grpc::Status::OK;
    }
  }
  return Missing("migration " + request->id());
}

grpc::Status FakeService::ListMigrations(grpc::ServerContext*,
                                         const v1::ListMigrationsRequest* request,
                                         v1::ListMigrationsResponse* response) {
  const std::lock_guard lock(mutex);
  response->set_next_page_token(Page(*request, migrations, most_per_page,
                                     [&](const v1::Migration& item) { *response->add_migrations() = item; }));
  return grpc::Status::OK;
}

grpc::Status FakeService::ListBatches(grpc::ServerContext*,
                                      const v1::ListBatchesRequest* request,
                                      v1::ListBatchesResponse* response) {
  const std::lock_guard lock(mutex);
  response->set_next_page_token(
      Page(*request, batches, most_per_page, [&](const v1::Batch& item) { *response->add_batches() = item; }));
  return grpc::Status::OK;
}

grpc::Status FakeService::ListProjects(grpc::ServerContext*,
                                       const v1::ListProjectsRequest* request,
                                       v1::ListProjectsResponse* response) {
  const std::lock_guard lock(mutex);
  last_list_projects = *request;
  response->set_next_page_token(
      Page(*request, projects, most_per_page, [&](const v1::Project& item) { *response->add_projects() = item; }));
  return grpc::Status::OK;
}

grpc::Status FakeService::GetProject(grpc::ServerContext*,
                                     const v1::GetProjectRequest* request,
                                     v1::Project* response) {
  const std::lock_guard lock(mutex);
  for (const v1::Project& project : projects) {
    if (project.ref() == request->ref()) {
      *response = project;
      return grpc::Status::OK;
    }
  }
  return Missing("project " + request->ref());
}

grpc::Status FakeService::ListWorkers(grpc::ServerContext* context,
                                      const v1::ListWorkersRequest*,
                                      v1::ListWorkersResponse* response) {
  const std::lock_guard lock(mutex);
  time_left =
      std::chrono::duration_cast<std::chrono::milliseconds>(context->deadline() - std::chrono::system_clock::now());
  response->mutable_workers()->Add(workers.begin(), workers.end());
  return grpc::Status::OK;
}

grpc::Status FakeService::ListEvents(grpc::ServerContext*,
                                     const v1::ListEventsRequest* request,
                                     v1::ListEventsResponse* response) {
  const std::lock_guard lock(mutex);
  response->set_next_page_token(
      Page(*request, events, most_per_page, [&](const v1::Event& item) { *response->add_events() = item; }));
  return grpc::Status::OK;
}

grpc::Status FakeService::WatchMigration(grpc::ServerContext* context,
                                         const v1::WatchMigrationRequest*,
                                         grpc::ServerWriter<v1::Migration>* writer) {
  std::vector<v1::Migration> script;
  {
    const std::lock_guard lock(mutex);
    script = watch;
  }
  for (const v1::Migration& migration : script) {
    writer->Write(migration);
  }
  const bool ended = !script.empty() && script.back().state() >= v1::MIGRATION_SUCCEEDED;
  while (!ended && !context->IsCancelled()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return grpc::Status::OK;
}

grpc::Status FakeService::Act(const std::string& what, const std::string& id, v1::Migration* migration) {
  const std::lock_guard lock(mutex);
  actions.push_back(what + " " + id);
  if (!refusal.ok()) {
    return rpc::ToGrpc(refusal);
  }
  *migration = migrations.front();
  return grpc::Status::OK;
}

grpc::Status FakeService::PauseMigration(grpc::ServerContext*,
                                         const v1::PauseMigrationRequest* request,
                                         v1::Migration* response) {
  return Act("pause reason=" + request->reason(), request->id(), response);
}
grpc::Status FakeService::ResumeMigration(grpc::ServerContext*,
                                          const v1::ResumeMigrationRequest* request,
                                          v1::Migration* response) {
  return Act("resume", request->id(), response);
}
grpc::Status FakeService::CancelMigration(grpc::ServerContext*,
                                          const v1::CancelMigrationRequest* request,
                                          v1::Migration* response) {
  return Act("cancel", request->id(), response);
}
grpc::Status FakeService::RetryProjects(grpc::ServerContext*,
                                        const v1::RetryProjectsRequest* request,
                                        v1::ProjectActionResponse* response) {
  response->set_projects_changed(3);
  return Act("retry project=" + request->project_ref(), request->migration_id(), response->mutable_migration());
}
grpc::Status FakeService::RollbackProjects(grpc::ServerContext*,
                                           const v1::RollbackProjectsRequest* request,
                                           v1::ProjectActionResponse* response) {
  response->set_projects_changed(1204);
  return Act("rollback project=" + request->project_ref() + (request->discard_writes() ? " discard" : ""),
             request->migration_id(), response->mutable_migration());
}

grpc::Status FakeService::DiscoverProjects(grpc::ServerContext*,
                                           const v1::DiscoverProjectsRequest* request,
                                           grpc::ServerWriter<v1::DiscoverProjectsResponse>* writer) {
  const std::lock_guard lock(mutex);
  if (!refusal.ok()) {
    return rpc::ToGrpc(refusal);
  }
  for (size_t i = 0; i < discovered.size(); ++i) {
    v1::DiscoverProjectsResponse part;
    *part.add_projects() = discovered[i];
    if (request->detailed()) {
      *part.add_candidates() = candidates.at(i);
    }
    writer->Write(part);
  }
  return grpc::Status::OK;
}

grpc::Status FakeService::DescribePlan(grpc::ServerContext*,
                                       const v1::DescribePlanRequest* request,
                                       grpc::ServerWriter<v1::DescribePlanResponse>* writer) {
  const std::lock_guard lock(mutex);
  for (const v1::ProjectSpec& spec : request->projects()) {
    v1::DescribePlanResponse part;
    v1::PhaseDescription* description = part.add_descriptions();
    description->set_ref(spec.ref());
    description->set_phase(v1::PROVISION);
    description->add_steps("provisioner@new/postgres: CREATE DATABASE \"project_" + spec.ref() + "\"");
    writer->Write(part);
    ++described;
  }
  return grpc::Status::OK;
}

grpc::Status FakeService::InspectProjects(grpc::ServerContext*,
                                          const v1::InspectProjectsRequest* request,
                                          grpc::ServerWriter<v1::InspectProjectsResponse>* writer) {
  const std::lock_guard lock(mutex);
  inspected.push_back(*request);
  if (!refusal.ok()) {
    return rpc::ToGrpc(refusal);
  }
  v1::InspectProjectsRequest wanted = *request;
  if (wanted.projects().empty()) {
    wanted.add_projects()->set_ref("acme-1");
  }
  for (const v1::ProjectSpec& spec : wanted.projects()) {
    v1::InspectProjectsResponse part;
    *part.add_inspections() = inspection;
    part.mutable_inspections(0)->set_ref(spec.ref());
    writer->Write(part);
  }
  return grpc::Status::OK;
}

grpc::Status FakeService::ProveConservation(grpc::ServerContext*,
                                            const v1::ProveConservationRequest*,
                                            v1::ProveConservationResponse* response) {
  const std::lock_guard lock(mutex);
  response->mutable_checks()->Assign(proof.begin(), proof.end());
  return grpc::Status::OK;
}

grpc::Status FakeService::ListBackups(grpc::ServerContext*,
                                      const v1::ListBackupsRequest*,
                                      v1::ListBackupsResponse* response) {
  auto* backup = response->add_backups();
  backup->set_migration_id("7");
  backup->set_project_ref("acme-1");
  backup->mutable_backup()->set_backup_id("acme-1/41");
  backup->mutable_backup()->set_stored_bytes(2048);
  v1::TableDigest* table = backup->mutable_backup()->add_tables();
  table->set_table("auth.users");
  table->set_rows(150);
  return grpc::Status::OK;
}

grpc::Status FakeService::VerifyBackup(grpc::ServerContext*,
                                       const v1::VerifyBackupRequest* request,
                                       v1::VerifyBackupResponse* response) {
  const std::lock_guard lock(mutex);
  if (!refusal.ok()) {
    return rpc::ToGrpc(refusal);
  }
  response->add_lines(request->backup_id() + ": 12 chunks equal the manifest");
  return grpc::Status::OK;
}

grpc::Status FakeService::GetSealedCredential(grpc::ServerContext*,
                                              const v1::GetSealedCredentialRequest* request,
                                              v1::SealedCredential* response) {
  const std::lock_guard lock(mutex);
  *response = credential;
  response->set_project_ref(request->project_ref());
  return grpc::Status::OK;
}

void FakeServer::Start(int port) {
  grpc::ServerBuilder builder;
  port_ = port != 0 ? port : port_;
  builder.AddListeningPort(address(), grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(&service);
  server_ = builder.BuildAndStart();
}

void FakeServer::Stop() {
  if (server_ != nullptr) {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }
}

v1::Migration MakeMigration(const std::string& id, v1::MigrationState state) {
  v1::Migration migration;
  migration.set_id(id);
  migration.set_name("isolate-projects");
  migration.set_state(state);
  migration.set_request_id("5f0c3c1e-0000-4000-8000-000000000007");
  migration.mutable_create_time()->set_seconds(1'772'358'730);
  if (state >= v1::MIGRATION_SUCCEEDED) {
    migration.mutable_end_time()->set_seconds(1'772'358'730 + 185);
  }
  migration.set_projects_total(3);
  migration.set_rows_copied(812);
  return migration;
}

v1::Project MakeProject(const std::string& ref, v1::ProjectState state) {
  v1::Project project;
  project.set_ref(ref);
  project.set_migration_id("7");
  project.set_batch_id("3");
  project.set_state(state);
  project.set_direction(v1::FORWARD);
  project.set_phase(v1::COPY);
  project.set_attempts(1);
  return project;
}

}  // namespace pgconvoy::cli
