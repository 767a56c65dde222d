#include "tests/integration/fleet.h"

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

const char* const kTables[] = {"auth.users", "auth.sessions", "auth.refresh_tokens", "storage.buckets",
                               "storage.objects"};

std::string SourceFile(const std::string& relative) {
  const char* const root = std::getenv("PGCONVOY_SOURCE_DIR");
  return std::string(root == nullptr ? "." : root) + "/" + relative;
}

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

// All rows of the tables, in an order of their own, so that nothing of ours is needed to compare.
std::string HashSql(const std::string& where) {
  std::string sql;
  for (const char* const table : kTables) {
    sql += sql.empty() ? "" : " || ";
    sql += "coalesce((SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) || count(*) FROM " +
           std::string(table) + " t" + where + "), 'none')";
  }
  return "SELECT md5(" + sql + ")";
}

}  // namespace

Fleet::Fleet(const Options& options) : lease_ttl_(options.lease_ttl) {
  rpc::PrepareProcess();
  InitCrypto();
  keys_ = GenerateKeyPair();
  backup_dir_ = folder_.path() + "/backups";
  std::filesystem::create_directory(backup_dir_);
  source_ = std::make_unique<PgCluster>();
  target_ = std::make_unique<PgCluster>();
  PgClusterOptions durable;
  durable.durable = true;
  store_ = std::make_unique<PgCluster>(durable);
  for (const char* const name : {"PGCONVOY_SHARED_READER_PASSWORD", "PGCONVOY_SHARED_REGISTRAR_PASSWORD",
                                 "PGCONVOY_ISOLATED_PROVISIONER_PASSWORD", "PGCONVOY_DEMO_TENANT_PASSWORD"}) {
    env_[name] = RandomPassword().Reveal();
  }
  env_["PGCONVOY_SHARED_CONNINFO"] = source_->TcpConninfo();
  env_["PGCONVOY_ISOLATED_CONNINFO"] = target_->TcpConninfo();
  env_["PGCONVOY_RECIPIENT"] = keys_.public_key;
  env_["PGCONVOY_BACKUP_DIR"] = backup_dir_;
  SeedSource(options.projects);
  PrepareTarget();
  auto parsed = plan::LoadPlan(SourceFile("plans/isolate-projects.yaml"));
  if (!parsed.ok()) {
    throw std::runtime_error(plan::Format(parsed.problems.front()));
  }
  plan_ = parsed.plan;
  port_ = FreePort();
  second_port_ = FreePort();
  coordinators_ = "ipv4:127.0.0.1:" + std::to_string(port_) + ",127.0.0.1:" + std::to_string(second_port_);
}

Fleet::~Fleet() {
  // The store must outlive the coordinator, or its last words are errors about the store.
  workers_.clear();
  coordinator_.reset();
}

void Fleet::RunPsql(PgCluster& cluster, const std::string& database, const std::string& file) {
  const Finished done =
      RunToEnd({.argv = {"/usr/bin/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", cluster.SocketConninfo(database),
                         "-f", SourceFile("deploy/demo/sql/" + file)},
                .env = env_});
  if (done.exit_code != 0) {
    throw std::runtime_error(file + ": " + done.err);
  }
}

void Fleet::SeedSource(int projects) {
  env_["PGCONVOY_DEMO_PROJECTS"] = std::to_string(projects);
  source_->Exec("postgres", "CREATE DATABASE platform");
  for (const char* const file : {"10_platform.sql", "20_auth.sql", "30_storage.sql", "40_logins_shared.sql",
                                 "50_seed.sql", "60_triggers.sql"}) {
    RunPsql(*source_, "platform", file);
  }
  for (const auto& row :
       source_->QueryRows("platform", "SELECT ref FROM public.projects WHERE status = 'active' ORDER BY ref")) {
    refs_.push_back(row[0]);
  }
}

void Fleet::PrepareTarget() { RunPsql(*target_, "postgres", "40_logins_isolated.sql"); }

void Fleet::StartCoordinator(const std::string& failpoints) {
  auto env = env_;
  env["PGCONVOY_FAILPOINTS"] = failpoints;
  coordinator_ = std::make_unique<Process>(
      ProcessOptions{.argv = {BinaryPath("pgconvoy-coordinator"), "--listen", "127.0.0.1:" + std::to_string(port_),
                              "--store", store_->SocketConninfo(), "--lease-ttl", lease_ttl_},
                     .env = env,
                     .stdout_path = folder_.path() + "/coordinator.log",
                     .stderr_path = folder_.path() + "/coordinator.log"});
}

void Fleet::KillCoordinator() {
  coordinator_->Kill(SIGKILL);
  coordinator_->Wait();
}

std::unique_ptr<Process> Fleet::StartSecondCoordinator() {
  std::unique_ptr<Process> first = std::move(coordinator_);
  port_ = second_port_;
  StartCoordinator();
  return first;
}

Process& Fleet::StartWorker(const std::string& id, const std::string& failpoints, int slots) {
  auto env = env_;
  env["PGCONVOY_FAILPOINTS"] = failpoints;
  const std::string log = folder_.path() + "/worker-" + id + ".log";
  workers_.erase(id);
  workers_[id] =
      std::make_unique<Process>(ProcessOptions{.argv = {BinaryPath("pgconvoy-worker"), "--coordinator", coordinators_,
                                                        "--worker-id", id, "--slots", std::to_string(slots)},
                                               .env = env,
                                               .stdout_path = log,
                                               .stderr_path = log});
  return *workers_[id];
}

std::string Fleet::WorkerLog(const std::string& id) const {
  return ReadFile(folder_.path() + "/worker-" + id + ".log");
}

std::string Fleet::CoordinatorLog() const { return ReadFile(folder_.path() + "/coordinator.log"); }

std::string Fleet::Submit(std::vector<std::string> refs) {
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
          chunk.mutable_projects()->add_projects()->set_ref(ref);
        }
        writer->Write(chunk);
        writer->WritesDone();
        return writer->Finish();
      });
  return response.migration().id();
}

v1::Migration Fleet::Get(const std::string& migration) {
  return Call<v1::Migration>(port_, "get", [&](Stub& stub, grpc::ClientContext& context, v1::Migration* out) {
    v1::GetMigrationRequest request;
    request.set_id(migration);
    return stub.GetMigration(&context, request, out);
  });
}

v1::Project Fleet::GetProject(const std::string& migration, const std::string& ref) {
  return Call<v1::Project>(port_, "get project", [&](Stub& stub, grpc::ClientContext& context, v1::Project* out) {
    v1::GetProjectRequest request;
    request.set_migration_id(migration);
    request.set_ref(ref);
    return stub.GetProject(&context, request, out);
  });
}

v1::Migration Fleet::WaitEnded(const std::string& migration, int seconds) {
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

void Fleet::WaitPhase(const std::string& migration, const std::string& ref, v1::Phase phase, int seconds) {
  const auto there = [&] {
    const v1::Project project = GetProject(migration, ref);
    return project.state() == v1::RUNNING && project.phase() == phase;
  };
  if (!Eventually(there, std::chrono::seconds(seconds))) {
    throw std::runtime_error("project " + ref + " never ran " + v1::Phase_Name(phase));
  }
}

void Fleet::Rollback(const std::string& migration, const std::string& ref, bool discard_writes) {
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

void Fleet::Retry(const std::string& migration, const std::string& ref) {
  Call<v1::ProjectActionResponse>(port_, "retry",
                                  [&](Stub& stub, grpc::ClientContext& context, v1::ProjectActionResponse* out) {
                                    v1::RetryProjectsRequest request;
                                    request.set_migration_id(migration);
                                    request.set_project_ref(ref);
                                    request.set_actor("test");
                                    return stub.RetryProjects(&context, request, out);
                                  });
}

void Fleet::Cancel(const std::string& migration) {
  Call<v1::Migration>(port_, "cancel", [&](Stub& stub, grpc::ClientContext& context, v1::Migration* out) {
    v1::CancelMigrationRequest request;
    request.set_id(migration);
    return stub.CancelMigration(&context, request, out);
  });
}

void Fleet::Pause(const std::string& migration) {
  Call<v1::Migration>(port_, "pause", [&](Stub& stub, grpc::ClientContext& context, v1::Migration* out) {
    v1::PauseMigrationRequest request;
    request.set_id(migration);
    return stub.PauseMigration(&context, request, out);
  });
}

void Fleet::Resume(const std::string& migration) {
  Call<v1::Migration>(port_, "resume", [&](Stub& stub, grpc::ClientContext& context, v1::Migration* out) {
    v1::ResumeMigrationRequest request;
    request.set_id(migration);
    return stub.ResumeMigration(&context, request, out);
  });
}

std::string Fleet::SourceHash(const std::string& ref) {
  return source_->QueryValue("platform", HashSql(" WHERE project_ref = '" + ref + "'"));
}

std::string Fleet::TargetHash(const std::string& ref) { return target_->QueryValue("project_" + ref, HashSql("")); }

std::string Fleet::WhyNotIsolated(const std::string& ref) {
  const std::string name = "project_" + ref;
  if (target_->QueryValue("postgres", "SELECT count(*) FROM pg_database WHERE datname = '" + name + "'") != "1") {
    return ref + ": there is no target database";
  }
  // TargetHash has no condition, so a row of another project would show as well.
  if (SourceHash(ref) != TargetHash(ref)) {
    return ref + ": the rows differ";
  }
  const auto row =
      source_->QueryRows("platform",
                         "SELECT database_name, database_user, database_password_hash, credential_status, "
                         "writes_frozen FROM public.projects WHERE ref = '" +
                             ref + "'")[0];
  if (row[0] != name || row[1] != name || row[3] != "active" || row[4] != "f") {
    return ref + ": the registry row is not switched";
  }
  if (row[2] != target_->QueryValue("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '" + name + "'")) {
    return ref + ": the registry has another verifier than the role";
  }
  const std::string strangers = target_->QueryValue(
      "postgres",
      "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND rolname <> '" + name +
          "' AND has_database_privilege(rolname, '" + name + "', 'CONNECT')");
  if (!strangers.empty()) {
    return ref + ": others may connect: " + strangers;
  }
  if (target_->QueryValue(name, "SELECT to_regnamespace('pgconvoy') IS NULL") != "t") {
    return ref + ": the ledger is still there";
  }
  return "";
}

std::string Fleet::WhyNotUntouched(const std::string& ref) {
  const std::string name = "project_" + ref;
  if (target_->QueryValue("postgres", "SELECT (SELECT count(*) FROM pg_database WHERE datname = '" + name +
                                          "') + (SELECT count(*) FROM pg_roles WHERE rolname = '" + name + "')") !=
      "0") {
    return ref + ": role or database is still there";
  }
  if (source_->QueryValue(
          "platform",
          "SELECT database_name IS NULL AND database_user IS NULL AND database_password_hash IS NULL AND "
          "credential_status = 'fallback' AND NOT writes_frozen FROM public.projects WHERE ref = '" +
              ref + "'") != "t") {
    return ref + ": the registry row is not as before";
  }
  return "";
}

std::string Fleet::Leftovers() {
  return target_->QueryValue("postgres",
                             "SELECT string_agg(name, ', ') FROM (SELECT rolname AS name FROM pg_roles UNION ALL "
                             "SELECT datname FROM pg_database) n WHERE name ~ '^pgc_[atd]_'");
}

}  // namespace pgconvoy::testing
