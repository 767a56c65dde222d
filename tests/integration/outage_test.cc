// What a fleet lives through: a store that is away, full, cut off or restored from an old backup, a source that fell
// back to an older copy of itself or whose logins get new passwords, and a target that is full or takes nobody in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/integration/fleet.h"
#include "tests/support/pg_proxy.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kSlowCopy[] = "worker.phase.COPY.started=sleep(1000)@*";

// Mounts of this process and what it starts are seen by nobody else, and end with it. Before there are threads.
bool HideMounts() {
  return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}
const bool kMayMount = HideMounts();

// The databases of a server on a disk that can be filled. The server restarts.
class SmallDisk {
 public:
  SmallDisk(PgCluster& cluster, const std::string& size)
      : folder_(cluster.QueryValue("postgres", "SHOW data_directory") + "/base"), filler_(folder_ + "/filler") {
    cluster.Stop();
    const std::string aside = folder_ + "-aside";
    Run({"/bin/cp", "-a", folder_, aside});
    if (mount("tmpfs", folder_.c_str(), "tmpfs", 0, ("mode=0700,size=" + size).c_str()) != 0) {
      throw std::runtime_error("cannot mount a tmpfs");
    }
    Run({"/bin/sh", "-c", "cp -a \"$0\"/. \"$1\" && chown --reference=\"$0\" \"$1\" && rm -r \"$0\"", aside,
         folder_});
    cluster.Start();
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  void Fill() const {
    std::ofstream filler(filler_, std::ios::binary);
    const std::string block(4096, 'x');
    while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void Free() const { fs::remove(filler_); }

 private:
  static void Run(const std::vector<std::string>& argv) {
    const Finished done = RunToEnd({.argv = argv});
    if (done.exit_code != 0) {
      throw std::runtime_error(argv[0] + ": " + done.err);
    }
  }

  const std::string folder_;
  const std::string filler_;
};

void ExpectArrived(Fleet& fleet, const std::string& migration) {
  const v1::Migration ended = fleet.WaitEnded(migration, 180);
  EXPECT_EQ(ended.state(), v1::MIGRATION_SUCCEEDED);
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotIsolated(ref), "") << fleet.GetProject(migration, ref).ShortDebugString();
  }
  EXPECT_TRUE(Eventually([&] { return fleet.Leftovers().empty(); })) << fleet.Leftovers();
}

bool Failing(Fleet& fleet, const std::string& migration, const std::string& code) {
  for (const std::string& ref : fleet.refs()) {
    if (fleet.GetProject(migration, ref).error().code() == code) {
      return true;
    }
  }
  return false;
}

TEST(Outage, AStoreThatIsAwayForLongerThanTheLeasesLosesNothing) {
  Fleet fleet({.projects = 4, .lease_ttl = "3s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a", kSlowCopy);
  fleet.StartWorker("b", kSlowCopy);
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  fleet.store().Stop("immediate");
  std::this_thread::sleep_for(std::chrono::seconds(10));
  fleet.store().Start();
  ExpectArrived(fleet, migration);
}

TEST(Outage, AStoreWithoutRoomIsWrittenToOnceThereIsRoom) {
  if (!kMayMount) {
    GTEST_SKIP() << "mounting is not permitted here";
  }
  Fleet fleet({.projects = 4});
  const SmallDisk disk(fleet.store(), "128m");
  fleet.StartCoordinator();
  fleet.StartWorker("a", kSlowCopy);
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  // Pages that are there have room; the next row that needs a new one has none.
  fleet.store().Exec("postgres", "CREATE TABLE filler (n int)");
  disk.Fill();
  EXPECT_THROW(fleet.store().Exec("postgres", "INSERT INTO filler SELECT generate_series(1, 100000)"),
               std::runtime_error);
  std::this_thread::sleep_for(std::chrono::seconds(5));
  disk.Free();
  ExpectArrived(fleet, migration);
}

// Its session may come back after the other one has taken the lead.
TEST(Outage, ACoordinatorThatLosesItsStoreToAnotherOneWritesNothingMore) {
  Fleet fleet({.projects = 6, .lease_ttl = "30s"});
  PgProxy proxy(fleet.store().port());
  fleet.StartCoordinatorAt("host=127.0.0.1 port=" + std::to_string(proxy.port()) +
                           " user=postgres dbname=postgres password=" + fleet.store().password());
  fleet.StartWorker("a", kSlowCopy);
  fleet.StartWorker("b", kSlowCopy);
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  proxy.Delay(3000);
  proxy.CutAll();
  const auto first = fleet.StartSecondCoordinator();
  proxy.Delay(0);
  EXPECT_EQ(first->Wait(std::chrono::seconds(60)), 3) << fleet.CoordinatorLog();
  ExpectArrived(fleet, migration);
}

TEST(Outage, AStoreRestoredFromAnOldBackupIsNotBelieved) {
  Fleet fleet({.projects = 2});
  fleet.StartCoordinator();
  ASSERT_TRUE(Eventually([&] { return fleet.CoordinatorLog().find("leading") != std::string::npos; }));
  fleet.KillCoordinator();
  const std::string data = fleet.store().QueryValue("postgres", "SHOW data_directory");
  const std::string backup = fleet.folder() + "/store-of-yesterday";
  fleet.store().Stop();
  ASSERT_EQ(RunToEnd({.argv = {"/bin/cp", "-a", data, backup}}).exit_code, 0);
  fleet.store().Start();
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  // There and back and there again: nothing that the old store can give out is as high as what the servers have seen.
  const std::string first = fleet.Submit();
  ExpectArrived(fleet, first);
  for (const std::string& ref : fleet.refs()) {
    fleet.Rollback(first, ref, false);
    ASSERT_TRUE(Eventually([&] { return fleet.GetProject(first, ref).state() == v1::ROLLED_BACK; }));
  }
  ExpectArrived(fleet, fleet.Submit());
  fleet.worker("a").Kill(SIGKILL);
  fleet.worker("a").Wait();
  fleet.KillCoordinator();

  fleet.store().Stop();
  ASSERT_EQ(RunToEnd({.argv = {"/bin/sh", "-c", "rm -r \"$0\"/* && cp -a \"$1\"/. \"$0\"", data, backup}}).exit_code,
            0);
  fleet.store().Start();
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  const std::string ref = fleet.refs()[0];
  const std::string rows = fleet.TargetHash(ref);
  const std::string migration = fleet.Submit({ref});
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_FAILED);
  const v1::Project project = fleet.GetProject(migration, ref);
  EXPECT_EQ(project.state(), v1::NEEDS_OPERATOR);
  EXPECT_EQ(project.error().code(), "PGC-STORE-REGRESSED") << project.ShortDebugString();
  EXPECT_EQ(fleet.TargetHash(ref), rows);
  EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
}

// What a failover to a standby that lags behind does: rows that have been moved are no longer in the source.
TEST(Outage, ASourceThatFallsBackToAnOlderCopyOfItselfIsNotCutOver) {
  Fleet fleet({.projects = 2, .lease_ttl = "30s"});
  fleet.plan().mutable_execution()->set_max_attempts(20);
  const std::string ref = fleet.refs()[0];
  const std::string other = fleet.refs()[1];
  fleet.StartCoordinator();
  fleet.StartWorker("a", "worker.phase.BACKUP.started=sleep(4000)@*;worker.phase.COPY.started=sleep(4000)@*");
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, ref, v1::BACKUP);
  fleet.WaitPhase(migration, other, v1::BACKUP);
  const std::string data = fleet.source().QueryValue("postgres", "SHOW data_directory");
  const std::string standby = fleet.folder() + "/standby";
  fleet.source().Stop("immediate");
  ASSERT_EQ(RunToEnd({.argv = {"/bin/cp", "-a", data, standby}}).exit_code, 0);
  fleet.source().Start();
  // The platform's own login writes although the project is frozen; the standby does not hear of it.
  fleet.source().Exec(
      "platform",
      "SET session_replication_role = replica; UPDATE auth.users SET aud = 'later' WHERE project_ref = '" + ref +
          "'");
  fleet.WaitPhase(migration, ref, v1::COPY);
  fleet.source().Stop("immediate");
  ASSERT_EQ(RunToEnd({.argv = {"/bin/sh", "-c", "rm -r \"$0\"/* && cp -a \"$1\"/. \"$0\"", data, standby}}).exit_code,
            0);
  fleet.source().Start();
  EXPECT_EQ(fleet.WaitEnded(migration, 180).state(), v1::MIGRATION_FAILED);
  const v1::Project project = fleet.GetProject(migration, ref);
  EXPECT_EQ(project.state(), v1::ROLLED_BACK) << project.ShortDebugString();
  EXPECT_EQ(project.error().code(), "PGC-CUT-SOURCE-DIRTY") << project.ShortDebugString();
  EXPECT_EQ(fleet.WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet.WhyNotIsolated(other), "") << fleet.GetProject(migration, other).ShortDebugString();
}

TEST(Outage, APasswordThatChangesMeanwhileIsReadAgain) {
  Fleet fleet({.projects = 4, .lease_ttl = "30s"});
  fleet.plan().mutable_execution()->set_max_attempts(20);
  fleet.plan().mutable_execution()->set_max_backoff_ms(500);
  const std::string file = fleet.folder() + "/reader-password";
  const auto write = [&file](const std::string& password) {
    std::ofstream(file) << password << "\n";
    fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
  };
  write(fleet.env().at("PGCONVOY_SHARED_READER_PASSWORD"));
  fleet.plan().mutable_servers()->at("shared").mutable_reader()->set_password("${file:" + file + "}");
  fleet.StartCoordinator();
  fleet.StartWorker("a", kSlowCopy);
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  fleet.source().Exec("postgres", "ALTER ROLE pgconvoy_reader PASSWORD 'another one'");
  write("another one");
  fleet.source().Exec("postgres",
                      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pgconvoy_reader'");
  ExpectArrived(fleet, migration);
}

TEST(Outage, ATargetWithoutRoomIsFilledOnceThereIsRoom) {
  if (!kMayMount) {
    GTEST_SKIP() << "mounting is not permitted here";
  }
  Fleet fleet({.projects = 3});
  fleet.plan().mutable_execution()->set_max_attempts(20);
  fleet.plan().mutable_execution()->set_max_backoff_ms(1000);
  const SmallDisk disk(fleet.target(), "256m");
  fleet.StartCoordinator();
  fleet.StartWorker("a", "worker.phase.COPY.started=sleep(2000)");
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  disk.Fill();
  EXPECT_TRUE(Eventually([&] { return Failing(fleet, migration, "PGC-PG-DISK-FULL"); })) << fleet.WorkerLog("a");
  disk.Free();
  ExpectArrived(fleet, migration);
}

TEST(Outage, ATargetThatTakesNobodyInIsAskedAgain) {
  Fleet fleet({.projects = 3});
  fleet.plan().mutable_execution()->set_max_attempts(20);
  fleet.plan().mutable_execution()->set_max_backoff_ms(1000);
  fleet.target().Exec("postgres", "ALTER ROLE pgconvoy_provisioner CONNECTION LIMIT 0");
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  const std::string migration = fleet.Submit();
  EXPECT_TRUE(Eventually([&] { return Failing(fleet, migration, "PGC-PG-CONNECTIONS"); })) << fleet.WorkerLog("a");
  fleet.target().Exec("postgres", "ALTER ROLE pgconvoy_provisioner CONNECTION LIMIT -1");
  ExpectArrived(fleet, migration);
}

}  // namespace
}  // namespace pgconvoy::testing
