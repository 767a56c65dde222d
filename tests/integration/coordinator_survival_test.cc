// The coordinator and its store fail in every way that there is; the fleet arrives all the same.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <sstream>
#include <thread>

#include "common/base/text.h"
#include "tests/integration/fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

constexpr int kKilled = 128 + SIGKILL;

// A process of /proc: its state and its parent.
struct ProcStat {
  char state = '?';
  int parent = 0;
};

ProcStat StatOf(int pid) {
  const std::string text = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  ProcStat stat;
  // The name before it can hold anything, also parentheses.
  if (const size_t name_end = text.rfind(')'); name_end != std::string::npos) {
    std::istringstream(text.substr(name_end + 1)) >> stat.state >> stat.parent;
  }
  return stat;
}

bool IsStopped(Process& process) { return StatOf(process.pid()).state == 'T'; }

// A server's postmaster and all its children, which have process groups of their own.
std::vector<int> ProcessesOf(const PgCluster& cluster) {
  const std::string data = cluster.QueryValue("postgres", "SHOW data_directory");
  const int postmaster = std::stoi(ReadFile(data + "/postmaster.pid"));
  std::vector<int> pids = {postmaster};
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto pid = ParseDecimal(entry.path().filename().string());
    if (pid.has_value() && StatOf(static_cast<int>(*pid)).parent == postmaster) {
      pids.push_back(static_cast<int>(*pid));
    }
  }
  return pids;
}

// A server that takes connections and does nothing with them, until destruction.
class Hang {
 public:
  explicit Hang(const PgCluster& cluster) : pids_(ProcessesOf(cluster)) { Signal(SIGSTOP); }
  ~Hang() { Signal(SIGCONT); }
  Hang(const Hang&) = delete;
  Hang& operator=(const Hang&) = delete;

 private:
  void Signal(int signal) const {
    for (const int pid : pids_) {
      ::kill(pid, signal);
    }
  }
  std::vector<int> pids_;
};

// "" when the store has counted everything once, else what it has not.
std::string WhyMiscounted(Fleet& fleet, const std::string& migration) {
  const PgCluster& store = fleet.store();
  const std::string twice = store.QueryValue(
      "postgres",
      "SELECT string_agg(what, '; ') FROM (SELECT concat_ws(' ', project_ref, detail->>'fence', phase) AS what "
      "FROM pgconvoy.event, unnest(string_to_array(detail->>'phases', ',')) AS phase "
      "GROUP BY project_ref, detail->>'fence', detail->>'direction', phase HAVING count(*) > 1) e");
  if (!twice.empty()) {
    return "recorded twice: " + twice;
  }
  const std::string ended = store.QueryValue(
      "postgres",
      "SELECT string_agg(p.ref, ', ') FROM pgconvoy.project p WHERE (SELECT count(*) FROM pgconvoy.attempt a "
      "WHERE a.project_id = p.id AND a.outcome = 'succeeded') <> 1 OR EXISTS (SELECT FROM pgconvoy.attempt a WHERE "
      "a.project_id = p.id AND a.end_time IS NULL)");
  if (!ended.empty()) {
    return "not exactly one successful attempt: " + ended;
  }
  int64_t rows = 0;
  for (const std::string& ref : fleet.refs()) {
    rows += std::stoll(fleet.target().QueryValue(
        "project_" + ref,
        "SELECT (SELECT count(*) FROM auth.users) + (SELECT count(*) FROM auth.sessions) + (SELECT count(*) FROM "
        "auth.refresh_tokens) + (SELECT count(*) FROM storage.buckets) + (SELECT count(*) FROM storage.objects)"));
  }
  if (fleet.Get(migration).rows_copied() != rows) {
    return "counted " + std::to_string(fleet.Get(migration).rows_copied()) + " rows, but there are " +
           std::to_string(rows);
  }
  const Finished audit =
      RunToEnd({.argv = {BinaryPath("pgconvoy-coordinator"), "--verify-events", "--store", store.SocketConninfo()}});
  return audit.exit_code == 0 ? "" : audit.err;
}

void ExpectArrived(Fleet& fleet, const std::string& migration) {
  const v1::Migration ended = fleet.WaitEnded(migration, 120);
  EXPECT_EQ(ended.state(), v1::MIGRATION_SUCCEEDED) << ended.ShortDebugString();
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
  }
  EXPECT_EQ(fleet.Leftovers(), "");
  EXPECT_EQ(WhyMiscounted(fleet, migration), "");
}

// No worker was at fault, so none may have lost its work.
void ExpectOneAttemptEach(Fleet& fleet, const std::string& migration) {
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.GetProject(migration, ref).attempts(), 1) << ref;
  }
}

TEST(CoordinatorSurvival, KilledWhileAProjectIsInEachPhaseItGoesOnWhereItWas) {
  constexpr v1::Phase kPhases[] = {v1::FENCE,     v1::PRE_VALIDATION,  v1::FREEZE, v1::CREDENTIALS,
                                   v1::PROVISION, v1::BACKUP,          v1::COPY,   v1::VERIFY,
                                   v1::CUTOVER,   v1::POST_VALIDATION, v1::CLEANUP};
  // Long enough that no stopped worker loses its lease.
  Fleet fleet({.projects = static_cast<int>(std::size(kPhases)), .lease_ttl = "60s"});
  fleet.plan().mutable_execution()->set_batch_size(1);
  for (auto& [name, server] : *fleet.plan().mutable_servers()) {
    server.set_max_projects(static_cast<int>(std::size(kPhases)));
  }
  fleet.StartCoordinator();
  for (const v1::Phase phase : kPhases) {
    fleet.StartWorker(v1::Phase_Name(phase), "worker.phase." + v1::Phase_Name(phase) + ".started=stop", 1);
  }
  const std::string migration = fleet.Submit();
  for (const v1::Phase phase : kPhases) {
    ASSERT_TRUE(Eventually([&] { return IsStopped(fleet.worker(v1::Phase_Name(phase))); }, std::chrono::seconds(60)))
        << v1::Phase_Name(phase) << ": " << fleet.WorkerLog(v1::Phase_Name(phase));
  }

  fleet.KillCoordinator();
  fleet.StartCoordinator();
  for (const v1::Phase phase : kPhases) {
    fleet.worker(v1::Phase_Name(phase)).Kill(SIGCONT);
  }
  ExpectArrived(fleet, migration);
  ExpectOneAttemptEach(fleet, migration);
}

// Before the commit: what the workers said is lost. After it: they hear no acknowledgement and say it again. After a
// grant: it is durable, but its worker may never have seen it.
TEST(CoordinatorSurvival, KilledAroundItsCommitsAndGrantsItCountsNothingTwice) {
  Fleet fleet({.projects = 8});
  fleet.plan().mutable_execution()->set_batch_size(1);
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  fleet.KillCoordinator();
  fleet.StartWorker("a", "", 1);
  fleet.StartWorker("b", "", 1);
  for (const char* const failpoint :
       {"coordinator.grant.sent=kill@1", "coordinator.commit.before=kill@3", "coordinator.commit.after=kill@1",
        "coordinator.commit.after=kill@4", "coordinator.grant.sent=kill@2", "coordinator.commit.before=kill@1",
        "coordinator.commit.after=kill@7", "coordinator.commit.before=kill@6", "coordinator.commit.after=kill@3"}) {
    fleet.StartCoordinator(failpoint);
    ASSERT_EQ(fleet.coordinator().Wait(std::chrono::seconds(60)), kKilled) << failpoint;
  }
  fleet.StartCoordinator();
  ExpectArrived(fleet, migration);
}

TEST(CoordinatorSurvival, AStoreThatHangsDelaysTheFleetAndLosesNoAttempt) {
  Fleet fleet({.projects = 6, .lease_ttl = "10s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a", "worker.phase.COPY.started=sleep(500)@*");
  fleet.StartWorker("b", "worker.phase.COPY.started=sleep(500)@*");
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  {
    const Hang hang(fleet.store());
    const Finished looked = RunToEnd(
        {.argv = {BinaryPath("pgconvoy"), "--address", fleet.address(), "--timeout", "3s", "get", "migrations"}});
    EXPECT_EQ(looked.exit_code, 124) << looked.err;
    EXPECT_EQ(looked.out, "");
    EXPECT_NE(looked.err.find("PGC-CLI-TIMEOUT"), std::string::npos) << looked.err;
    // Many times as long as a lease lasts.
    std::this_thread::sleep_for(std::chrono::minutes(1));
    EXPECT_TRUE(fleet.coordinator().Running());
  }
  ExpectArrived(fleet, migration);
  ExpectOneAttemptEach(fleet, migration);
}

TEST(CoordinatorSurvival, AskedToEndWhileItsStoreHangsItEnds) {
  Fleet fleet({.projects = 2});
  fleet.StartCoordinator();
  fleet.StartWorker("a", "worker.phase.COPY.started=sleep(1000)@*");
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  {
    const Hang hang(fleet.store());
    // A read that waits for the store, beside the commits that do.
    RunToEnd(
        {.argv = {BinaryPath("pgconvoy"), "--address", fleet.address(), "--timeout", "1s", "get", "migrations"}});
    fleet.coordinator().Kill(SIGTERM);
    EXPECT_EQ(fleet.coordinator().Wait(std::chrono::seconds(60)), 0) << fleet.CoordinatorLog();
  }
  fleet.StartCoordinator();
  ExpectArrived(fleet, migration);
}

TEST(CoordinatorSurvival, AStoreThatCrashesDuringACopyLosesNoAttempt) {
  // Longer than a server needs to recover.
  Fleet fleet({.projects = 4, .lease_ttl = "30s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a", "worker.phase.COPY.started=sleep(1000)@*");
  fleet.StartWorker("b", "worker.phase.COPY.started=sleep(1000)@*");
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  fleet.store().Stop("immediate");
  fleet.store().Start();
  ExpectArrived(fleet, migration);
  ExpectOneAttemptEach(fleet, migration);
}

TEST(CoordinatorSurvival, ASecondCoordinatorTakesOverAndTheFirstOneEnds) {
  Fleet fleet({.projects = 6, .lease_ttl = "30s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a", "worker.phase.COPY.started=sleep(500)@*");
  fleet.StartWorker("b", "worker.phase.COPY.started=sleep(500)@*");
  const std::string migration = fleet.Submit();
  fleet.WaitPhase(migration, fleet.refs()[0], v1::COPY);
  const auto first = fleet.StartSecondCoordinator();
  EXPECT_EQ(first->Wait(std::chrono::seconds(60)), 3);
  EXPECT_NE(fleet.CoordinatorLog().find("another coordinator leads this store now; this one stops"),
            std::string::npos);
  ExpectArrived(fleet, migration);
  ExpectOneAttemptEach(fleet, migration);
}

// Nothing is written that would tell the first one; its workers are of no use to the second until it lets them go.
TEST(CoordinatorSurvival, ACoordinatorWithoutWorkNoticesThatAnotherOneLeads) {
  Fleet fleet({.projects = 2});
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  ASSERT_TRUE(Eventually([&] { return fleet.WorkerLog("a").find("connected") != std::string::npos; }));
  const auto first = fleet.StartSecondCoordinator();
  EXPECT_EQ(first->Wait(std::chrono::seconds(60)), 3);
  ExpectArrived(fleet, fleet.Submit());
}

}  // namespace
}  // namespace pgconvoy::testing
