#include "tests/bench/coordinator_rig.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "common/base/error.h"
#include "common/crypto/crypto.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "pgconvoy/v1/plan.pb.h"
#include "tests/support/wait.h"

namespace pgconvoy::bench {
namespace {

// Simulated workers send no heartbeats.
constexpr char kLeaseTtl[] = "10m";
constexpr int64_t kProjectsPerChunk = 1000;
constexpr auto kStartTimeout = std::chrono::seconds(60);
constexpr auto kCallTimeout = std::chrono::minutes(10);

void Require(const grpc::Status& status, const std::string& what) {
  if (!status.ok()) {
    throw std::runtime_error(what + ": " + Describe(rpc::FromGrpc(status)));
  }
}

void Require(bool holds, const std::string& what) {
  if (!holds) {
    throw std::runtime_error("wrong result: " + what);
  }
}

std::string ServerName(int64_t index) { return "s" + std::to_string(index); }

v1::Plan PlanOf(const FleetSpec& fleet) {
  v1::Plan plan;
  plan.set_version(1);
  plan.set_name("bench");
  for (int i = 0; i < fleet.servers; ++i) {
    v1::Server& server = (*plan.mutable_servers())[ServerName(i)];
    server.set_conninfo("host=127.0.0.1");
    server.mutable_reader()->set_user("nobody");
    server.set_max_projects(fleet.max_projects);
  }
  plan.mutable_source()->set_server(fleet.servers == 1 ? ServerName(0) : "{server}");
  plan.mutable_source()->set_database("nothing");
  plan.mutable_backup()->set_directory("/nowhere");
  plan.mutable_execution()->set_mode(v1::Execution::BACKUP_ONLY);
  plan.mutable_execution()->set_batch_size(fleet.batch_size);
  return plan;
}

v1::SubmitMigrationRequest ChunkOf(const FleetSpec& fleet, int64_t begin, int64_t end) {
  v1::SubmitMigrationRequest request;
  for (int64_t i = begin; i < end; ++i) {
    v1::ProjectSpec& project = *request.mutable_projects()->add_projects();
    project.set_ref(CoordinatorRig::RefOf(i));
    if (fleet.servers > 1) {
      (*project.mutable_attributes())["server"] = ServerName(i % fleet.servers);
    }
  }
  return request;
}

// "VmHWM:     1234 kB" of /proc/PID/status, in bytes.
int64_t StatusBytes(pid_t pid, const std::string& field) {
  std::istringstream lines(testing::ReadFile("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(field + ":")) {
      return std::stoll(line.substr(field.size() + 1)) * 1024;
    }
  }
  throw std::runtime_error("no " + field + " of the coordinator");
}

// A command about nothing is refused by who leads, and turned away by who does not yet.
bool Leads(v1::MigrationService::Stub& stub) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  v1::PauseMigrationRequest request;
  request.set_id("999999999");
  v1::Migration ignored;
  return stub.PauseMigration(&context, request, &ignored).error_code() != grpc::StatusCode::UNAVAILABLE;
}

struct Stat {
  int parent = 0;
  double cpu_seconds = 0;
};

// Of /proc/PID/stat; zeros for a process that is gone.
Stat StatOf(const std::string& pid) {
  const std::string text = testing::ReadFile("/proc/" + pid + "/stat");
  Stat stat;
  if (text.empty()) {
    return stat;
  }
  // The name in parentheses may hold anything; behind it comes field 3. 4 is the parent, 14 and 15 are ticks.
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  double ticks = 0;
  for (int number = 3; number <= 15 && fields >> field; ++number) {
    stat.parent = number == 4 ? std::stoi(field) : stat.parent;
    ticks += number >= 14 ? std::stod(field) : 0;
  }
  stat.cpu_seconds = ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return stat;
}

}  // namespace

CoordinatorRig::CoordinatorRig() : store_({.durable = true}), port_(testing::FreePort()) {
  rpc::PrepareProcess();
  InitCrypto();
  StartCoordinator();
}

CoordinatorRig::~CoordinatorRig() { coordinator_.reset(); }

std::string CoordinatorRig::address() const { return "127.0.0.1:" + std::to_string(port_); }

void CoordinatorRig::StartCoordinator() {
  const std::string log = folder_.path() + "/coordinator.log";
  coordinator_ = std::make_unique<testing::Process>(
      testing::ProcessOptions{.argv = {testing::BinaryPath("pgconvoy-coordinator"), "--listen", address(), "--store",
                                       store_.SocketConninfo(), "--lease-ttl", kLeaseTtl},
                              .stdout_path = log,
                              .stderr_path = log});
  channel_ = rpc::Connect(address());
  const auto stub = v1::MigrationService::NewStub(channel_);
  const bool serves = testing::Eventually([&] { return Leads(*stub) || !coordinator_->Running(); }, kStartTimeout);
  if (!serves || !coordinator_->Running()) {
    throw std::runtime_error("the coordinator does not start: " + testing::ReadFile(log));
  }
}

void CoordinatorRig::KillCoordinator() {
  channel_.reset();
  coordinator_->Kill(SIGKILL);
  coordinator_->Wait();
}

// Of one length, so that text order is the order of numbers.
std::string CoordinatorRig::RefOf(int64_t index) {
  char ref[40];
  std::snprintf(ref, sizeof(ref), "project-%08lld", static_cast<long long>(index));
  return ref;
}

std::string CoordinatorRig::Submit(const FleetSpec& fleet) {
  const auto stub = v1::MigrationService::NewStub(channel_);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  v1::SubmitMigrationResponse response;
  const auto writer = stub->SubmitMigration(&context, &response);
  v1::SubmitMigrationRequest header;
  header.mutable_header()->set_request_id(RandomUuid());
  header.mutable_header()->set_plan_json(plan::CanonicalJson(PlanOf(fleet)));
  header.mutable_header()->set_actor("bench");
  bool open = writer->Write(header);
  for (int64_t begin = 0; open && begin < fleet.projects; begin += kProjectsPerChunk) {
    open = writer->Write(ChunkOf(fleet, begin, std::min(begin + kProjectsPerChunk, fleet.projects)));
  }
  writer->WritesDone();
  Require(writer->Finish(), "submit");
  return response.migration().id();
}

void CoordinatorRig::WaitEnded(const std::string& migration) {
  const auto stub = v1::MigrationService::NewStub(channel_);
  const bool ended = testing::Eventually([&] {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    v1::GetMigrationRequest request;
    request.set_id(migration);
    v1::Migration state;
    Require(stub->GetMigration(&context, request, &state), "get migration");
    return state.state() >= v1::MIGRATION_SUCCEEDED;
  });
  Require(ended, "a migration whose projects are done has not ended");
}

int64_t CoordinatorRig::Ended(const std::string& migration) {
  return std::stoll(store_.QueryValue("postgres", "SELECT count(*) FROM pgconvoy.project WHERE migration_id = " +
                                                      migration + " AND state = 'SUCCEEDED'"));
}

std::string CoordinatorRig::TokenBehind(const std::string& ref) { return Base64Encode(ref); }

PageRead CoordinatorRig::ReadPage(const std::string& migration, int page_size, const std::string& token) {
  const auto stub = v1::MigrationService::NewStub(channel_);
  v1::ListProjectsRequest request;
  request.set_migration_id(migration);
  request.set_page_size(page_size);
  request.set_page_token(token);
  v1::ListProjectsResponse response;
  PageRead page;
  const auto begin = std::chrono::steady_clock::now();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  Require(stub->ListProjects(&context, request, &response), "list projects");
  page.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  page.projects = response.projects_size();
  page.last_ref = page.projects == 0 ? "" : response.projects(page.projects - 1).ref();
  page.next_token = response.next_page_token();
  return page;
}

void CoordinatorRig::CheckSucceeded(const std::string& migration, int64_t projects, bool again_allowed) {
  const auto count = [&](const std::string& from_where) {
    return std::stoll(store_.QueryValue("postgres", "SELECT count(*) FROM pgconvoy." + from_where));
  };
  const std::string mine = " migration_id = " + migration;
  const std::string results = "phase_result AS r JOIN pgconvoy.project AS p ON p.id = r.project_id WHERE" + mine;
  Require(count("migration WHERE id = " + migration + " AND state = 'SUCCEEDED'") == 1, "the migration's state");
  Require(count("project WHERE" + mine + " AND state = 'SUCCEEDED' AND worker_id IS NULL") == projects,
          "not every project succeeded");
  Require(count("attempt WHERE" + mine + " AND outcome = 'succeeded'") == projects, "one good attempt of each");
  Require(count(results) >= projects * kPhasesOfFleet, "a result of each phase");
  if (again_allowed) {
    return;
  }
  Require(count("project WHERE" + mine + " AND attempts = 1") == projects, "each granted once");
  Require(count("attempt WHERE" + mine) == projects, "one attempt of each");
  Require(count(results) == projects * kPhasesOfFleet, "one result of each phase");
  Require(count("event WHERE" + mine + " AND kind = 'PROJECT_STATE'") == 2 * projects, "events of both transitions");
  Require(count("event, unnest(string_to_array(detail->>'phases', ',')) WHERE" + mine) == projects * kPhasesOfFleet,
          "events of phases");
  Require(
      // Looked up one by one: a join is planned by figures that may be those of an empty table.
      count("event AS e WHERE e.migration_id = " + migration +
            " AND e.kind = 'PROJECT_STATE' AND (e.detail->>'fence')::bigint = "
            "(SELECT p.fence FROM pgconvoy.project AS p WHERE p.ref = e.project_ref AND p.migration_id = "
            "e.migration_id)") == 2 * projects,
      "events that name the project's fence");
}

void CoordinatorRig::CheckChain() {
  const testing::Finished done = testing::RunToEnd(
      {.argv = {testing::BinaryPath("pgconvoy-coordinator"), "--verify-events", "--store", store_.SocketConninfo()}},
      std::chrono::minutes(5));
  Require(done.exit_code == 0, "the event chain: " + done.err);
}

int64_t CoordinatorRig::WalBytes() {
  return std::stoll(store_.QueryValue("postgres", "SELECT (pg_current_wal_lsn() - '0/0')::bigint"));
}

int64_t CoordinatorRig::PeakMemory() const { return StatusBytes(coordinator_->pid(), "VmHWM"); }
int64_t CoordinatorRig::Memory() const { return StatusBytes(coordinator_->pid(), "VmRSS"); }

CoordinatorRig::Cpu CoordinatorRig::CpuSeconds() {
  Cpu cpu;
  cpu.coordinator = StatOf(std::to_string(coordinator_->pid())).cpu_seconds;
  cpu.load = StatOf("self").cpu_seconds;
  const std::string data = store_.QueryValue("postgres", "SHOW data_directory");
  const std::string pid = testing::ReadFile(data + "/postmaster.pid");
  const int postmaster = std::stoi(pid);
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos) {
      const Stat stat = StatOf(name);
      cpu.store += stat.parent == postmaster ? stat.cpu_seconds : 0;
    }
  }
  return cpu;
}

}  // namespace pgconvoy::bench
