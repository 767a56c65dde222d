// relocate-databases with real processes: the way that everything goes well, kill -9, several servers, other versions.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/integration/relocation.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

constexpr int kKilled = 128 + SIGKILL;

TEST(Relocate, MovesEveryDatabaseAndLeavesNothingBehind) {
  Relocation fleet({.projects = 3, .lease_ttl = "30s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  fleet.StartWorker("b");
  const std::string migration = fleet.Submit();
  EXPECT_EQ(fleet.WaitEnded(migration, 120).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("a");
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotRelocated(ref), "");
  }
  EXPECT_TRUE(Eventually([&] {
    return fleet.new_server().QueryValue("postgres",
                                         "SELECT count(*) FROM (SELECT rolname FROM pg_roles UNION ALL "
                                         "SELECT datname FROM pg_database) n (name) WHERE name ~ '^pgc_'") == "0";
  })) << "templates pile up";
}

TEST(Relocate, AProjectsAttributesChooseItsServers) {
  Relocation fleet({.projects = 1, .lease_ttl = "30s"});
  fleet.AddServer("old2", "old");
  fleet.AddServer("new2", "new");
  // Each project goes to the server that belongs to its own: old -> new, old2 -> new2.
  fleet.plan().mutable_target()->set_server("{destination}");
  (*fleet.plan().mutable_cutover()->mutable_set())["server"] = "{destination}";
  fleet.AddDatabase("old2", "v0002", 2);
  fleet.SetAttribute("v0001", "destination", "new");
  fleet.SetAttribute("v0002", "destination", "new2");
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  EXPECT_EQ(fleet.WaitEnded(fleet.Submit(), 120).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("a");
  EXPECT_EQ(fleet.WhyNotRelocated("v0001", "old", "new"), "");
  EXPECT_EQ(fleet.WhyNotRelocated("v0002", "old2", "new2"), "");
  EXPECT_TRUE(Eventually([&] { return fleet.Leftovers("new").empty() && fleet.Leftovers("new2").empty(); }));
}

// One fleet for all the places; each place takes the next project of it.
class KilledRelocation : public ::testing::TestWithParam<const char*> {
 public:
  static void TearDownTestSuite() { fleet_.reset(); }

 protected:
  static Relocation& fleet() {
    if (!fleet_) {
      fleet_ = std::make_unique<Relocation>(Relocation::Options{.projects = 20});
      fleet_->StartCoordinator();
    }
    return *fleet_;
  }
  static std::string NextProject() { return fleet().refs().at(next_++); }

 private:
  static inline std::unique_ptr<Relocation> fleet_;
  static inline size_t next_ = 0;
};

TEST_P(KilledRelocation, LosesNothingAndCanBeUndone) {
  const std::string ref = NextProject();
  // A definition of its own, so that its template has to be laid.
  fleet().OnSource(ref, "SET ROLE legacy_app; CREATE TABLE app.only_in_" + ref +
                            " (i int PRIMARY KEY, t text); INSERT INTO app.only_in_" + ref +
                            " SELECT n, n FROM generate_series(1, 10000) n; CREATE INDEX ON app.only_in_" + ref +
                            " (t); CREATE TABLE app.parts (i int PRIMARY KEY, t text) PARTITION BY RANGE (i); "
                            "CREATE TABLE app.parts_1 PARTITION OF app.parts FOR VALUES FROM (1) TO (6000); "
                            "CREATE TABLE app.parts_2 PARTITION OF app.parts DEFAULT; CREATE INDEX ON app.parts (t); "
                            "INSERT INTO app.parts SELECT n, n FROM generate_series(1, 10000) n");
  const std::string before = fleet().Dump("old", ref);
  const std::string migration = fleet().Submit({ref});
  ASSERT_EQ(fleet().StartWorker("w", std::string(GetParam()) + "=kill").Wait(), kKilled) << fleet().WorkerLog("w");
  fleet().StartWorker("w");
  EXPECT_EQ(fleet().WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet().WorkerLog("w");
  EXPECT_EQ(fleet().WhyNotRelocated(ref), "");
  fleet().Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
  EXPECT_EQ(fleet().WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK) << fleet().WorkerLog("w");
  EXPECT_EQ(fleet().WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet().Dump("old", ref), before);
  EXPECT_EQ(fleet().Leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Phases,
                         KilledRelocation,
                         ::testing::Values("worker.phase.FENCE.done",
                                           "worker.phase.PRE_VALIDATION.done",
                                           "worker.phase.FREEZE.done",
                                           "worker.phase.CREDENTIALS.done",
                                           "worker.template.created",
                                           "worker.template.laid",
                                           "worker.provision.created",
                                           "worker.phase.PROVISION.done",
                                           "worker.backup.table",
                                           "worker.phase.BACKUP.done",
                                           "worker.copy.indexes_aside",
                                           "worker.copy.before_commit",
                                           "worker.verify.index_made",
                                           "worker.verify.constraints_added",
                                           "worker.phase.COPY.done",
                                           "worker.verify.before_finish",
                                           "worker.verify.before_settings",
                                           "worker.phase.VERIFY.done",
                                           "worker.phase.CUTOVER.done",
                                           "worker.phase.POST_VALIDATION.done"));

struct Versions {
  int from;
  int to;
};

class OtherVersions : public ::testing::TestWithParam<Versions> {};

TEST_P(OtherVersions, TakeTheDatabasesAndGiveThemBack) {
  const auto [from, to] = GetParam();
  if (!HasPostgres(from) || !HasPostgres(to)) {
    GTEST_SKIP() << "no PostgreSQL " << from << " and " << to
                 << " here: tests/support/fetch_postgres.sh fetches them";
  }
  Relocation fleet({.projects = 2, .old_version = from, .new_version = to, .lease_ttl = "30s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.WaitEnded(migration, 120).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("a");
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotRelocated(ref), "");
  }
  fleet.Rollback(migration, "", /*discard_writes=*/false);
  EXPECT_EQ(fleet.WaitEnded(migration, 120).state(), v1::MIGRATION_ROLLED_BACK) << fleet.WorkerLog("a");
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotUntouched(ref), "");
  }
  EXPECT_EQ(fleet.Leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Pairs,
                         OtherVersions,
                         ::testing::Values(Versions{14, 14}, Versions{14, 17}, Versions{15, 16}, Versions{15, 18}),
                         [](const auto& pair) {
                           return std::to_string(pair.param.from) + "to" + std::to_string(pair.param.to);
                         });

// What somebody left open in one database is no reason for others to wait.
TEST(Relocate, ATableThatSomebodyHoldsLockedDelaysItsOwnProjectOnly) {
  Relocation fleet({.projects = 2, .lease_ttl = "30s"});
  fleet.plan().mutable_execution()->set_max_attempts(50);
  fleet.plan().mutable_execution()->set_max_backoff_ms(1000);
  const std::string locked = fleet.refs()[0];
  const std::string other = fleet.refs()[1];
  Process holder({.argv = {"/usr/bin/psql", "-Xq", "-d", fleet.old_server().SocketConninfo(fleet.database(locked)),
                           "-c", "BEGIN; LOCK TABLE app.users; SELECT pg_sleep(600)"}});
  const auto holds = [&] {
    return fleet.old_server().QueryValue(
               "postgres",
               "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted "
               "AND relation IS NOT NULL") != "0";
  };
  ASSERT_TRUE(Eventually(holds));
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  const std::string migration = fleet.Submit();
  EXPECT_TRUE(Eventually([&] { return fleet.GetProject(migration, other).state() == v1::SUCCEEDED; },
                         std::chrono::seconds(60)));
  EXPECT_TRUE(Eventually([&] { return fleet.GetProject(migration, locked).error().code() == "PGC-PG-LOCKED"; },
                         std::chrono::seconds(60)))
      << fleet.GetProject(migration, locked).ShortDebugString();
  fleet.old_server().Exec("postgres",
                          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_sleep' "
                          "AND pid <> pg_backend_pid()");
  EXPECT_EQ(fleet.WaitEnded(migration, 120).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("a");
  EXPECT_EQ(fleet.WhyNotRelocated(locked), "");
  EXPECT_EQ(fleet.WhyNotRelocated(other), "");
}

// The most that a process ever had in memory, in KiB.
int64_t PeakMemoryKib(pid_t pid) {
  std::istringstream status(ReadFile("/proc/" + std::to_string(pid) + "/status"));
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) {
      return std::stoll(line.substr(sizeof("VmHWM:")));
    }
  }
  return -1;
}

TEST(Relocate, AWorkerTakesNoMoreMemoryForALargerTable) {
  Relocation fleet({.projects = 2, .lease_ttl = "30s"});
  fleet.plan().mutable_backup()->set_chunk_bytes(1 << 20);
  const std::pair<std::string, int> sizes[] = {{fleet.refs()[0], 8'000}, {fleet.refs()[1], 80'000}};
  fleet.StartCoordinator();
  std::vector<int64_t> peaks;
  for (const auto& [ref, rows] : sizes) {
    fleet.OnSource(ref,
                   "SET ROLE legacy_app; CREATE TABLE app.wide (id bigint PRIMARY KEY, filler text); ALTER TABLE "
                   "app.wide ALTER COLUMN filler SET STORAGE EXTERNAL; "
                   "INSERT INTO app.wide SELECT n, repeat(md5(n::text), 64) FROM generate_series(1, " +
                       std::to_string(rows) + ") n");
    Process& worker = fleet.StartWorker("w");
    ASSERT_EQ(fleet.WaitEnded(fleet.Submit({ref}), 120).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
    EXPECT_EQ(fleet.WhyNotRelocated(ref), "");
    peaks.push_back(PeakMemoryKib(worker.pid()));
  }
  // 16 MB and 160 MB.
  EXPECT_GT(peaks[0], 0);
  EXPECT_LT(peaks[1], peaks[0] + 32 * 1024);
}

TEST(Relocate, ASourceThatIsNewerThanPgDumpIsRefused) {
  if (!HasPostgres(17)) {
    GTEST_SKIP() << "no PostgreSQL 17 here: tests/support/fetch_postgres.sh fetches it";
  }
  Relocation fleet({.projects = 1, .old_version = 17, .new_version = 17, .lease_ttl = "30s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  const std::string migration = fleet.Submit();
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_FAILED);
  EXPECT_EQ(fleet.GetProject(migration, "v0001").error().code(), "PGC-SRC-VERSION");
  EXPECT_EQ(fleet.WhyNotUntouched("v0001"), "");
}

}  // namespace
}  // namespace pgconvoy::testing
