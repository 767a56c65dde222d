#include "tests/integration/installation.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <thread>

#include "common/base/error.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using Stub = v1::MigrationService::Stub;

void Require(const grpc::Status& status, const std::string& what) {
  if (!status.ok()) {
    throw std::runtime_error(what + ": " + Describe(rpc::FromGrpc(status)));
  }
}

// Calls once, and again while the coordinator is away.
template <typename Response>
Response Call(int port,
              const std::string& what,
              const std::function<grpc::Status(Stub&, grpc::ClientContext&, Response*)>& call) {
  grpc::Status status;
  for (int i = 0; i < 150; ++i) {
    const auto stub = v1::MigrationService::NewStub(rpc::Connect("127.0.0.1:" + std::to_string(port)));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    Response response;
    status = call(*stub, context, &response);
    if (status.ok()) {
      return response;
    }
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) {
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  Require(status, what);
  return {};
}

}  // namespace

std::string SourceFile(const std::string& relative) {
  const char* const root = std::getenv("PGCONVOY_SOURCE_DIR");
  return std::string(root == nullptr ? "." : root) + "/" + relative;
}

Installation::Installation(const std::string& lease_ttl) : lease_ttl_(lease_ttl) {
  rpc::PrepareProcess();
  InitCrypto();
  keys_ = GenerateKeyPair();
  backup_dir_ = folder_.path() + "/backups";
  std::filesystem::create_directory(backup_dir_);
  PgClusterOptions durable;
  durable.durable = true;
  store_ = std::make_unique<PgCluster>(durable);
  env_["PGCONVOY_RECIPIENT"] = keys_.public_key;
  env_["PGCONVOY_BACKUP_DIR"] = backup_dir_;
  port_ = FreePort();
  second_port_ = FreePort();
  PlaceWorkers({}, "127.0.0.1");
}

Installation::~Installation() { StopProcesses(); }

void Installation::StopProcesses() {
  // The store must outlive the coordinator, or its last words are errors about the store.
  workers_.clear();
  coordinator_.reset();
}

void Installation::LoadShippedPlan(const std::string& name) {
  auto parsed = plan::LoadPlan(SourceFile("plans/" + name + ".yaml"));
  if (!parsed.ok()) {
    throw std::runtime_error(plan::Format(parsed.problems.front()));
  }
  plan_ = parsed.plan;
}

void Installation::MakePasswords(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    env_[name] = RandomPassword().Reveal();
  }
}

void Installation::AddProject(const std::string& ref, const std::map<std::string, std::string>& attributes) {
  refs_.push_back(ref);
  attributes_[ref] = attributes;
}

void Installation::RunPsql(PgCluster& cluster,
                           const std::string& database,
                           const std::string& file,
                           const std::vector<std::string>& variables) {
  std::vector<std::string> argv = {
      "/usr/bin/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", cluster.SocketConninfo(database)};
  for (const std::string& variable : variables) {
    const std::string role = "role=";
    if (variable.starts_with(role)) {
      argv.insert(argv.end(), {"-c", "SET ROLE " + variable.substr(role.size())});
    } else {
      argv.insert(argv.end(), {"-v", variable});
    }
  }
  argv.insert(argv.end(), {"-f", SourceFile(file)});
  const Finished done = RunToEnd({.argv = argv, .env = env_});
  if (done.exit_code != 0) {
    throw std::runtime_error(file + ": " + done.err);
  }
}

void Installation::PlaceWorkers(const std::vector<std::string>& command, const std::string& host) {
  worker_command_ = command;
  coordinators_ = "ipv4:" + host + ":" + std::to_string(port_) + "," + host + ":" + std::to_string(second_port_);
}

void Installation::StartCoordinator(const std::string& failpoints) {
  LaunchCoordinator(store_->SocketConninfo(), failpoints);
}

void Installation::StartCoordinatorAt(const std::string& store) { LaunchCoordinator(store, ""); }

void Installation::LaunchCoordinator(const std::string& store, const std::string& failpoints) {
  auto env = env_;
  env["PGCONVOY_FAILPOINTS"] = failpoints;
  // With a password the conninfo belongs into the environment.
  env["PGCONVOY_STORE"] = store;
  std::vector<std::string> argv = {BinaryPath("pgconvoy-coordinator"), "--listen",
                                   listen_host_ + ":" + std::to_string(port_), "--lease-ttl", lease_ttl_};
  if (listen_host_ != "127.0.0.1") {
    argv.push_back("--insecure");
  }
  coordinator_ = std::make_unique<Process>(ProcessOptions{.argv = argv,
                                                          .env = env,
                                                          .stdout_path = folder_.path() + "/coordinator.log",
                                                          .stderr_path = folder_.path() + "/coordinator.log"});
}

void Installation::KillCoordinator() {
  coordinator_->Kill(SIGKILL);
  coordinator_->Wait();
}

std::unique_ptr<Process> Installation::StartSecondCoordinator() {
  std::unique_ptr<Process> first = std::move(coordinator_);
  port_ = second_port_;
  StartCoordinator();
  return first;
}

Process& Installation::StartWorker(const std::string& id, const std::string& failpoints, int slots) {
  auto env = env_;
  env["PGCONVOY_FAILPOINTS"] = failpoints;
  const std::string log = folder_.path() + "/worker-" + id + ".log";
  std::vector<std::string> argv = worker_command_;
  argv.insert(argv.end(), {BinaryPath("pgconvoy-worker"), "--coordinator", coordinators_, "--worker-id", id,
                           "--slots", std::to_string(slots)});
  if (!worker_command_.empty()) {
    argv.push_back("--insecure");
  }
  workers_.erase(id);
  workers_[id] =
      std::make_unique<Process>(ProcessOptions{.argv = argv, .env = env, .stdout_path = log, .stderr_path = log});
  return *workers_[id];
}

std::string Installation::WorkerLog(const std::string& id) const {
  return ReadFile(folder_.path() + "/worker-" + id + ".log");
}

std::string Installation::CoordinatorLog() const { return ReadFile(folder_.path() + "/coordinator.log"); }

std::string Installation::Submit(std::vector<std::string> refs) {
  if (refs.empty()) {
    refs = refs_;
  }
  const std::string request_id = RandomUuid();
  const auto response = Call<v1::SubmitMigrationResponse>(
      port_, "submit", [&](Stub& stub, grpc::ClientContext& context, v1::SubmitMigrationResponse* out) {
        const auto writer = stub.SubmitMigration(&context, out);
        v1::SubmitMigrationRequest header;
        header.mutable_header()->set_request_id(request_id);
        header.mutable_header()->set_plan_json(plan::CanonicalJson(plan_));
        header.mutable_header()->set_actor("test");
        writer->Write(header);
        v1::SubmitMigrationRequest chunk;
        for (const std::string& ref : refs) {
          v1::ProjectSpec* const project = chunk.mutable_projects()->add_projects();
          project->set_ref(ref);
          project->mutable_attributes()->insert(attributes_[ref].begin(), attributes_[ref].end());
        }
        writer->Write(chunk);
        writer->WritesDone();
        return writer->Finish();
      });
  return response.migration().id();
}

v1::Migration Installation::Get(const std::string& migration) {
  return Call<v1::Migration>(port_, "get", [&](Stub& stub, grpc::ClientContext& context, v1::Migration* out) {
    v1::GetMigrationRequest request;
    request.set_id(migration);
    return stub.GetMigration(&context, request, out);
  });
}

v1::Project Installation::GetProject(const std::string& migration, const std::string& ref) {
  return Call<v1::Project>(port_, "get project", [&](Stub& stub, grpc::ClientContext& context, v1::Project* out) {
    v1::GetProjectRequest request;
    request.set_migration_id(migration);
    request.set_ref(ref);
    return stub.GetProject(&context, request, out);
  });
}

v1::Migration Installation::WaitEnded(const std::string& migration, int seconds) {
  v1::Migration last;
  const bool ended = Eventually(
      [&] {
        last = Get(migration);
        return last.state() >= v1::MIGRATION_SUCCEEDED;
      },
      std::chrono::seconds(seconds));
  if (!ended) {
    std::string open;
    for (const std::string& ref : refs_) {
      open += "\n" + GetProject(migration, ref).ShortDebugString();
    }
    throw std::runtime_error("the migration does not end: " + last.ShortDebugString() + open + "\n" +
                             CoordinatorLog());
  }
  return last;
}

void Installation::WaitPhase(const std::string& migration, const std::string& ref, v1::Phase phase, int seconds) {
  const auto there = [&] {
    const v1::Project project = GetProject(migration, ref);
    return project.state() == v1::RUNNING && project.phase() == phase;
  };
  if (!Eventually(there, std::chrono::seconds(seconds))) {
    throw std::runtime_error("project " + ref + " never ran " + v1::Phase_Name(phase) + ": " +
                             GetProject(migration, ref).ShortDebugString());
  }
}

void Installation::Rollback(const std::string& migration, const std::string& ref, bool discard_writes) {
  Call<v1::ProjectActionResponse>(port_, "rollback",
                                  [&](Stub& stub, grpc::ClientContext& context, v1::ProjectActionResponse* out) {
                                    v1::RollbackProjectsRequest request;
                                    request.set_migration_id(migration);
                                    request.set_project_ref(ref);
                                    request.set_discard_writes(discard_writes);
                                    request.set_actor("test");
                                    return stub.RollbackProjects(&context, request, out);
                                  });
}

void Installation::Retry(const std::string& migration, const std::string& ref) {
  Call<v1::ProjectActionResponse>(port_, "retry",
                                  [&](Stub& stub, grpc::ClientContext& context, v1::ProjectActionResponse* out) {
                                    v1::RetryProjectsRequest request;
                                    request.set_migration_id(migration);
                                    request.set_project_ref(ref);
                                    request.set_actor("test");
                                    return stub.RetryProjects(&context, request, out);
                                  });
}

void Installation::Cancel(const std::string& migration) {
  Call<v1::Migration>(port_, "cancel", [&](Stub& stub, grpc::ClientContext& context, v1::Migration* out) {
    v1::CancelMigrationRequest request;
    request.set_id(migration);
    return stub.CancelMigration(&context, request, out);
  });
}

void Installation::Pause(const std::string& migration) {
  Call<v1::Migration>(port_, "pause", [&](Stub& stub, grpc::ClientContext& context, v1::Migration* out) {
    v1::PauseMigrationRequest request;
    request.set_id(migration);
    return stub.PauseMigration(&context, request, out);
  });
}

void Installation::Resume(const std::string& migration) {
  Call<v1::Migration>(port_, "resume", [&](Stub& stub, grpc::ClientContext& context, v1::Migration* out) {
    v1::ResumeMigrationRequest request;
    request.set_id(migration);
    return stub.ResumeMigration(&context, request, out);
  });
}

}  // namespace pgconvoy::testing
