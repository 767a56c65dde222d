// Logins for projects that keep their database: what each permission means, and that every way back ends where it
// began.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "common/pg/connection.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "tests/integration/credentials_fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using ::testing::HasSubstr;

constexpr int kKilled = 128 + SIGKILL;
constexpr char kDenied[] = "42501";

// The statements work as this login, or are refused as not allowed.
void Expect(CredentialsFleet& fleet,
            const std::string& ref,
            const Secret& password,
            const std::vector<std::pair<const char*, bool>>& statements) {
  for (const auto& [sql, works] : statements) {
    EXPECT_EQ(fleet.TryAs(CredentialsFleet::User(ref), password, ref, sql), works ? "" : kDenied) << sql;
  }
}

void FailOnce(v1::Plan& plan) {
  plan.mutable_execution()->set_max_attempts(2);
  plan.mutable_execution()->set_initial_backoff_ms(20);
}

class Permissions : public ::testing::Test {
 protected:
  Permissions() { fleet_.StartCoordinator(); }

  // Migrates the first project and shows its login to `use`, then rolls it back.
  template <typename Use>
  void ThereAndBack(v1::Credentials::Permissions permissions, const Use& use) {
    fleet_.plan().mutable_credentials()->set_permissions(permissions);
    // Belongs to a role that stands for whoever owns the database.
    fleet_.plan().mutable_credentials()->add_schemas("public");
    fleet_.StartWorker("a");
    const std::string ref = fleet_.refs()[0];
    const std::string migration = fleet_.Submit();
    ASSERT_NE(fleet_.WaitEnded(migration).state(), v1::MIGRATION_FAILED) << fleet_.WorkerLog("a");
    for (const std::string& each : fleet_.refs()) {
      EXPECT_EQ(fleet_.WhyNotMigrated(each), "");
    }
    EXPECT_EQ(fleet_.TryAsFallback(ref), "login 42501");
    use(ref, fleet_.Reveal(migration, ref));
    fleet_.Rollback(migration, "", /*discard_writes=*/false);
    EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK) << fleet_.WorkerLog("a");
    EXPECT_EQ(fleet_.Leftovers(), "");
  }

  CredentialsFleet fleet_{{.projects = 2, .lease_ttl = "30s"}};
};

TEST_F(Permissions, ReadOnlyReadsAndChangesNothing) {
  ThereAndBack(v1::Credentials::READ_ONLY, [&](const std::string& ref, const Secret& password) {
    fleet_.server().Exec(CredentialsFleet::Database(ref),
                         "SET ROLE platform_owner; CREATE TABLE app.later (id serial, t text)");
    Expect(fleet_, ref, password,
           {{"SELECT count(*) FROM app.customers", true},
            {"SELECT count(*) FROM app.totals", true},
            {"SELECT secret FROM app.tools", true},
            {"SELECT last_value FROM app.invoice_number", true},
            {"SELECT id FROM app.later", true},
            {"INSERT INTO app.customers (email) VALUES ('a@b')", false},
            {"DELETE FROM app.orders", false},
            {"SELECT nextval('app.invoice_number')", false},
            {"SELECT app.tool()", false},
            {"INSERT INTO app.later (t) VALUES ('x')", false},
            {"CREATE TABLE app.mine ()", false},
            {"SELECT 1 FROM other.kept", false}});
    fleet_.server().Exec(CredentialsFleet::Database(ref), "DROP TABLE app.later");
  });
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[0]), "");
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[1]), "");
}

TEST_F(Permissions, ReadWriteWritesAndDefinesNothing) {
  ThereAndBack(v1::Credentials::READ_WRITE, [&](const std::string& ref, const Secret& password) {
    fleet_.server().Exec(CredentialsFleet::Database(ref),
                         "SET ROLE platform_owner; CREATE TABLE app.later (id serial, t text)");
    Expect(fleet_, ref, password,
           {{"BEGIN; INSERT INTO app.customers (email) VALUES ('a@b'); UPDATE app.orders SET total = 1; DELETE FROM "
             "app.orders; ROLLBACK",
             true},
            {"BEGIN; INSERT INTO app.log VALUES (now(), 'x'); ROLLBACK", true},
            {"SELECT nextval('app.invoice_number')", true},
            {"SELECT app.tool()", true},
            {"INSERT INTO app.later (t) VALUES ('x')", true},
            {"TRUNCATE app.orders", false},
            {"CREATE TABLE app.mine ()", false},
            {"ALTER TABLE app.orders ADD x int", false}});
    fleet_.server().Exec(CredentialsFleet::Database(ref), "DROP TABLE app.later");
  });
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[0]), "");
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[1]), "");
}

TEST_F(Permissions, OwnerOwnsEverythingThatItsSchemasHold) {
  ThereAndBack(v1::Credentials::OWNER, [&](const std::string& ref, const Secret& password) {
    Expect(
        fleet_, ref, password,
        {{"BEGIN; ALTER TABLE app.orders ADD x int; DROP TABLE app.log; DROP FUNCTION app.total_of; ROLLBACK", true},
         {"BEGIN; ALTER TABLE app.tools ADD x int; REFRESH MATERIALIZED VIEW app.totals; ROLLBACK", true},
         {"BEGIN; CREATE SCHEMA more; CREATE TABLE app.mine (); ROLLBACK", true},
         {"BEGIN; ALTER TYPE app.state ADD VALUE 'lost'; DROP DOMAIN app.email CASCADE; DROP STATISTICS "
          "app.orders_statistics; DROP AGGREGATE app.longest(text); ROLLBACK",
          true},
         {"SELECT 1 FROM other.kept", false}});
    EXPECT_EQ(fleet_.server().QueryValue(CredentialsFleet::Database(ref),
                                         "SELECT count(*) FROM pg_class WHERE relnamespace = 'app'::regnamespace AND "
                                         "relowner <> 'project_" +
                                             ref + "'::regrole"),
              "0");
  });
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[0]), "");
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[1]), "");
}

TEST_F(Permissions, WhatAnOwnerHasMadeGoesToTheFormerOwner) {
  ThereAndBack(v1::Credentials::OWNER, [&](const std::string& ref, const Secret& password) {
    EXPECT_EQ(
        fleet_.TryAs(CredentialsFleet::User(ref), password, ref,
                     "CREATE TABLE app.mine (id serial PRIMARY KEY); INSERT INTO app.mine DEFAULT VALUES; CREATE "
                     "SCHEMA more; CREATE TABLE more.mine AS SELECT 1 AS one; CREATE EXTENSION pgcrypto SCHEMA "
                     "more; ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO app_fallback; "
                     "DROP TABLE app.log"),
        "");
  });
  const std::string database = CredentialsFleet::Database(fleet_.refs()[0]);
  EXPECT_EQ(fleet_.server().QueryValue(database,
                                       "SELECT string_agg(oid::regclass || ' ' || relowner::regrole, ', ' ORDER BY "
                                       "oid::regclass::text) FROM pg_class WHERE relname = 'mine'"),
            "app.mine platform_owner, more.mine platform_owner");
  EXPECT_EQ(fleet_.server().QueryValue(database, "SELECT count(*) FROM app.mine"), "1");
  EXPECT_EQ(fleet_.server().QueryValue(database,
                                       "SELECT extowner::regrole FROM pg_extension WHERE extname = "
                                       "'pgcrypto'"),
            "platform_owner");
  EXPECT_EQ(fleet_.server().QueryValue(database, "SELECT has_schema_privilege('platform_owner', 'more', 'CREATE')"),
            "t");
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[1]), "");
}

// ---- kills and zombies -------------------------------------------------------------------------------------------

// One fleet for all the places; each place takes the next project of it.
class KilledCredentials : public ::testing::TestWithParam<std::tuple<const char*, v1::Credentials::Permissions>> {
 public:
  static void TearDownTestSuite() { fleet_.reset(); }

 protected:
  static std::string NextProject() {
    if (!fleet_ || next_ == fleet_->refs().size()) {
      fleet_.reset();
      fleet_ = std::make_unique<CredentialsFleet>(CredentialsFleet::Options{.projects = 16});
      fleet_->StartCoordinator();
      next_ = 0;
    }
    fleet_->plan().mutable_credentials()->set_permissions(std::get<1>(GetParam()));
    return fleet_->refs().at(next_++);
  }

  static void DieAndComeBack() {
    ASSERT_EQ(fleet_->StartWorker("w", std::string(std::get<0>(GetParam())) + "=kill").Wait(), kKilled)
        << fleet_->WorkerLog("w");
    fleet_->StartWorker("w");
  }

  static inline std::unique_ptr<CredentialsFleet> fleet_;
  static inline size_t next_ = 0;
};

std::string PlaceName(const ::testing::TestParamInfo<std::tuple<const char*, v1::Credentials::Permissions>>& info) {
  std::string place = std::get<0>(info.param);
  std::replace(place.begin(), place.end(), '.', '_');
  return place + "_" + v1::Credentials::Permissions_Name(std::get<1>(info.param));
}

class KilledForward : public KilledCredentials {};

TEST_P(KilledForward, LosesNothing) {
  const std::string ref = NextProject();
  const std::string migration = fleet_->Submit({ref});
  ASSERT_NO_FATAL_FAILURE(DieAndComeBack());
  EXPECT_NE(fleet_->WaitEnded(migration).state(), v1::MIGRATION_FAILED) << fleet_->WorkerLog("w");
  EXPECT_EQ(fleet_->WhyNotMigrated(ref), "");
  EXPECT_EQ(fleet_->Leftovers(), "");
  fleet_->Rollback(migration, "", /*discard_writes=*/false);
  EXPECT_EQ(fleet_->WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK) << fleet_->WorkerLog("w");
  EXPECT_EQ(fleet_->WhyNotUntouched(ref), "");
  fleet_->worker("w").Kill(SIGKILL);
}

const auto kBoth = ::testing::Values(v1::Credentials::READ_WRITE, v1::Credentials::OWNER);

INSTANTIATE_TEST_SUITE_P(Places,
                         KilledForward,
                         ::testing::Combine(::testing::Values("worker.fence.raised",
                                                              "worker.phase.PRE_VALIDATION.done",
                                                              "worker.credentials.sealed",
                                                              "worker.access.recorded",
                                                              "worker.access.before_commit",
                                                              "worker.credentials.created",
                                                              "worker.phase.CREDENTIALS.done",
                                                              "worker.cutover.before_commit",
                                                              "worker.cutover.after_commit",
                                                              "worker.fallback.before_commit",
                                                              "worker.fallback.refused",
                                                              "worker.phase.CUTOVER.done",
                                                              "worker.phase.POST_VALIDATION.done",
                                                              "worker.phase.CLEANUP.done"),
                                            kBoth),
                         PlaceName);

// The registry names a login: which one must be known to the store before, or the next attempt makes another.
TEST(SlowReports, ACutoverWaitsUntilItsCredentialsAreDurable) {
  CredentialsFleet fleet({.projects = 1});
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.StartWorker("w", "worker.link.write=sleep(300)@*;worker.cutover.after_commit=kill").Wait(), kKilled)
      << fleet.WorkerLog("w");
  fleet.StartWorker("w");
  EXPECT_NE(fleet.WaitEnded(migration).state(), v1::MIGRATION_FAILED) << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.WhyNotMigrated(fleet.refs()[0]), "");
}

class RolledBackFrom : public KilledCredentials {};

TEST_P(RolledBackFrom, LeavesTheProjectAsItWas) {
  const std::string ref = NextProject();
  const std::string migration = fleet_->Submit({ref});
  ASSERT_EQ(fleet_->StartWorker("w", std::string(std::get<0>(GetParam())) + "=kill").Wait(), kKilled)
      << fleet_->WorkerLog("w");
  fleet_->Rollback(migration, "", /*discard_writes=*/false);
  fleet_->StartWorker("w");
  const v1::MigrationState ended = fleet_->WaitEnded(migration).state();
  EXPECT_TRUE(ended == v1::MIGRATION_ROLLED_BACK || ended == v1::MIGRATION_CANCELLED)
      << v1::MigrationState_Name(ended) << fleet_->WorkerLog("w");
  EXPECT_EQ(fleet_->WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet_->Leftovers(), "");
  fleet_->worker("w").Kill(SIGKILL);
}

INSTANTIATE_TEST_SUITE_P(Places,
                         RolledBackFrom,
                         ::testing::Combine(::testing::Values("worker.phase.FENCE.done",
                                                              "worker.phase.PRE_VALIDATION.done",
                                                              "worker.credentials.created",
                                                              "worker.phase.CREDENTIALS.done",
                                                              "worker.phase.CUTOVER.done",
                                                              "worker.phase.POST_VALIDATION.done"),
                                            kBoth),
                         PlaceName);

class KilledBackward : public KilledCredentials {};

TEST_P(KilledBackward, UndoesEverything) {
  const std::string ref = NextProject();
  const std::string migration = fleet_->Submit({ref});
  fleet_->StartWorker("w");
  ASSERT_NE(fleet_->WaitEnded(migration).state(), v1::MIGRATION_FAILED) << fleet_->WorkerLog("w");
  fleet_->worker("w").Kill(SIGKILL);
  fleet_->Rollback(migration, "", /*discard_writes=*/false);
  ASSERT_NO_FATAL_FAILURE(DieAndComeBack());
  EXPECT_EQ(fleet_->WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK) << fleet_->WorkerLog("w");
  EXPECT_EQ(fleet_->WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet_->Leftovers(), "");
  fleet_->worker("w").Kill(SIGKILL);
}

INSTANTIATE_TEST_SUITE_P(Places,
                         KilledBackward,
                         ::testing::Combine(::testing::Values("worker.rollback.FENCE.done",
                                                              "worker.fallback.before_undone",
                                                              "worker.cutover.before_undone",
                                                              "worker.rollback.CUTOVER.done",
                                                              "worker.access.shut",
                                                              "worker.access.before_undone",
                                                              "worker.access.undone",
                                                              "worker.rollback.CREDENTIALS.done",
                                                              "worker.rollback.VERIFY.done"),
                                            kBoth),
                         PlaceName);

bool IsStopped(const Process& process) {
  const std::string stat = ReadFile("/proc/" + std::to_string(process.pid()) + "/stat");
  const size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.compare(name_end, 3, ") T") == 0;
}

// What runs past the zombie.
class CredentialsZombie : public ::testing::TestWithParam<std::tuple<const char*, bool>> {};

TEST_P(CredentialsZombie, ChangesNothingWhenItWakes) {
  const auto [place, rollback] = GetParam();
  CredentialsFleet fleet({.projects = 1, .lease_ttl = "2s"});
  fleet.plan().mutable_credentials()->set_permissions(v1::Credentials::OWNER);
  const std::string ref = fleet.refs()[0];
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  fleet.StartWorker("z", std::string(place) + "=stop");
  ASSERT_TRUE(Eventually([&] { return IsStopped(fleet.worker("z")); })) << fleet.WorkerLog("z");
  if (rollback) {
    fleet.Rollback(migration, "", /*discard_writes=*/false);
  }
  fleet.StartWorker("b");
  ASSERT_NE(fleet.WaitEnded(migration).state(), v1::MIGRATION_FAILED) << fleet.WorkerLog("b");
  const std::string before = fleet.Access(ref);
  fleet.worker("z").Kill(SIGCONT);
  const auto gave_up = [&] { return fleet.WorkerLog("z").find("attempt ended") != std::string::npos; };
  ASSERT_TRUE(Eventually(gave_up)) << fleet.WorkerLog("z");
  EXPECT_THAT(fleet.WorkerLog("z"), HasSubstr("PGC-LEASE-LOST"));
  EXPECT_EQ(fleet.Access(ref), before);
  EXPECT_EQ(rollback ? fleet.WhyNotUntouched(ref) : fleet.WhyNotMigrated(ref), "");
  EXPECT_EQ(fleet.Leftovers(), "");
}

INSTANTIATE_TEST_SUITE_P(Places,
                         CredentialsZombie,
                         ::testing::Combine(::testing::Values("worker.credentials.sealed",
                                                              "worker.access.recorded",
                                                              "worker.access.before_commit",
                                                              "worker.credentials.created",
                                                              "worker.fallback.before_commit"),
                                            ::testing::Bool()));

// ---- what goes wrong ---------------------------------------------------------------------------------------------

class Wrong : public ::testing::Test {
 protected:
  Wrong() {
    fleet_.StartCoordinator();
    FailOnce(fleet_.plan());
  }

  // Submits one project and returns its error once it has ended; it must be as it was.
  v1::Error FailsUntouched() {
    fleet_.StartWorker("a");
    migration_ = fleet_.Submit({ref()});
    fleet_.WaitEnded(migration_);
    const v1::Project project = fleet_.GetProject(migration_, ref());
    EXPECT_THAT(project.state(), ::testing::AnyOf(v1::FAILED, v1::ROLLED_BACK)) << project.ShortDebugString();
    EXPECT_EQ(fleet_.Leftovers(), "");
    return project.error();
  }

  // With what must be the whole message or a part of it.
  void ExpectError(const v1::Error& error, const std::string& code, const std::string& part) {
    EXPECT_EQ(error.code(), code) << error.ShortDebugString();
    EXPECT_THAT(error.message(), HasSubstr(part));
    EXPECT_EQ(error.message().find(fleet_.env().at("PGCONVOY_FALLBACK_PASSWORD")), std::string::npos);
  }

  const std::string& ref() { return fleet_.refs()[0]; }

  CredentialsFleet fleet_{{.projects = 1, .lease_ttl = "30s"}};
  std::string migration_;
};

// The document's four cases.
TEST_F(Wrong, AFailureToSealThePasswordLeavesNothing) {
  fleet_.env()["PGCONVOY_RECIPIENT"] = "no key at all";
  ExpectError(FailsUntouched(), "PGC-KEY-BAD", "");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

TEST_F(Wrong, AFailureInTheGrantsLeavesNoRole) {
  fleet_.server().Exec("postgres", "REVOKE platform_tools FROM pgconvoy_provisioner");
  fleet_.plan().mutable_execution()->set_skip_pre_validation(true);
  ExpectError(FailsUntouched(), "PGC-PG-DENIED", "permission denied");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
  EXPECT_EQ(fleet_.server().QueryValue("pgconvoy", "SELECT count(*) FROM pgconvoy.access"), "0");
}

TEST_F(Wrong, AFailureOfTheRegistryTakesTheRoleAndItsGrantsAway) {
  fleet_.server().Exec("platform", "ALTER TABLE public.projects ADD CHECK (database_user NOT LIKE 'project\\_%')");
  const v1::Error error = FailsUntouched();
  ExpectError(error, "PGC-PG-23514", "violates check constraint");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

TEST_F(Wrong, AFailedValidationBringsTheOriginalStateBack) {
  for (const auto permissions : {v1::Credentials::READ_ONLY, v1::Credentials::READ_WRITE, v1::Credentials::OWNER}) {
    fleet_.plan().mutable_credentials()->set_permissions(permissions);
    fleet_.plan().mutable_checks(1)->set_sql("SELECT false");
    ExpectError(FailsUntouched(), "PGC-CHECK-FAILED", "credentials-exist: the check's statement did not return true");
    EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
  }
}

TEST_F(Wrong, AStatementOfTheCutoverThatFailsChangesNothing) {
  v1::Step* const step = fleet_.plan().mutable_cutover()->add_statements();
  step->set_apply("SELECT 1 / 0");
  step->set_undo("SELECT 1");
  ExpectError(FailsUntouched(), "PGC-PG-22012", "the plan's cutover statement");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

TEST_F(Wrong, AFallbackThatDoesNotWorkStopsEverything) {
  fleet_.env()["PGCONVOY_FALLBACK_PASSWORD"] += "x";
  ExpectError(FailsUntouched(), "PGC-CHECK-FAILED", "fallback-works: PGC-PG-AUTH");
  fleet_.env()["PGCONVOY_FALLBACK_PASSWORD"].pop_back();
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

TEST_F(Wrong, AMissingMembershipIsNamedWithItsGrant) {
  fleet_.server().Exec("postgres", "REVOKE platform_tools FROM pgconvoy_provisioner");
  ExpectError(FailsUntouched(), "PGC-CHECK-FAILED", "GRANT \"platform_tools\" TO \"pgconvoy_provisioner\"");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

TEST_F(Wrong, ARoleThatExistsIsNotTouched) {
  const std::string role = "\"" + CredentialsFleet::User(ref()) + "\"";
  fleet_.server().Exec("postgres", "CREATE ROLE " + role + " LOGIN PASSWORD 'of somebody else'");
  ExpectError(FailsUntouched(), "PGC-CHECK-FAILED", "exists already on the source and is not ours");
  // Nor when nobody looks before.
  fleet_.plan().mutable_execution()->set_skip_pre_validation(true);
  fleet_.StartWorker("a");
  migration_ = fleet_.Submit({ref()});
  fleet_.WaitEnded(migration_);
  ExpectError(fleet_.GetProject(migration_, ref()).error(), "PGC-CRED-EXISTS", "was not made by this migration");
  fleet_.server().Exec("postgres", "DROP ROLE " + role);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

TEST_F(Wrong, AnUnknownSchemaIsNamed) {
  fleet_.plan().mutable_credentials()->add_schemas("nowhere");
  ExpectError(FailsUntouched(), "PGC-CHECK-FAILED", "has no schema nowhere");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

TEST_F(Wrong, AFallbackThatCannotBeKeptOutIsRefused) {
  fleet_.server().Exec("postgres", "GRANT platform_owner TO app_fallback");
  fleet_.Remember();
  ExpectError(FailsUntouched(), "PGC-CHECK-FAILED", "it is or acts as the database's owner");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

// ---- who else is kept out with the fallback -----------------------------------------------------------------------

class KeptOut : public ::testing::Test {
 protected:
  KeptOut() {
    fleet_.StartCoordinator();
    fleet_.StartWorker("a");
    // All of them but one could read something there.
    fleet_.server().Exec(
        database_,
        "CREATE ROLE grp; CREATE ROLE direct LOGIN; CREATE ROLE helpless LOGIN; "
        "CREATE ROLE member LOGIN IN ROLE grp; CREATE ROLE without_inheritance LOGIN NOINHERIT IN ROLE grp; "
        "CREATE ROLE everything LOGIN IN ROLE pg_read_all_data; CREATE ROLE chief LOGIN SUPERUSER; "
        "CREATE ROLE users; CREATE ROLE one_user LOGIN IN ROLE users; "
        "GRANT USAGE ON SCHEMA app TO direct, member, without_inheritance, users");
  }

  void Exec(const std::string& sql) { fleet_.server().Exec(database_, sql); }

  // Those whom PRE_VALIDATION warns of.
  std::string Named() {
    const auto stub = v1::MigrationService::NewStub(rpc::Connect(fleet_.address()));
    v1::InspectProjectsRequest request;
    request.set_plan_json(plan::CanonicalJson(fleet_.plan()));
    request.add_kinds(v1::PRE_CHECKS);
    v1::ProjectSpec& project = *request.add_projects();
    project.set_ref(fleet_.refs()[0]);
    const auto& attributes = fleet_.attributes(fleet_.refs()[0]);
    project.mutable_attributes()->insert(attributes.begin(), attributes.end());
    v1::InspectProjectsResponse response;
    // At first neither coordinator nor worker is there.
    const bool answered = Eventually([&] {
      grpc::ClientContext context;
      const auto reader = stub->InspectProjects(&context, request);
      return reader->Read(&response) && reader->Finish().ok();
    });
    if (!answered) {
      return "no answer";
    }
    for (const v1::CheckResult& check : response.inspections(0).checks()) {
      if (check.name() == "nobody-else-is-kept-out") {
        return check.passed() ? "nobody" : check.message().substr(check.message().rfind(": ") + 2);
      }
    }
    return "not asked: " + response.ShortDebugString();
  }

  CredentialsFleet fleet_{{.projects = 1, .lease_ttl = "30s"}};
  const std::string database_ = CredentialsFleet::Database(fleet_.refs()[0]);
};

TEST_F(KeptOut, WithTheFallbackAreThoseWhoGetInAsPublicOnlyAndCouldDoSomething) {
  const std::string connect = " CONNECT ON DATABASE \"" + database_ + "\"";
  Exec("REVOKE" + connect + " FROM PUBLIC");
  EXPECT_EQ(Named(), "nobody");
  Exec("GRANT" + connect + " TO PUBLIC");
  EXPECT_EQ(Named(), "direct, everything, member, one_user, without_inheritance");
  // A database of which nobody has ever changed who gets in.
  Exec("UPDATE pg_database SET datacl = NULL WHERE datname = current_database()");
  EXPECT_EQ(Named(), "direct, everything, member, one_user, without_inheritance");
  Exec("GRANT" + connect + " TO direct, grp");
  EXPECT_EQ(Named(), "everything, one_user, without_inheritance");
  Exec("GRANT" + connect + " TO pg_database_owner; GRANT platform_owner TO one_user");
  EXPECT_EQ(Named(), "everything, without_inheritance");
  Exec("GRANT USAGE ON SCHEMA app TO PUBLIC");
  EXPECT_EQ(Named(), "everything, helpless, without_inheritance");
  Exec("ALTER SCHEMA app OWNER TO helpless; REVOKE USAGE ON SCHEMA app FROM PUBLIC");
  EXPECT_EQ(Named(), "everything, helpless, without_inheritance");
  Exec("REVOKE" + connect + " FROM PUBLIC");
  EXPECT_EQ(Named(), "nobody");
}

class FallbackInUse : public Wrong {
 protected:
  FallbackInUse() {
    fleet_.plan().mutable_credentials()->mutable_fallback()->set_revoke_connect(false);
    fleet_.plan().mutable_checks()->RemoveLast();
  }
  auto LogIn() {
    return pg::Connection::Open(
        fleet_.server().EndpointFor("app_fallback", fleet_.env().at("PGCONVOY_FALLBACK_PASSWORD"),
                                    CredentialsFleet::Database(ref())),
        {});
  }
};

TEST_F(FallbackInUse, ASessionThatWasLeftOpenIsEnded) {
  const auto session = LogIn();
  ASSERT_TRUE(session.ok());
  fleet_.StartWorker("a");
  migration_ = fleet_.Submit({ref()});
  EXPECT_NE(fleet_.WaitEnded(migration_).state(), v1::MIGRATION_FAILED) << fleet_.WorkerLog("a");
  EXPECT_FALSE((*session)->Exec("SELECT 1").ok());
  EXPECT_EQ(fleet_.TryAsFallback(ref()), "");
}

TEST_F(FallbackInUse, AnApplicationThatComesBackWithItStopsTheProject) {
  std::atomic<bool> ended = false;
  std::thread application([&] {
    while (!ended) {
      if (const auto session = LogIn(); session.ok()) {
        while (!ended && (*session)->Exec("SELECT 1").ok()) {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
      }
    }
  });
  const v1::Error error = FailsUntouched();
  ended = true;
  application.join();
  ExpectError(error, "PGC-CHECK-FAILED", "fallback-unused: the application still logs in as \"app_fallback\"");
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

// ---- checks ------------------------------------------------------------------------------------------------------

// A server that answers what the plan may expect.
class HttpServer {
 public:
  explicit HttpServer(const std::string& folder) : port_(FreePort()) {
    process_ = std::make_unique<Process>(ProcessOptions{
        .argv = {"/usr/bin/python3", SourceFile("tests/integration/http_server.py"), std::to_string(port_)},
        .stdout_path = folder + "/http.log",
        .stderr_path = folder + "/http.log"});
    const std::string log = folder + "/http.log";
    if (!Eventually([&] { return ReadFile(log).find("serving") != std::string::npos; })) {
      throw std::runtime_error("the HTTP server does not start: " + ReadFile(log));
    }
  }
  std::string Url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }

 private:
  int port_;
  std::unique_ptr<Process> process_;
};

class PlanChecks : public ::testing::Test {
 protected:
  PlanChecks() : http_(fleet_.folder()) {
    fleet_.env()["no_proxy"] = "127.0.0.1";
    fleet_.env()["PGCONVOY_TEST_TOKEN"] = "Bearer of-the-tests";
    fleet_.env()["PGCONVOY_TEST_URL"] = http_.Url("/project/{ref}");
    fleet_.env()["PGCONVOY_TEST_EMPTY"] = "";
    fleet_.plan().clear_checks();
  }

  v1::Check& Add(const std::string& name, v1::Check::Stage stage = v1::Check::PRE) {
    v1::Check* const check = fleet_.plan().add_checks();
    check->set_name(name);
    check->set_stage(stage);
    return *check;
  }
  v1::Check& AddSql(const std::string& name, v1::Check::Place place, const std::string& sql) {
    v1::Check& check = Add(name);
    check.set_place(place);
    check.set_sql(sql);
    return check;
  }
  v1::Check& AddEquals(const std::string& name, const std::string& sql, const std::string& other) {
    v1::Check& check = AddSql(name, v1::Check::SOURCE, sql);
    check.mutable_equals()->set_place(v1::Check::REGISTRY);
    check.mutable_equals()->set_sql(other);
    return check;
  }
  v1::Check& AddHttp(const std::string& name, const std::string& url) {
    v1::Check& check = Add(name);
    check.mutable_http()->set_url(url);
    return check;
  }
  v1::Check& AddConnection(const std::string& name, const std::string& user, bool refused) {
    v1::Check& check = Add(name);
    check.set_place(v1::Check::SOURCE);
    check.mutable_connection()->set_user(user);
    check.mutable_connection()->set_password("${env:PGCONVOY_FALLBACK_PASSWORD}");
    check.mutable_connection()->set_refused(refused);
    return check;
  }

  // What PRE_VALIDATION found, by name: "" or the message.
  std::map<std::string, std::string> Run() {
    for (v1::Check& check : *fleet_.plan().mutable_checks()) {
      check.set_severity(v1::Check::WARNING);
    }
    fleet_.StartCoordinator();
    fleet_.StartWorker("a");
    const std::string ref = fleet_.refs()[0];
    const std::string migration = fleet_.Submit({ref});
    EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED_WITH_WARNINGS) << fleet_.WorkerLog("a");
    std::map<std::string, std::string> found;
    const v1::Project project = fleet_.GetProject(migration, ref);
    for (const v1::PhaseResult& result : project.results()) {
      for (const v1::CheckResult& check : result.checks().checks()) {
        found[check.name()] = check.passed() ? "" : check.message();
      }
    }
    EXPECT_EQ(fleet_.WorkerLog("a").find("of-the-tests"), std::string::npos) << "a secret is in the log";
    return found;
  }

  CredentialsFleet fleet_{{.projects = 1, .lease_ttl = "30s"}};
  HttpServer http_;
};

TEST_F(PlanChecks, OfEveryKindSayWhatTheyFound) {
  AddSql("sql-true", v1::Check::SOURCE, "SELECT count(*) = 20 FROM app.customers");
  AddSql("sql-false", v1::Check::REGISTRY,
         "SELECT credential_status = 'active' FROM public.projects WHERE ref = {ref}");
  AddSql("sql-broken", v1::Check::REGISTRY, "SELECT nothing FROM public.nowhere");
  AddEquals("same", "SELECT n, {ref} FROM generate_series(1, 5) n", "SELECT n, {ref} FROM generate_series(1, 5) n");
  AddEquals("two-differ", "SELECT n FROM generate_series(1, 5) n",
            "SELECT CASE n WHEN 3 THEN 99 ELSE n END FROM generate_series(1, 4) n");
  AddEquals("null-is-not-text", "SELECT NULL::text", "SELECT '\\N'");
  AddConnection("login-works", "app_fallback", false);
  AddConnection("login-fails", "nobody", false);
  AddConnection("refused", "nobody", true);
  AddConnection("not-refused", "app_fallback", true);
  Add("environment").add_environment("PGCONVOY_TEST_TOKEN");
  Add("environment-missing").add_environment("PGCONVOY_TEST_EMPTY");
  AddHttp("http", http_.Url("/project/{ref}")).mutable_http()->set_expect_body("hello {ref}");
  AddHttp("http-from-environment", "${env:PGCONVOY_TEST_URL}").mutable_http()->set_expect_body("hello {ref}");
  AddHttp("http-status", http_.Url("/missing"));
  AddHttp("http-status-wanted", http_.Url("/missing")).mutable_http()->set_expect_status(404);
  AddHttp("http-body", http_.Url("/project/x")).mutable_http()->set_expect_body("hello {ref}");
  AddHttp("http-redirect", http_.Url("/redirect"));
  AddHttp("http-secret", http_.Url("/secret"));
  (*fleet_.plan().mutable_checks()->rbegin()->mutable_http()->mutable_headers())["Authorization"] =
      "${env:PGCONVOY_TEST_TOKEN}";
  AddHttp("http-without-secret", http_.Url("/secret"));
  AddHttp("http-endless", http_.Url("/endless")).mutable_http()->set_expect_body("xxxx");
  AddHttp("http-slow", http_.Url("/slow")).mutable_http()->set_timeout_ms(200);
  AddHttp("http-nobody", "http://127.0.0.1:" + std::to_string(FreePort()) + "/");
  Add("integrity", v1::Check::INTEGRITY).set_place(v1::Check::SOURCE);
  fleet_.plan().mutable_checks()->rbegin()->set_sql("SELECT false");

  const auto found = Run();
  const std::map<std::string, std::string> expected = {
      {"sql-true", ""},
      {"sql-false", "the check's statement did not return true"},
      {"same", ""},
      {"two-differ", "2 of 5 row(s) differ (5 against 4)"},
      {"null-is-not-text", "1 of 1 row(s) differ (1 against 1)"},
      {"login-works", ""},
      {"refused", ""},
      {"not-refused", "login \"app_fallback\" is not refused"},
      {"environment", ""},
      {"environment-missing", "not set in the worker's environment: PGCONVOY_TEST_EMPTY"},
      {"http", ""},
      {"http-from-environment", ""},
      {"http-status", "the endpoint answered 404, not 200"},
      {"http-status-wanted", ""},
      {"http-body", "the endpoint's answer does not hold what is expected"},
      {"http-redirect", "the endpoint answered 302, not 200"},
      {"http-secret", ""},
      {"http-without-secret", "the endpoint answered 401, not 200"},
      {"http-endless", ""},
      {"integrity", "the check's statement did not return true"},
  };
  for (const auto& [name, message] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_EQ(found.at(name), message) << name;
  }
  EXPECT_THAT(found.at("sql-broken"), HasSubstr("PGC-PG-NO-TABLE"));
  EXPECT_THAT(found.at("login-fails"), HasSubstr("PGC-PG-AUTH"));
  EXPECT_THAT(found.at("http-slow"), HasSubstr("PGC-HTTP-FAILED"));
  EXPECT_THAT(found.at("http-nobody"), HasSubstr("PGC-HTTP-FAILED"));
}

TEST_F(PlanChecks, AreWarningsWhereTheirPhaseIsSkipped) {
  fleet_.plan().mutable_execution()->set_skip_pre_validation(true);
  fleet_.plan().mutable_execution()->set_skip_post_validation(true);
  AddSql("before", v1::Check::SOURCE, "SELECT false");
  AddSql("after", v1::Check::SOURCE, "SELECT false").set_stage(v1::Check::POST);
  fleet_.StartCoordinator();
  fleet_.StartWorker("a");
  const std::string migration = fleet_.Submit();
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED_WITH_WARNINGS) << fleet_.WorkerLog("a");
  const v1::Project project = fleet_.GetProject(migration, fleet_.refs()[0]);
  EXPECT_THAT(project.warnings(),
              ::testing::IsSupersetOf({"before: skipped: the check's statement did not return true",
                                       "after: skipped: the check's statement did not return true"}));
}

TEST_F(PlanChecks, OfSeverityErrorStopTheProject) {
  Add("environment-missing").add_environment("PGCONVOY_TEST_EMPTY");
  AddHttp("http-status", http_.Url("/missing"));
  AddConnection("not-refused", "app_fallback", true);
  AddEquals("differ", "SELECT 1", "SELECT 2");
  fleet_.StartCoordinator();
  fleet_.StartWorker("a");
  const std::string migration = fleet_.Submit();
  fleet_.WaitEnded(migration);
  const v1::Error error = fleet_.GetProject(migration, fleet_.refs()[0]).error();
  EXPECT_EQ(error.code(), "PGC-CHECK-FAILED");
  for (const char* const name : {"environment-missing: ", "http-status: ", "not-refused: ", "differ: 1 of 1"}) {
    EXPECT_THAT(error.message(), HasSubstr(name));
  }
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[0]), "");
}

}  // namespace
}  // namespace pgconvoy::testing
