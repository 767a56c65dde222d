#include "tests/bench/rig.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "common/rpc/rpc.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "tests/bench/report.h"

namespace pgconvoy::bench {
namespace {

// So that no two things are set aside under one name.
std::string NextName() {
  static int last = 0;
  return "old" + std::to_string(++last) + "_";
}

std::string NamesLike(const std::string& prefix) {
  return "SELECT 'DATABASE', datname FROM pg_database WHERE starts_with(datname, '" + prefix +
         "') UNION ALL SELECT 'ROLE', rolname FROM pg_roles WHERE starts_with(rolname, '" + prefix + "')";
}

}  // namespace

std::string Superuser(testing::PgCluster& cluster) {
  return cluster.TcpConninfo() + " user=postgres password=" + cluster.password();
}

void SetAside(testing::PgCluster& cluster, const std::string& prefix) {
  const std::string old = NextName();
  std::string renames;
  for (const auto& row : cluster.QueryRows("postgres", NamesLike(prefix))) {
    renames += "ALTER " + row[0] + " \"" + row[1] + "\" RENAME TO \"" + old + row[1] + "\"; ";
  }
  if (!renames.empty()) {
    cluster.Exec("postgres", renames);
  }
  cluster.Exec("postgres", "CHECKPOINT");
}

void SetAsideBackups(testing::Installation& installation) {
  const std::string old = NextName();
  for (const auto& entry : std::filesystem::directory_iterator(installation.backup_dir())) {
    std::filesystem::rename(entry.path(), installation.folder() + "/" + old + entry.path().filename().string());
  }
  installation.store().Exec("postgres", "CHECKPOINT");
}

pid_t Postmaster(testing::PgCluster& cluster) {
  return std::stoi(cluster.QueryValue("postgres", "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"));
}

double RunMigration(testing::Installation& installation, CpuMeter& meter) {
  // One connection for all questions, as those who wait for a migration have.
  const auto stub = v1::MigrationService::NewStub(rpc::Connect(installation.address()));
  v1::Migration ended;
  meter.Start();
  const double seconds = Timed([&] {
    v1::GetMigrationRequest request;
    request.set_id(installation.Submit());
    do {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
      if (const grpc::Status status = stub->GetMigration(&context, request, &ended); !status.ok()) {
        throw std::runtime_error(status.error_message());
      }
    } while (ended.state() < v1::MIGRATION_SUCCEEDED);
  });
  meter.Stop();
  if (ended.state() != v1::MIGRATION_SUCCEEDED) {
    throw std::runtime_error("the migration failed: " + ended.ShortDebugString() + installation.WorkerLog("bench"));
  }
  return seconds;
}

}  // namespace pgconvoy::bench
