// The network between a worker and whatever it talks to is cut for shorter and longer than its lease, or slow.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <thread>

#include "tests/integration/fleet.h"
#include "tests/support/wait.h"
#include "tests/support/worker_network.h"

namespace pgconvoy::testing {
namespace {

const bool kEntered = WorkerNetwork::Enter();

// Lets logins come from other addresses than this machine's own.
void OpenToTheNetwork(PgCluster& cluster) {
  cluster.Exec("postgres", "ALTER SYSTEM SET listen_addresses = '*'");
  cluster.Restart();
  cluster.Exec("postgres",
               "COPY (SELECT 'host all all 10.77.0.0/16 scram-sha-256') TO PROGRAM 'cat >> pg_hba.conf'; SELECT "
               "pg_reload_conf()");
}

std::string Conninfo(const PgCluster& cluster, WorkerNetwork::Link link) {
  return "host=" + WorkerNetwork::Address(link) + " port=" + std::to_string(cluster.port());
}

class Partition : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kEntered) {
      GTEST_SKIP() << "network namespaces are not permitted here";
    }
  }

  // Worker "w" lives in the network and is told --insecure, the coordinator is started. `encryption`: of the conninfos.
  void Start(const std::string& lease_ttl, const std::string& failpoints, const std::string& encryption = "") {
    network_.emplace();
    fleet_.emplace(Fleet::Options{.projects = 4, .lease_ttl = lease_ttl});
    OpenToTheNetwork(fleet_->source());
    OpenToTheNetwork(fleet_->target());
    auto& servers = *fleet_->plan().mutable_servers();
    servers.at("shared").set_conninfo(Conninfo(fleet_->source(), WorkerNetwork::kSource) + encryption);
    servers.at("isolated").set_conninfo(Conninfo(fleet_->target(), WorkerNetwork::kTarget) + encryption);
    fleet_->ListenEverywhere();
    fleet_->StartCoordinator();
    fleet_->PlaceWorkers(network_->command(), WorkerNetwork::Address(WorkerNetwork::kCoordinator));
    fleet_->StartWorker("w", failpoints);
    migration_ = fleet_->Submit();
  }

  void ExpectArrived() {
    const v1::Migration ended = fleet_->WaitEnded(migration_, 180);
    // Because nothing is encrypted here.
    EXPECT_EQ(ended.state(), v1::MIGRATION_SUCCEEDED_WITH_WARNINGS) << ended.ShortDebugString();
    for (const std::string& ref : fleet_->refs()) {
      EXPECT_EQ(fleet_->WhyNotIsolated(ref), "");
    }
    EXPECT_TRUE(Eventually([&] { return fleet_->Leftovers().empty(); })) << fleet_->Leftovers();
  }

  int Attempts() {
    int attempts = 0;
    for (const std::string& ref : fleet_->refs()) {
      attempts += fleet_->GetProject(migration_, ref).attempts();
    }
    return attempts;
  }

  std::optional<WorkerNetwork> network_;
  std::optional<Fleet> fleet_;
  std::string migration_;
};

TEST_F(Partition, PlaintextWithServersOnOtherMachinesIsAWarning) {
  Start("60s", "", " sslmode=disable");
  ExpectArrived();
  const v1::Project project = fleet_->GetProject(migration_, fleet_->refs()[0]);
  const std::string what = ": the server is another machine, and its sessions are not encrypted";
  const std::set<std::string> warnings(project.warnings().begin(), project.warnings().end());
  EXPECT_EQ(warnings, (std::set<std::string>{"encrypted:shared" + what, "encrypted:isolated" + what}));
}

TEST_F(Partition, FromTheCoordinatorForLessThanTheLeaseCostsNoAttempt) {
  Start("60s", "worker.phase.COPY.started=sleep(2000)@*");
  fleet_->WaitPhase(migration_, fleet_->refs()[0], v1::COPY);
  network_->Cut(WorkerNetwork::kCoordinator);
  std::this_thread::sleep_for(std::chrono::seconds(5));
  network_->Heal(WorkerNetwork::kCoordinator);
  ExpectArrived();
  EXPECT_EQ(Attempts(), 4);
}

TEST_F(Partition, FromTheCoordinatorForLongerThanTheLeaseEndsWhatTheWorkerDoes) {
  Start("3s", "worker.phase.COPY.started=sleep(1000)@*");
  fleet_->WaitPhase(migration_, fleet_->refs()[0], v1::COPY);
  network_->Cut(WorkerNetwork::kCoordinator);
  // Another one, to whom nothing has happened.
  fleet_->PlaceWorkers({}, "127.0.0.1");
  fleet_->StartWorker("other");
  ExpectArrived();
  EXPECT_GT(Attempts(), 4);
  fleet_->worker("other").Kill(SIGKILL);
  network_->Heal(WorkerNetwork::kCoordinator);
  // The first one is of use again, and undoes what the other one has done.
  for (const std::string& ref : fleet_->refs()) {
    fleet_->Rollback(migration_, ref, false);
  }
  const auto is_back = [&](const std::string& ref) {
    return fleet_->GetProject(migration_, ref).state() == v1::ROLLED_BACK;
  };
  for (const std::string& ref : fleet_->refs()) {
    EXPECT_TRUE(Eventually([&] { return is_back(ref); }, std::chrono::seconds(120))) << fleet_->WorkerLog("w");
    EXPECT_EQ(fleet_->WhyNotUntouched(ref), "");
  }
}

TEST_F(Partition, FromTheTargetInTheMiddleOfACopyEndsTheAttemptAndTheNextOneGoesOn) {
  Start("10s", "worker.copy.before_commit=sleep(2000)@*");
  fleet_->WaitPhase(migration_, fleet_->refs()[0], v1::COPY);
  network_->Cut(WorkerNetwork::kTarget);
  // Nobody tells the worker that its connection is gone.
  const auto failed = [&] {
    return fleet_->GetProject(migration_, fleet_->refs()[0]).error().code().starts_with("PGC-PG-");
  };
  EXPECT_TRUE(Eventually(failed, std::chrono::seconds(120))) << fleet_->WorkerLog("w");
  network_->Heal(WorkerNetwork::kTarget);
  ExpectArrived();
  EXPECT_GT(Attempts(), 4);
  // Nor did anybody tell the server.
  const auto sessions = [&] {
    return fleet_->target().QueryValue("postgres",
                                       "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'pgc\\_a\\_%'");
  };
  EXPECT_TRUE(Eventually([&] { return sessions() == "0"; }, std::chrono::seconds(60))) << sessions();
}

TEST_F(Partition, FromTheSourceDuringTheBackupEndsTheAttemptAndTheNextOneGoesOn) {
  Start("10s", "worker.phase.BACKUP.started=sleep(2000)@*");
  fleet_->WaitPhase(migration_, fleet_->refs()[0], v1::BACKUP);
  network_->Cut(WorkerNetwork::kSource);
  const auto failed = [&] {
    return fleet_->GetProject(migration_, fleet_->refs()[0]).error().code().starts_with("PGC-PG-");
  };
  EXPECT_TRUE(Eventually(failed, std::chrono::seconds(120))) << fleet_->WorkerLog("w");
  network_->Heal(WorkerNetwork::kSource);
  ExpectArrived();
  EXPECT_GT(Attempts(), 4);
}

TEST_F(Partition, ASlowNetworkCostsNoLease) {
  Start("10s", "");
  network_->Slow(WorkerNetwork::kCoordinator, 64'000);
  network_->Slow(WorkerNetwork::kTarget, 2'000'000);
  ExpectArrived();
  EXPECT_EQ(Attempts(), 4);
}

}  // namespace
}  // namespace pgconvoy::testing
