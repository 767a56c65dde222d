// Plans that change a database in place: unify-auth and consolidate-roles, forward and back, with workers that die.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/integration/in_place_fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

constexpr int kKilled = 128 + SIGKILL;

// Where a worker dies; each is tried forward to the end, and as the place from which a rollback begins.
const char* const kPlaces[] = {
    "worker.phase.FENCE.started",  "worker.phase.FENCE.done",        "worker.phase.PRE_VALIDATION.done",
    "worker.backup.table",         "worker.backup.sealed",           "worker.phase.BACKUP.done",
    "worker.transform.changed",    "worker.transform.before_commit", "worker.transform.after_commit",
    "worker.phase.TRANSFORM.done", "worker.phase.VERIFY.done",       "worker.cutover.before_commit",
    "worker.cutover.after_commit", "worker.phase.CUTOVER.done",      "worker.phase.POST_VALIDATION.done",
    "worker.phase.CLEANUP.done"};

// The only file below `folder` whose name begins so.
std::string Only(const std::string& folder, const std::string& prefix) {
  std::string found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(prefix)) {
      EXPECT_EQ(found, "");
      found = entry.path();
    }
  }
  return found;
}

TEST(UnifyAuth, MovesUsersAndSessionsAndPreservesTheLegacyTables) {
  InPlaceFleet fleet("unify-auth", 3, "30s");
  PgCluster& server = fleet.server();
  const std::string legacy = "SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM legacy.users u";
  const std::string before = server.QueryValue("app-0001", legacy);
  fleet.StartCoordinator();
  const v1::Migration ended = fleet.Run(fleet.Submit());
  EXPECT_EQ(ended.state(), v1::MIGRATION_SUCCEEDED) << ended.ShortDebugString() << fleet.WorkerLog("w");
  EXPECT_EQ(server.QueryValue("app-0001", legacy), before);
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.RegistryValue(ref, "auth_system"), "unified");
    EXPECT_EQ(fleet.RegistryValue(ref, "maintenance"), "false");
    EXPECT_EQ(server.QueryValue(ref,
                                "SELECT count(*) FROM legacy.users l LEFT JOIN auth.users u ON u.legacy_id = l.id "
                                "WHERE u.password_hash IS DISTINCT FROM l.password_hash OR u.updated_at <> "
                                "coalesce(l.last_login, l.created_at)"),
              "0");
    EXPECT_EQ(
        server.QueryValue(ref,
                          "SELECT count(*) FROM legacy.sessions l LEFT JOIN auth.sessions s USING (token) WHERE "
                          "s.expires_at IS DISTINCT FROM l.expires_at"),
        "0");
    EXPECT_EQ(server.QueryValue(ref, "SELECT string_agg(tgenabled::text, '') FROM pg_trigger WHERE NOT tgisinternal"),
              "O");
  }
}

TEST(ConsolidateRoles, MapsRolesReplacesPoliciesAndLogsEveryChangedUser) {
  InPlaceFleet fleet("consolidate-roles", 2, "30s");
  PgCluster& server = fleet.server();
  server.Exec("app-0001",
              "CREATE TABLE public.before_roles AS SELECT id, role, updated_at FROM public.user_profiles");
  fleet.StartCoordinator();
  const v1::Migration ended = fleet.Run(fleet.Submit());
  EXPECT_EQ(ended.state(), v1::MIGRATION_SUCCEEDED) << ended.ShortDebugString() << fleet.WorkerLog("w");
  EXPECT_EQ(server.QueryValue("app-0001", "SELECT string_agg(DISTINCT role, ',' ORDER BY role) FROM user_profiles"),
            "admin,contributor,editor,manager,owner,viewer");
  EXPECT_EQ(server.QueryValue("app-0001",
                              "SELECT count(*) FROM user_profiles u JOIN before_roles b USING (id) WHERE "
                              "u.updated_at <> b.updated_at"),
            "0");
  // The log holds each user whose role changed, and no other.
  EXPECT_EQ(server.QueryValue(
                "app-0001",
                "SELECT count(*) FROM user_profiles u JOIN before_roles b USING (id) FULL JOIN (SELECT "
                "(c.before::public.user_profiles).id, (c.before::public.user_profiles).role AS old, "
                "(c.after::public.user_profiles).role AS new FROM pgconvoy_transform.change c) l USING (id) WHERE "
                "(u.role <> b.role) IS DISTINCT FROM (l.id IS NOT NULL) OR l.old <> b.role OR l.new <> u.role"),
            "0");
  EXPECT_EQ(server.QueryValue("app-0001", "SELECT count(*) FROM pg_policies WHERE qual LIKE '%super_admin%'"), "0");
}

// For those who are used to asking their migration in SQL.
TEST(ConsolidateRoles, AnswersTheQueriesOfItsPredecessorFromViewsOverTheStore) {
  InPlaceFleet fleet("consolidate-roles", 2, "30s");
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.Run(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  fleet.AddViewsToStore();
  PgCluster& store = fleet.store();
  const auto ask = [&store](const std::string& sql) { return store.QueryValue("postgres", sql); };
  EXPECT_EQ(ask("SELECT status || ' ' || total_projects || ' ' || migrated_projects FROM "
                "migration_tracking.get_migration_status('" +
                migration + "')"),
            "SUCCEEDED 2 2");
  EXPECT_EQ(ask("SELECT sum(rows_updated) FROM migration_tracking.migration_log WHERE project = 'app-0001'"),
            fleet.server().QueryValue("app-0001", "SELECT count(*) FROM pgconvoy_transform.change"));
  EXPECT_EQ(ask("SELECT string_agg(table_name, ',' ORDER BY table_name) FROM migration_tracking.rls_policy_changes "
                "WHERE project = 'app-0002' AND NOT restored"),
            "public.documents,public.user_profiles");
  EXPECT_EQ(ask("SELECT count(*) FROM migration_backup.get_backup_summary() WHERE tables = 2 AND rows = 286"), "2");
  EXPECT_EQ(ask("SELECT count(*) FROM migration_backup.list_available_backups()"), "2");
  EXPECT_EQ(ask("SELECT sum(rows) FROM migration_backup.user_sessions_backup"), "286");
  EXPECT_EQ(ask("SELECT count(*) > 0 AND bool_and(passed OR is_warning) FROM "
                "migration_validation.run_comprehensive_validation('post_migration')"),
            "t");
  EXPECT_EQ(ask("SELECT count(*) FROM migration_control.get_infrastructure_status() WHERE component = 'leader'"),
            "1");
  EXPECT_THROW(ask("SELECT migration_backup.execute_rollback('app-0001/1', 'why')"), std::runtime_error);
  fleet.Rollback(migration, /*ref=*/"app-0001", /*discard_writes=*/false);
  fleet.WaitEnded(migration);
  EXPECT_EQ(ask("SELECT count(*) FROM migration_backup.validate_rollback_success('', '" + migration +
                "') WHERE finding = 'all tables are identical to the backup'"),
            "1");
}

class InPlace : public ::testing::TestWithParam<const char*> {};

TEST_P(InPlace, RollbackPutsEverythingBack) {
  InPlaceFleet fleet(GetParam(), 1, "30s");
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref);
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.Run(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  EXPECT_NE(fleet.Everything(ref), before);
  fleet.Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK) << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.Everything(ref), before);
}

// Each place in turn on one installation: the worker dies there, another one finishes; then a rollback, in which the
// worker dies as well.
TEST_P(InPlace, AWorkerThatDiesAnywhereLosesNothing) {
  InPlaceFleet fleet(GetParam(), 1);
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref);
  fleet.StartCoordinator();
  const char* const undo_places[] = {"worker.rollback.FENCE.done", "worker.transform.undo_before_commit",
                                     "worker.transform.undo_after_commit", "worker.rollback.TRANSFORM.done",
                                     "worker.rollback.VERIFY.done"};
  for (size_t i = 0; i < std::size(kPlaces); ++i) {
    const std::string migration = fleet.Submit();
    ASSERT_EQ(fleet.StartWorker("w", std::string(kPlaces[i]) + "=kill").Wait(), kKilled) << kPlaces[i];
    ASSERT_EQ(fleet.Run(migration).state(), v1::MIGRATION_SUCCEEDED) << kPlaces[i] << fleet.WorkerLog("w");
    EXPECT_EQ(fleet.server().QueryValue(
                  ref, "SELECT count(*) FROM pgconvoy_transform.transformation WHERE undone_fence IS NULL"),
              "1")
        << kPlaces[i];
    fleet.worker("w").Kill(SIGKILL);
    fleet.Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
    const std::string undo = undo_places[i % std::size(undo_places)];
    ASSERT_EQ(fleet.StartWorker("w", undo + "=kill").Wait(), kKilled) << undo;
    ASSERT_EQ(fleet.Run(migration).state(), v1::MIGRATION_ROLLED_BACK) << undo << fleet.WorkerLog("w");
    EXPECT_EQ(fleet.Everything(ref), before) << kPlaces[i] << ", back over " << undo;
    fleet.worker("w").Kill(SIGKILL);
  }
}

TEST_P(InPlace, ARollbackFromEveryPhasePutsEverythingBack) {
  InPlaceFleet fleet(GetParam(), 1);
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref);
  fleet.StartCoordinator();
  for (const char* const place : kPlaces) {
    const std::string migration = fleet.Submit();
    ASSERT_EQ(fleet.StartWorker("w", std::string(place) + "=kill").Wait(), kKilled) << place;
    fleet.Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
    const v1::MigrationState ended = fleet.Run(migration).state();
    EXPECT_TRUE(ended == v1::MIGRATION_ROLLED_BACK || ended == v1::MIGRATION_CANCELLED)
        << place << " " << v1::MigrationState_Name(ended) << fleet.WorkerLog("w");
    EXPECT_EQ(fleet.Everything(ref), before) << place;
    fleet.worker("w").Kill(SIGKILL);
  }
}

INSTANTIATE_TEST_SUITE_P(Plans, InPlace, ::testing::Values("unify-auth", "consolidate-roles"));

// One application that cannot be migrated: it fails in PRE_VALIDATION and nothing of it has changed.
class Refused : public ::testing::Test {
 protected:
  void Expect(InPlaceFleet& fleet, const std::string& code, const std::string& text) {
    const std::string ref = fleet.refs()[0];
    const std::string before = fleet.Everything(ref);
    fleet.StartCoordinator();
    const std::string migration = fleet.Submit();
    fleet.Run(migration);
    const v1::Project project = fleet.GetProject(migration, ref);
    EXPECT_EQ(project.error().code(), code) << project.ShortDebugString();
    EXPECT_NE((project.error().message() + project.error().remedy()).find(text), std::string::npos)
        << project.error().ShortDebugString();
    EXPECT_EQ(fleet.Everything(ref), before);
  }
};

TEST_F(Refused, ARoleThatIsNotMapped) {
  InPlaceFleet fleet("consolidate-roles", 1, "30s");
  fleet.server().Exec("app-0001",
                      "ALTER TABLE user_profiles DROP CONSTRAINT user_profiles_role_check; "
                      "UPDATE user_profiles SET role = 'wizard' WHERE email LIKE 'guest@%'");
  Expect(fleet, "PGC-CHECK-FAILED", "\"wizard\"");
}

TEST_F(Refused, DuplicateUsers) {
  InPlaceFleet fleet("unify-auth", 1, "30s");
  fleet.server().Exec("app-0001", "UPDATE legacy.users SET email = 'USER2@app1.example' WHERE id = 1");
  Expect(fleet, "PGC-CHECK-FAILED", "no-duplicate-users");
}

TEST_F(Refused, APasswordHashOfAnUnknownFormat) {
  InPlaceFleet fleet("unify-auth", 1, "30s");
  fleet.server().Exec("app-0001", "UPDATE legacy.users SET password_hash = md5('x') WHERE id = 1");
  Expect(fleet, "PGC-CHECK-FAILED", "password-hashes-are-compatible");
}

TEST_F(Refused, AMisspeltColumnWithTheNearestName) {
  InPlaceFleet fleet("unify-auth", 1, "30s");
  std::string& change = *fleet.plan().mutable_transform()->mutable_changes(0);
  change.replace(change.find("u.username"), 10, "u.usernam_");
  Expect(fleet, "PGC-CHECK-FAILED", "did you mean \"username\"?");
}

TEST_F(Refused, ATransformerThatDoesNotOwnTheTables) {
  InPlaceFleet fleet("consolidate-roles", 1, "30s");
  fleet.server().Exec("app-0001", "ALTER TABLE public.user_sessions OWNER TO postgres");
  Expect(fleet, "PGC-CHECK-FAILED", "GRANT \"postgres\" TO \"app_owner\"");
}

TEST_F(Refused, ATableThatACascadeWouldReach) {
  InPlaceFleet fleet("consolidate-roles", 1, "30s");
  fleet.server().Exec("app-0001",
                      "CREATE TABLE public.badges (user_id uuid REFERENCES user_profiles ON DELETE CASCADE)");
  Expect(fleet, "PGC-CHECK-FAILED", "public.badges");
}

TEST_F(Refused, AChangeOfATableThatMustNotChange) {
  InPlaceFleet fleet("consolidate-roles", 1, "30s");
  fleet.plan().mutable_transform()->add_changes("DELETE FROM public.user_sessions WHERE token < '8'");
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref);
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  EXPECT_EQ(fleet.Run(migration).projects_rolled_back(), 1);
  EXPECT_EQ(fleet.GetProject(migration, ref).error().code(), "PGC-TRANSFORM-UNCHANGED");
  EXPECT_EQ(fleet.Everything(ref), before);
}

// A schema may refuse what its owner does unless a session says that it means it.
class GuardedTable : public ::testing::TestWithParam<bool> {};

TEST_P(GuardedTable, ChangesForASessionWithThePlansSetting) {
  InPlaceFleet fleet("consolidate-roles", 1, "30s");
  const std::string ref = fleet.refs()[0];
  fleet.server().Exec(
      ref,
      "CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
      "coalesce(current_setting('storage.allow_delete_query', true), '') <> 'true' THEN RAISE EXCEPTION 'guarded'; "
      "END "
      "IF; RETURN OLD; END $$; CREATE TRIGGER guard BEFORE DELETE ON public.user_sessions FOR EACH ROW EXECUTE "
      "FUNCTION public.guard()");
  fleet.plan().mutable_tables(1)->clear_unchanged();
  fleet.plan().mutable_transform()->set_triggers(v1::Transform::FIRE);
  fleet.plan().mutable_transform()->add_changes("DELETE FROM public.user_sessions WHERE token < '8'");
  if (GetParam()) {
    v1::Login& transformer = *(*fleet.plan().mutable_servers())["apps"].mutable_transformer();
    (*transformer.mutable_settings())["storage.allow_delete_query"] = "true";
  }
  fleet.StartCoordinator();
  const v1::Migration ended = fleet.Run(fleet.Submit());
  EXPECT_EQ(ended.projects_succeeded(), GetParam() ? 1 : 0) << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.server().QueryValue(ref, "SELECT count(*) FROM user_sessions WHERE token < '8'") == "0",
            GetParam());
}

INSTANTIATE_TEST_SUITE_P(Setting, GuardedTable, ::testing::Bool());

class InPlaceRestore : public ::testing::Test {
 protected:
  InPlaceRestore() : fleet_("consolidate-roles", 1, "30s"), ref_(fleet_.refs()[0]), before_(fleet_.Everything(ref_)) {
    fleet_.StartCoordinator();
    migration_ = fleet_.Submit();
    EXPECT_EQ(fleet_.Run(migration_).state(), v1::MIGRATION_SUCCEEDED) << fleet_.WorkerLog("w");
    const v1::Project project = fleet_.GetProject(migration_, ref_);
    for (const v1::PhaseResult& result : project.results()) {
      backup_ = result.has_backup() ? result.backup().backup_id() : backup_;
    }
  }

  Finished Cli(const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {BinaryPath("pgconvoy"), "--address", fleet_.address()};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return RunToEnd({.argv = argv, .env = fleet_.env()});
  }

  // Rows of every table of the plan, written to after the migration.
  void Write() {
    fleet_.server().Exec(ref_,
                         "UPDATE user_profiles SET full_name = 'renamed' WHERE email LIKE 'user1%'; "
                         "DELETE FROM user_sessions WHERE token < '3'; "
                         "INSERT INTO user_profiles (id, email, role, created_at, updated_at) "
                         "VALUES (gen_random_uuid(), 'late@x.example', 'viewer', now(), now())");
  }

  InPlaceFleet fleet_;
  const std::string ref_;
  const std::string before_;
  std::string migration_;
  std::string backup_;
};

TEST_F(InPlaceRestore, ARollbackToABackupMakesTheTablesHoldWhatItHolds) {
  Write();
  const Finished done = Cli({"rollback", migration_, "--to-backup", backup_, "--yes"});
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err << fleet_.WorkerLog("w");
  EXPECT_EQ(fleet_.Everything(ref_), before_);

  EXPECT_EQ(fleet_.server().QueryValue(
                ref_, "SELECT count(*) FROM pgconvoy_transform.discarded WHERE content LIKE '%late@x.example%'"),
            "1");
}

// A restore in place is a migration like any other.
TEST_F(InPlaceRestore, ARestoreCanBeRolledBack) {
  ASSERT_EQ(Cli({"rollback", migration_, "--wait", "--yes"}).exit_code, 0) << fleet_.WorkerLog("w");
  fleet_.server().Exec(ref_,
                       "UPDATE user_profiles SET full_name = 'renamed' WHERE email LIKE 'user1%'; "
                       "DELETE FROM user_sessions WHERE token < '3'; "
                       "INSERT INTO user_profiles (id, email, role, created_at, updated_at) "
                       "VALUES (gen_random_uuid(), 'late@x.example', 'guest', now(), now())");
  const std::string written = fleet_.Everything(ref_);
  const Finished done =
      Cli({"backup", "restore", backup_, "--plan", SourceFile("plans/consolidate-roles.yaml"), "--yes"});
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err << fleet_.WorkerLog("w");
  EXPECT_TRUE(fleet_.Everything(ref_) == before_);
  const Finished undone = Cli({"rollback", "latest", "--wait", "--yes"});
  EXPECT_EQ(undone.exit_code, 0) << undone.out << undone.err << fleet_.WorkerLog("w");
  EXPECT_TRUE(fleet_.Everything(ref_) == written);
}

TEST_F(InPlaceRestore, AnEmergencyRollbackAsksNothingAndLosesNoRow) {
  fleet_.server().Exec(ref_, "UPDATE user_profiles SET full_name = 'renamed' WHERE email LIKE 'user1%'");
  const Finished done = Cli({"rollback", migration_, "--emergency"});
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err << fleet_.WorkerLog("w");
  EXPECT_EQ(fleet_.server().QueryValue(ref_, "SELECT count(*) FROM user_profiles WHERE role = 'admin'"), "0");
  EXPECT_EQ(fleet_.server().QueryValue(ref_, "SELECT count(*) > 0 FROM pgconvoy_transform.discarded"), "t");
}

TEST_F(InPlaceRestore, ABackupThatWasTouchedChangesNothing) {
  Write();
  const std::string written = fleet_.Everything(ref_);
  const std::string chunk = Only(fleet_.backup_dir(), "public.user_profiles.");
  std::string content = ReadFile(chunk);
  content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 1);
  std::ofstream(chunk, std::ios::binary) << content;
  const Finished done =
      Cli({"backup", "restore", backup_, "--plan", SourceFile("plans/consolidate-roles.yaml"), "--yes"});
  EXPECT_EQ(done.exit_code, 1) << done.out << done.err;
  EXPECT_NE((done.out + done.err + fleet_.WorkerLog("w")).find("PGC-BACKUP-CORRUPT"), std::string::npos) << done.err;
  EXPECT_EQ(fleet_.Everything(ref_), written);
}

TEST_F(InPlaceRestore, ChangesShowsOldAndNewRolesAndNothingElseOfAUser) {
  const Finished shown = Cli({"changes", migration_, "--project", ref_});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_NE(shown.out.find("role department_head -> manager"), std::string::npos) << shown.out;
  EXPECT_EQ(shown.out.find("@app1.example"), std::string::npos) << shown.out;
}

class Zombie : public ::testing::TestWithParam<bool> {};

// A worker that stops with its transaction open, is overtaken, and wakes up: it has lost, whatever it still sends.
TEST_P(Zombie, ThatWakesUpChangesNothing) {
  InPlaceFleet fleet("consolidate-roles", 1);
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref);
  const bool rolled_back = GetParam();
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  Process& sleeper = fleet.StartWorker("sleeper", "worker.transform.before_commit=stop");
  ASSERT_TRUE(Eventually([&] { return sleeper.Stopped(); }));
  if (rolled_back) {
    fleet.Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
  }
  const v1::Migration ended = fleet.Run(migration);
  EXPECT_EQ(ended.state(), rolled_back ? v1::MIGRATION_ROLLED_BACK : v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  const std::string after = fleet.Everything(ref);
  EXPECT_EQ(after == before, rolled_back);
  sleeper.Kill(SIGCONT);
  ASSERT_TRUE(Eventually([&] { return fleet.WorkerLog("sleeper").find("attempt ended") != std::string::npos; }))
      << fleet.WorkerLog("sleeper");
  EXPECT_EQ(fleet.Everything(ref), after);
}

INSTANTIATE_TEST_SUITE_P(OvertakenBy,
                         Zombie,
                         ::testing::Values(false, true),
                         [](const ::testing::TestParamInfo<bool>& overtaken) {
                           return std::string(overtaken.param ? "ARollback" : "ARetry");
                         });

// What tenants wrote since is theirs: a rollback takes back only what the migration did.
TEST(InPlaceRollback, LeavesRowsAloneThatTheMigrationDidNotTouch) {
  InPlaceFleet fleet("unify-auth", 1, "30s");
  const std::string ref = fleet.refs()[0];
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.Run(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  fleet.server().Exec(ref,
                      "INSERT INTO auth.audit (user_id, event) SELECT id, 'later' FROM auth.users WHERE legacy_id "
                      "IS NULL LIMIT 1");
  fleet.Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK) << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.server().QueryValue(ref, "SELECT count(*) FROM auth.audit WHERE event = 'later'"), "1");
  EXPECT_EQ(fleet.server().QueryValue(ref, "SELECT count(*) FROM auth.users WHERE legacy_id IS NOT NULL"), "0");
}

struct Write {
  const char* name;
  const char* sql;
};

class WrittenSince : public ::testing::TestWithParam<Write> {};

// With --discard-writes it goes through, and what stood there is kept.
TEST_P(WrittenSince, StopsARollbackUntilTheOperatorSaysSo) {
  InPlaceFleet fleet("unify-auth", 1, "30s");
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref);
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.Run(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  fleet.server().Exec(ref, GetParam().sql);
  const std::string written = fleet.Everything(ref);
  fleet.Rollback(migration, /*ref=*/"", /*discard_writes=*/false);
  fleet.WaitEnded(migration);
  EXPECT_EQ(fleet.GetProject(migration, ref).error().code(), "PGC-ROLLBACK-WRITES");
  EXPECT_EQ(fleet.Everything(ref), written) << "a rollback that stops must change nothing";
  fleet.Rollback(migration, /*ref=*/"", /*discard_writes=*/true);
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_ROLLED_BACK) << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.server().QueryValue(ref, "SELECT count(*) FROM auth.users WHERE legacy_id IS NOT NULL"), "0");
  EXPECT_EQ(fleet.server().QueryValue(ref, "SELECT count(*) > 0 FROM pgconvoy_transform.discarded"), "t");
  EXPECT_EQ(
      fleet.server().QueryValue(ref, "SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM legacy.users u") != "",
      true);
}

INSTANTIATE_TEST_SUITE_P(
    Rows,
    WrittenSince,
    ::testing::Values(
        Write{"ARowThatWasChanged", "UPDATE auth.users SET username = 'renamed' WHERE legacy_id = 5"},
        Write{"ARowThatHangsOnOneByACascade",
              "INSERT INTO auth.audit (user_id, event) SELECT id, 'later' FROM auth.users WHERE legacy_id = 5"}),
    [](const ::testing::TestParamInfo<Write>& write) { return write.param.name; });

}  // namespace
}  // namespace pgconvoy::testing
