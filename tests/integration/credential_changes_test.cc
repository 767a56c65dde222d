// New passwords for logins that a migration made, and their end: what works before, after and in between, on real
// servers, with the real command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "common/pg/connection.h"
#include "common/pg/pg_error.h"
#include "tests/integration/credentials_fleet.h"
#include "tests/integration/fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kKilled = 128 + SIGKILL;
constexpr char kWrongPassword[] = "28P01";

Finished RunCli(const Installation& installation, std::vector<std::string> args) {
  args.insert(args.begin(), {BinaryPath("pgconvoy"), "--address", installation.address(), "--no-input"});
  return RunToEnd({.argv = args, .env = {{"HOME", installation.folder()}, {"SUDO_USER", "alice"}}},
                  std::chrono::seconds(120));
}

// A fleet that is migrated already.
class Migrated {
 public:
  explicit Migrated(int projects) : fleet_({.projects = projects}) {
    std::ofstream(fleet_.folder() + "/operator.key") << fleet_.private_key().Reveal();
    ::chmod((fleet_.folder() + "/operator.key").c_str(), 0600);
    fleet_.StartCoordinator();
    fleet_.StartWorker("w");
    migration_ = fleet_.Submit();
    EXPECT_EQ(fleet_.WaitEnded(migration_).state(), v1::MIGRATION_SUCCEEDED) << fleet_.WorkerLog("w");
  }

  Fleet& fleet() { return fleet_; }
  const std::string& migration() const { return migration_; }
  Finished Cli(const std::vector<std::string>& args) { return RunCli(fleet_, args); }

  Finished TryReveal(const std::string& ref, const std::string& of = "") {
    return Cli({"-o", "json", "credentials", "reveal", of.empty() ? migration_ : of, ref, "--key",
                fleet_.folder() + "/operator.key"});
  }
  std::string Reveal(const std::string& ref, const std::string& of = "") {
    const Finished done = TryReveal(ref, of);
    const auto answer = json::parse(done.out, nullptr, /*allow_exceptions=*/false);
    return answer.is_object() ? answer.value("password", "") : "";
  }

  Finished Change(const std::string& verb, const std::string& ref, std::vector<std::string> more = {"--wait"}) {
    std::vector<std::string> args = {"credentials", verb, "--migration", migration_, "--projects", ref, "--yes"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args);
  }
  // Begins it and gives the id of the migration that does it.
  std::string Begin(const std::string& verb, const std::string& ref) {
    const Finished begun = Change(verb, ref, {"-o", "name"});
    EXPECT_EQ(begun.exit_code, 0) << begun.err;
    return begun.out.substr(0, begun.out.find('\n'));
  }

  absl::StatusOr<std::unique_ptr<pg::Connection>> Open(const std::string& ref, const std::string& password) {
    const std::string name = "project_" + ref;
    return pg::Connection::Open(fleet_.target().EndpointFor(name, password, name), {});
  }
  // "" when the project's login works with this password, else the SQLSTATE.
  std::string TryLogin(const std::string& ref, const std::string& password) {
    const auto session = Open(ref, password);
    return session.ok() ? pg::SqlStateOf((*session)->Exec("SELECT count(*) FROM auth.users").status())
                        : pg::SqlStateOf(session.status());
  }
  std::string Verifier(const std::string& ref) {
    return fleet_.target().QueryValue("postgres",
                                      "SELECT rolpassword FROM pg_authid WHERE rolname = 'project_" + ref + "'");
  }

  // That exactly the password that `reveal` shows works, and that role, registry and cutover record agree.
  void ExpectOnlyTheRevealedPasswordWorks(const std::string& ref, const std::vector<std::string>& former) {
    const std::string now = Reveal(ref);
    EXPECT_EQ(TryLogin(ref, now), "");
    for (const std::string& password : former) {
      EXPECT_NE(password, now);
      EXPECT_EQ(TryLogin(ref, password), kWrongPassword);
    }
    EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");
    EXPECT_EQ(fleet_.Leftovers(), "");
    const Finished repair = Cli({"repair", migration_, "--project", ref});
    EXPECT_EQ(repair.exit_code, 0) << repair.out << repair.err;
  }

 private:
  Fleet fleet_;
  std::string migration_;
};

TEST(Rotate, GivesANewPasswordAndRefusesTheFormerOne) {
  Migrated world(2);
  const std::string ref = world.fleet().refs()[0];
  const std::string other = world.fleet().refs()[1];
  const std::string old_password = world.Reveal(ref);
  const std::string untouched = world.Reveal(other);
  const auto open = world.Open(ref, old_password);
  ASSERT_TRUE(open.ok());

  const Finished refused = world.Cli({"credentials", "rotate", "--migration", world.migration(), "--all"});
  EXPECT_EQ(refused.exit_code, 4) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("--all --yes"));
  EXPECT_EQ(world.TryLogin(ref, old_password), "");

  const Finished rotated = world.Change("rotate", ref, {"--wait", "--reason", "CHG-77"});
  EXPECT_EQ(rotated.exit_code, 0) << rotated.err << world.fleet().WorkerLog("w");
  world.ExpectOnlyTheRevealedPasswordWorks(ref, {old_password});
  EXPECT_TRUE((*open)->Exec("SELECT 1").ok()) << "who is in stays in";
  EXPECT_EQ(world.TryLogin(other, untouched), "");
  EXPECT_EQ(world.Reveal(ref, "2"), world.Reveal(ref));

  // By the migration that rotated, by all, with JSON.
  const std::string second = world.Reveal(ref);
  const Finished all = world.Cli({"-o", "json", "credentials", "rotate", "--migration", "2", "--all", "--yes"});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  const auto answer = json::parse(all.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(answer.is_object()) << all.out;
  EXPECT_EQ(answer["migration"]["projects_total"], "2");
  EXPECT_EQ(world.fleet().WaitEnded("3").state(), v1::MIGRATION_SUCCEEDED);
  world.ExpectOnlyTheRevealedPasswordWorks(ref, {old_password, second});
  world.ExpectOnlyTheRevealedPasswordWorks(other, {untouched});
  EXPECT_EQ(world.Reveal(ref, "2"), world.Reveal(ref)) << "not what an older rotation left";

  const Finished events = world.Cli({"-o", "json", "get", "events", "--migration", world.migration()});
  EXPECT_THAT(events.out, AllOf(HasSubstr("CREDENTIALS_CHANGE_SUBMITTED"), HasSubstr("operator:alice"),
                                HasSubstr("CHG-77"), HasSubstr("rotate-isolate-projects")));
  EXPECT_EQ(world.Cli({"audit", "verify"}).exit_code, 0);
  const Finished validated = world.Cli({"validate", world.migration(), "--comprehensive"});
  EXPECT_EQ(validated.exit_code, 0) << validated.out;
}

TEST(Revoke, EndsSessionsAndLoginsUntilARotationGivesThemBack) {
  Migrated world(2);
  const std::string ref = world.fleet().refs()[0];
  const std::string old_password = world.Reveal(ref);
  const auto open = world.Open(ref, old_password);
  ASSERT_TRUE(open.ok());
  // Once more changes nothing.
  for (int i = 0; i < 2; ++i) {
    const Finished revoked = world.Change("revoke", ref);
    EXPECT_EQ(revoked.exit_code, 0) << revoked.err << world.fleet().WorkerLog("w");
    EXPECT_FALSE((*open)->Exec("SELECT 1").ok());
    EXPECT_EQ(world.TryLogin(ref, old_password), kWrongPassword);
    EXPECT_EQ(world.Verifier(ref), "");
    EXPECT_EQ(world.fleet().target().QueryValue(
                  "postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'project_" + ref + "'"),
              "f");
  }
  const Finished reveal = world.TryReveal(ref);
  EXPECT_EQ(reveal.exit_code, 4) << reveal.out;
  EXPECT_THAT(reveal.err, HasSubstr("PGC-CREDENTIALS-REVOKED"));
  EXPECT_EQ(world.Cli({"repair", world.migration(), "--project", ref, "--mend"}).exit_code, 0);
  EXPECT_EQ(world.TryLogin(ref, old_password), kWrongPassword) << "a repair gives nobody back what was taken";
  const Finished validated = world.Cli({"validate", world.migration()});
  EXPECT_EQ(validated.exit_code, 2) << validated.out << validated.err;
  EXPECT_THAT(validated.out, HasSubstr("was revoked"));
  EXPECT_EQ(world.TryLogin(world.fleet().refs()[1], world.Reveal(world.fleet().refs()[1])), "");

  EXPECT_EQ(world.Change("rotate", ref).exit_code, 0);
  world.ExpectOnlyTheRevealedPasswordWorks(ref, {old_password});

  // Whatever was done to the login, a rollback of the migration that made it takes it away.
  EXPECT_EQ(world.Change("revoke", ref).exit_code, 0);
  world.fleet().Rollback(world.migration(), ref, /*discard_writes=*/false);
  world.fleet().WaitEnded(world.migration());
  EXPECT_EQ(world.fleet().WhyNotUntouched(ref), "");
  const Finished gone = world.Change("rotate", ref);
  EXPECT_EQ(gone.exit_code, 4) << gone.err;
  EXPECT_THAT(gone.err, HasSubstr("PGC-CREDENTIALS-STATE"));
}

TEST(Rotate, CanBeRolledBackUnlessALaterOneStands) {
  Migrated world(1);
  const std::string ref = world.fleet().refs()[0];
  const std::string first = world.Reveal(ref);
  ASSERT_EQ(world.Change("rotate", ref).exit_code, 0);
  const std::string second = world.Reveal(ref);
  ASSERT_EQ(world.Change("rotate", ref).exit_code, 0);
  const std::string third = world.Reveal(ref);
  // The older of the two: nothing changes.
  ASSERT_EQ(world.Cli({"rollback", "2", "--wait", "--yes"}).exit_code, 0);
  EXPECT_EQ(world.Reveal(ref), third);
  world.ExpectOnlyTheRevealedPasswordWorks(ref, {first, second});
  // The newer one: what was in force before and was not rolled back.
  ASSERT_EQ(world.Cli({"rollback", "3", "--wait", "--yes"}).exit_code, 0);
  EXPECT_EQ(world.Reveal(ref), first);
  world.ExpectOnlyTheRevealedPasswordWorks(ref, {second, third});
  // A revocation is undone in the same way.
  ASSERT_EQ(world.Change("revoke", ref).exit_code, 0);
  ASSERT_EQ(world.Cli({"rollback", "4", "--wait", "--yes"}).exit_code, 0);
  world.ExpectOnlyTheRevealedPasswordWorks(ref, {second, third});
}

TEST(Rotate, IsRefusedWhileAMigrationHoldsTheProject) {
  Migrated world(2);
  const std::string ref = world.fleet().refs()[0];
  const std::string verifier = world.Verifier(ref);
  world.fleet().worker("w").Kill(SIGTERM);
  EXPECT_EQ(world.fleet().worker("w").Wait(), 0);
  const std::string held = world.Begin("rotate", ref);
  for (const char* const verb : {"rotate", "revoke"}) {
    const Finished refused = world.Change(verb, ref);
    EXPECT_EQ(refused.exit_code, 4) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("PGC-PROJECT-BUSY"));
  }
  const Finished rollback = world.Cli({"rollback", world.migration(), "--yes"});
  EXPECT_NE(rollback.exit_code, 0);
  EXPECT_THAT(rollback.err, HasSubstr("PGC-PROJECT-BUSY"));
  EXPECT_EQ(world.Verifier(ref), verifier);
  world.fleet().Cancel(held);
  EXPECT_EQ(world.fleet().WaitEnded(held).state(), v1::MIGRATION_CANCELLED);

  // The migration that makes the login is under way itself.
  Fleet fresh({.projects = 1});
  fresh.StartCoordinator();
  const std::string migration = fresh.Submit();
  const Finished early =
      RunCli(fresh, {"credentials", "rotate", "--migration", migration, "--projects", fresh.refs()[0], "--yes"});
  EXPECT_EQ(early.exit_code, 4) << early.err;
  EXPECT_THAT(early.err, HasSubstr("PGC-PROJECT-BUSY"));
}

TEST(Rotate, LeavesRolesAndRowsThatAreNotTheMigrationsAlone) {
  Migrated world(2);
  const std::string ref = world.fleet().refs()[0];
  const std::string other = world.fleet().refs()[1];
  // A role of that name that somebody else has made.
  world.fleet().target().Exec("postgres", "COMMENT ON ROLE \"project_" + ref + "\" IS 'shared by everybody'");
  const std::string verifier = world.Verifier(ref);
  for (const char* const verb : {"rotate", "revoke"}) {
    const std::string id = world.Begin(verb, ref);
    EXPECT_EQ(world.fleet().WaitEnded(id).state(), v1::MIGRATION_FAILED);
    EXPECT_EQ(world.fleet().GetProject(id, ref).error().code(), "PGC-CREDENTIALS-ROLE");
    EXPECT_EQ(world.fleet().GetProject(id, ref).state(), v1::FAILED);
  }
  EXPECT_EQ(world.Verifier(ref), verifier);
  EXPECT_EQ(world.fleet().WhyNotIsolated(ref), "");

  const std::string second = world.Verifier(other);
  world.fleet().source().Exec("platform",
                              "UPDATE public.projects SET credential_status = 'odd' WHERE ref = '" + other + "'");
  const std::string id = world.Begin("rotate", other);
  EXPECT_EQ(world.fleet().WaitEnded(id).state(), v1::MIGRATION_FAILED);
  EXPECT_EQ(world.fleet().GetProject(id, other).error().code(), "PGC-CREDENTIALS-REGISTRY");
  EXPECT_EQ(world.Verifier(other), second);

  const Finished no_such = world.Change("rotate", "nobody");
  EXPECT_EQ(no_such.exit_code, 1) << no_such.err;
  const Finished both = world.Cli({"credentials", "rotate", "--all", "--projects", ref, "--yes"});
  EXPECT_EQ(both.exit_code, 64) << both.err;
}

// ---- workers that die ------------------------------------------------------------------------------------------

// One fleet for all the places; each takes the next project of it.
class KilledChange : public ::testing::TestWithParam<const char*> {
 public:
  static void TearDownTestSuite() { world_.reset(); }

 protected:
  static Migrated& world() {
    if (!world_) {
      world_ = std::make_unique<Migrated>(12);
      next_ = 0;
    }
    return *world_;
  }
  static std::string NextProject() { return world().fleet().refs().at(next_++); }

  // Begins it with a worker that dies at `place`.
  static std::string DieIn(const std::string& verb, const std::string& ref, const std::string& place) {
    Fleet& fleet = world().fleet();
    fleet.worker("w").Kill(SIGTERM);
    EXPECT_EQ(fleet.worker("w").Wait(), 0);
    const std::string id = world().Begin(verb, ref);
    EXPECT_EQ(fleet.StartWorker("w", place + "=kill").Wait(), kKilled) << fleet.WorkerLog("w");
    return id;
  }

 private:
  static inline std::unique_ptr<Migrated> world_;
  static inline size_t next_ = 0;
};

class KilledRotation : public KilledChange {};

TEST_P(KilledRotation, IsFinishedByTheNextWorkerWithOnePasswordThatWorks) {
  const std::string ref = NextProject();
  const std::string old_password = world().Reveal(ref);
  const std::string id = DieIn("rotate", ref, GetParam());
  world().fleet().StartWorker("w");
  ASSERT_EQ(world().fleet().WaitEnded(id).state(), v1::MIGRATION_SUCCEEDED) << world().fleet().WorkerLog("w");
  world().ExpectOnlyTheRevealedPasswordWorks(ref, {old_password});
  EXPECT_EQ(world().Change("rotate", ref).exit_code, 0);
  world().ExpectOnlyTheRevealedPasswordWorks(ref, {old_password});
}

TEST_P(KilledRotation, IsUndoneToTheFormerPasswordWhenItIsCancelled) {
  const std::string ref = NextProject();
  const std::string old_password = world().Reveal(ref);
  const std::string id = DieIn("rotate", ref, GetParam());
  world().fleet().Cancel(id);
  world().fleet().StartWorker("w");
  ASSERT_EQ(world().fleet().WaitEnded(id).state(), v1::MIGRATION_CANCELLED) << world().fleet().WorkerLog("w");
  EXPECT_EQ(world().Reveal(ref), old_password);
  world().ExpectOnlyTheRevealedPasswordWorks(ref, {});
  // And once more.
  EXPECT_EQ(world().Change("rotate", ref).exit_code, 0);
  world().ExpectOnlyTheRevealedPasswordWorks(ref, {old_password});
}

INSTANTIATE_TEST_SUITE_P(Places,
                         KilledRotation,
                         ::testing::Values("worker.rotate.sealed",
                                           "worker.rotate.changed",
                                           "worker.rotate.tested",
                                           "worker.phase.CREDENTIALS.done",
                                           "worker.rotate.before_published",
                                           "worker.rotate.published"));

class KilledRevocation : public KilledChange {};

TEST_P(KilledRevocation, IsFinishedByTheNextWorker) {
  const std::string ref = NextProject();
  const std::string old_password = world().Reveal(ref);
  const auto open = world().Open(ref, old_password);
  ASSERT_TRUE(open.ok());
  const std::string id = DieIn("revoke", ref, GetParam());
  world().fleet().StartWorker("w");
  ASSERT_EQ(world().fleet().WaitEnded(id).state(), v1::MIGRATION_SUCCEEDED) << world().fleet().WorkerLog("w");
  EXPECT_FALSE((*open)->Exec("SELECT 1").ok());
  EXPECT_EQ(world().TryLogin(ref, old_password), kWrongPassword);
  EXPECT_EQ(world().Change("rotate", ref).exit_code, 0);
  world().ExpectOnlyTheRevealedPasswordWorks(ref, {old_password});
}

INSTANTIATE_TEST_SUITE_P(Places, KilledRevocation, ::testing::Values("worker.revoke.shut", "worker.revoke.ended"));

// ---- workers that wake up --------------------------------------------------------------------------------------

class StoppedRotation : public ::testing::TestWithParam<const char*> {};

TEST_P(StoppedRotation, ChangesNothingWhenItWakesBehindTheNext) {
  Migrated world(1);
  Fleet& fleet = world.fleet();
  const std::string ref = fleet.refs()[0];
  const std::string old_password = world.Reveal(ref);
  fleet.worker("w").Kill(SIGTERM);
  ASSERT_EQ(fleet.worker("w").Wait(), 0);
  const std::string id = world.Begin("rotate", ref);
  fleet.StartWorker("z", std::string(GetParam()) + "=stop");
  ASSERT_TRUE(Eventually([&] { return fleet.worker("z").Stopped(); })) << fleet.WorkerLog("z");
  fleet.StartWorker("b");
  ASSERT_EQ(fleet.WaitEnded(id).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("b");
  const std::string verifier = world.Verifier(ref);
  fleet.worker("z").Kill(SIGCONT);
  ASSERT_TRUE(Eventually([&] { return fleet.WorkerLog("z").find("attempt ended") != std::string::npos; }))
      << fleet.WorkerLog("z");
  EXPECT_EQ(world.Verifier(ref), verifier);
  world.ExpectOnlyTheRevealedPasswordWorks(ref, {old_password});
}

INSTANTIATE_TEST_SUITE_P(Places,
                         StoppedRotation,
                         ::testing::Values("worker.rotate.sealed",
                                           "worker.rotate.changed",
                                           "worker.rotate.before_published"));

// ---- plans without a target ------------------------------------------------------------------------------------

TEST(RotateInPlace, ChangesTheProjectsLoginAndNeverTheSharedOne) {
  CredentialsFleet fleet({.projects = 4});
  fleet.StartCoordinator();
  fleet.StartWorker("w");
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  const auto fallback = [&] {
    return fleet.server().QueryValue("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'app_fallback'");
  };
  const std::string shared = fallback();
  std::vector<Secret> former;
  for (const std::string& ref : fleet.refs()) {
    former.push_back(fleet.Reveal(migration, ref));
  }
  const Finished rotated =
      RunCli(fleet, {"credentials", "rotate", "--migration", migration, "--all", "--wait", "--yes"});
  EXPECT_EQ(rotated.exit_code, 0) << rotated.err << fleet.WorkerLog("w");
  for (size_t i = 0; i < fleet.refs().size(); ++i) {
    const std::string& ref = fleet.refs()[i];
    const std::string user = CredentialsFleet::User(ref);
    EXPECT_EQ(fleet.TryAs(user, former[i], ref, "SELECT 1"), "login 28P01");
    EXPECT_EQ(fleet.TryAs(user, fleet.Reveal(migration, ref), ref, "SELECT count(*) FROM app.customers"), "");
    EXPECT_EQ(fleet.WhyNotMigrated(ref), "") << "the history has one row, the registry the new verifier";
  }
  const Finished revoked = RunCli(
      fleet, {"credentials", "revoke", "--migration", migration, "--projects", fleet.refs()[0], "--wait", "--yes"});
  EXPECT_EQ(revoked.exit_code, 0) << revoked.err;
  EXPECT_EQ(fallback(), shared);
  fleet.Rollback(migration, "", /*discard_writes=*/false);
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK) << fleet.WorkerLog("w");
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotUntouched(ref), "");
  }
}

TEST(Rotate, IsForMigrationsThatMadeLogins) {
  Fleet fleet({.projects = 1});
  fleet.StartCoordinator();
  fleet.StartWorker("w");
  fleet.plan().mutable_execution()->set_mode(v1::Execution::BACKUP_ONLY);
  const std::string migration = fleet.Submit();
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  const Finished none = RunCli(fleet, {"credentials", "rotate", "--migration", migration, "--all", "--yes"});
  EXPECT_EQ(none.exit_code, 4) << none.err;
  EXPECT_THAT(none.err, HasSubstr("PGC-CREDENTIALS-NONE"));
}

}  // namespace
}  // namespace pgconvoy::testing
