// A worker that stops at its worst moment, is given up, and wakes when somebody else has finished its work.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <string>
#include <thread>
#include <tuple>

#include "tests/integration/fleet.h"
#include "tests/support/pg_proxy.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

// What runs past the zombie.
enum class Overtaker { kRetry, kRollback };

class Zombie {
 public:
  Zombie() : fleet_({.projects = 1, .lease_ttl = "2s"}) {
    fleet_.StartCoordinator();
    migration_ = fleet_.Submit();
  }

  Fleet& fleet() { return fleet_; }
  const std::string& ref() { return fleet_.refs()[0]; }

  void StartAndStopAt(const std::string& place) {
    fleet_.StartWorker("z", place + "=stop");
    ASSERT_TRUE(Eventually([this] { return fleet_.worker("z").Stopped(); })) << fleet_.WorkerLog("z");
  }

  void StopNow() {
    fleet_.worker("z").Kill(SIGSTOP);
    ASSERT_TRUE(Eventually([this] { return fleet_.worker("z").Stopped(); }));
  }

  // Another worker takes the project over and brings it to its end.
  void Overtake(Overtaker overtaker) {
    overtaker_ = overtaker;
    if (overtaker == Overtaker::kRollback) {
      fleet_.Rollback(migration_, "", /*discard_writes=*/false);
    }
    fleet_.StartWorker("b");
    const v1::Migration ended = fleet_.WaitEnded(migration_);
    ASSERT_EQ(ended.state(), overtaker == Overtaker::kRetry ? v1::MIGRATION_SUCCEEDED : v1::MIGRATION_ROLLED_BACK)
        << ended.ShortDebugString() << fleet_.WorkerLog("b");
  }

  // Wakes it, waits until it has given up, and compares the world before with the world after.
  void WakeAndExpectNothingChanged() {
    const std::string before = World();
    fleet_.worker("z").Kill(SIGCONT);
    const auto gave_up = [this] { return fleet_.WorkerLog("z").find("attempt ended") != std::string::npos; };
    ASSERT_TRUE(Eventually(gave_up)) << fleet_.WorkerLog("z");
    EXPECT_NE(fleet_.WorkerLog("z").find("PGC-LEASE-LOST"), std::string::npos) << fleet_.WorkerLog("z");
    EXPECT_EQ(World(), before);
    EXPECT_EQ(overtaker_ == Overtaker::kRetry ? fleet_.WhyNotIsolated(ref()) : fleet_.WhyNotUntouched(ref()), "");
    EXPECT_EQ(fleet_.Leftovers(), "");
    // It is a worker like any other again.
    fleet_.worker("z").Kill(SIGTERM);
    EXPECT_EQ(fleet_.worker("z").Wait(), 0) << fleet_.WorkerLog("z");
  }

  // The newest fence on the target server; 0 before the first.
  int64_t Fence() {
    const PgCluster& target = fleet_.target();
    const bool exists =
        target.QueryValue("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'pgconvoy'") == "1" &&
        target.QueryValue("pgconvoy", "SELECT to_regclass('pgconvoy.fence') IS NOT NULL") == "t";
    return exists ? std::stoll("0" + target.QueryValue("pgconvoy", "SELECT max(fence) FROM pgconvoy.fence")) : 0;
  }

  bool Ended() { return fleet_.Get(migration_).state() >= v1::MIGRATION_SUCCEEDED; }

 private:
  // Everything that a worker may change.
  std::string World() {
    const std::string registry =
        fleet_.source().QueryValue("platform", "SELECT string_agg(p::text, ';' ORDER BY ref) FROM public.projects p");
    const std::string catalogs = fleet_.target().QueryValue(
        "postgres",
        "SELECT (SELECT string_agg(oid || datname || datconnlimit || datallowconn || COALESCE(datacl::text, ''), ';' "
        "ORDER BY oid) FROM pg_database WHERE datname NOT LIKE 'pgc_tmpl%') || (SELECT string_agg(oid || rolname || "
        "rolcanlogin || "
        "COALESCE(rolpassword, ''), ';' ORDER BY oid) FROM pg_authid WHERE rolname NOT LIKE 'pgc_tmpl%')");
    const bool moved = overtaker_ == Overtaker::kRetry;
    return registry + catalogs + std::to_string(Fence()) + fleet_.SourceHash(ref()) +
           (moved ? fleet_.TargetHash(ref()) : "");
  }

  Fleet fleet_;
  std::string migration_;
  Overtaker overtaker_ = Overtaker::kRetry;
};

using Moment = std::tuple<const char*, Overtaker>;

std::string MomentName(const ::testing::TestParamInfo<Moment>& moment) {
  std::string place = std::get<0>(moment.param);
  std::replace(place.begin(), place.end(), '.', '_');
  return place + (std::get<1>(moment.param) == Overtaker::kRetry ? "_retry" : "_rollback");
}

class StoppedAt : public ::testing::TestWithParam<Moment> {};

TEST_P(StoppedAt, ChangesNothingWhenItWakes) {
  Zombie zombie;
  ASSERT_NO_FATAL_FAILURE(zombie.StartAndStopAt(std::get<0>(GetParam())));
  ASSERT_NO_FATAL_FAILURE(zombie.Overtake(std::get<1>(GetParam())));
  zombie.WakeAndExpectNothingChanged();
}

INSTANTIATE_TEST_SUITE_P(Zombie,
                         StoppedAt,
                         ::testing::Combine(::testing::Values("worker.phase.FENCE.started",
                                                              "worker.freeze.before_commit",
                                                              "worker.credentials.created",
                                                              "worker.provision.before_create",
                                                              "worker.provision.renamed",
                                                              "worker.copy.chunk_sent",
                                                              "worker.copy.before_commit",
                                                              "worker.cutover.before_commit",
                                                              "worker.cutover.after_commit"),
                                            ::testing::Values(Overtaker::kRetry, Overtaker::kRollback)),
                         MomentName);

class Overtaken : public ::testing::TestWithParam<Overtaker> {};

// The database of a first attempt is in its way.
TEST_P(Overtaken, BeforeADropOfADatabase) {
  Zombie zombie;
  ASSERT_EQ(zombie.fleet().StartWorker("first", "worker.provision.created=kill").Wait(), 128 + SIGKILL);
  ASSERT_NO_FATAL_FAILURE(zombie.StartAndStopAt("worker.database.before_drop"));
  ASSERT_NO_FATAL_FAILURE(zombie.Overtake(GetParam()));
  zombie.WakeAndExpectNothingChanged();
}

// The server has the COMMIT and does not get through with it, because a deferred trigger waits for a lock.
TEST_P(Overtaken, WithTheCommitOfItsCutoverInFlight) {
  Zombie zombie;
  PgCluster& source = zombie.fleet().source();
  source.Exec("platform", R"sql(
    CREATE FUNCTION public.wait_at_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
      $$BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(4711); RETURN NULL; END$$;
    CREATE CONSTRAINT TRIGGER wait_at_commit AFTER UPDATE OF database_name ON public.projects
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.wait_at_commit();
  )sql");
  auto gate = pg::Connection::Open(source.Superuser("platform"), {});
  ASSERT_TRUE(gate.ok());
  ASSERT_TRUE((*gate)->Exec("SELECT pg_advisory_lock(4711)").ok());
  const auto waiting = [&source] {
    return source.QueryValue("postgres",
                             "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                             "query ILIKE 'COMMIT%'") != "0";
  };
  zombie.fleet().StartWorker("z");
  ASSERT_TRUE(Eventually(waiting)) << zombie.fleet().WorkerLog("z");
  ASSERT_NO_FATAL_FAILURE(zombie.StopNow());

  std::thread opens([&] {
    // Only when the zombie's session has been ended may anybody commit.
    Eventually([&] { return !waiting(); });
    (*gate)->Exec("SELECT pg_advisory_unlock(4711)").status().IgnoreError();
  });
  zombie.Overtake(GetParam());
  opens.join();
  ASSERT_FALSE(HasFatalFailure());
  source.Exec("platform", "DROP FUNCTION public.wait_at_commit() CASCADE");
  zombie.WakeAndExpectNothingChanged();
}

class InAnOvertakenLogin : public ::testing::TestWithParam<std::tuple<const char*, Overtaker>> {};

TEST_P(InAnOvertakenLogin, ChangesNothingWhenItWakes) {
  Zombie zombie;
  Fleet& fleet = zombie.fleet();
  PgProxy proxy(fleet.target().port());
  proxy.HoldLoginsOf(std::get<0>(GetParam()));
  const std::string direct = fleet.env().at("PGCONVOY_ISOLATED_CONNINFO");
  fleet.env()["PGCONVOY_ISOLATED_CONNINFO"] = "host=127.0.0.1 port=" + std::to_string(proxy.port());
  fleet.StartWorker("z");
  fleet.env()["PGCONVOY_ISOLATED_CONNINFO"] = direct;
  ASSERT_TRUE(Eventually([&proxy] { return proxy.Holding(); })) << fleet.WorkerLog("z");
  ASSERT_NO_FATAL_FAILURE(zombie.StopNow());

  // The proof arrives when the login has been shut. Later would not do: a server ends no database (and no other barrier
  // between its processes) while a client is in the middle of a login, for up to authentication_timeout.
  std::thread lets_go([&] {
    Eventually([&] { return zombie.Fence() > 1 || zombie.Ended(); });
    proxy.Release();
  });
  zombie.Overtake(std::get<1>(GetParam()));
  lets_go.join();
  ASSERT_FALSE(HasFatalFailure());
  zombie.WakeAndExpectNothingChanged();
}

INSTANTIATE_TEST_SUITE_P(Zombie, Overtaken, ::testing::Values(Overtaker::kRetry, Overtaker::kRollback));
INSTANTIATE_TEST_SUITE_P(Zombie,
                         InAnOvertakenLogin,
                         ::testing::Combine(::testing::Values("pgconvoy_provisioner", "pgc_a_"),
                                            ::testing::Values(Overtaker::kRetry, Overtaker::kRollback)));

}  // namespace
}  // namespace pgconvoy::testing
