// What an operator asks before and after a migration, with the real command line, coordinator, workers and servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "common/plan/plan.h"
#include "tests/integration/fleet.h"
#include "tests/integration/in_place_fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Everything that a look could have left: roles, databases, and what is in them.
constexpr char kCluster[] = R"sql(
SELECT string_agg(line, E'\n' ORDER BY line) FROM (
  SELECT 'role ' || rolname || coalesce(rolpassword, '') AS line FROM pg_authid
  UNION ALL SELECT 'member ' || roleid::regrole || member::regrole FROM pg_auth_members
  UNION ALL SELECT 'database ' || datname || coalesce(datacl::text, '') FROM pg_database) l
)sql";
constexpr char kDatabase[] = R"sql(
SELECT string_agg(line, E'\n' ORDER BY line) FROM (
  SELECT 'schema ' || nspname || coalesce(nspacl::text, '') AS line FROM pg_namespace
  WHERE nspname !~ '^pg_(toast_)?temp'
  UNION ALL SELECT 'relation ' || relnamespace::regnamespace || '.' || relname || coalesce(relacl::text, '')
                   || relrowsecurity || relforcerowsecurity
  FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_') l
)sql";

Finished RunCli(const Installation& installation, std::vector<std::string> args) {
  args.insert(args.begin(), {BinaryPath("pgconvoy"), "--address", installation.address()});
  return RunToEnd({.argv = args, .env = {{"HOME", installation.folder()}}}, std::chrono::seconds(120));
}

bool IsConnected(const Installation& installation, const std::string& worker) {
  return Eventually([&] {
    return RunCli(installation, {"get", "workers", "-o", "wide"}).out.find(worker + " ") != std::string::npos;
  });
}

class Operator : public ::testing::Test {
 protected:
  void SetUp() override {
    fleet_.StartCoordinator();
    fleet_.StartWorker("a");
    ASSERT_TRUE(IsConnected(fleet_, "a"));
  }

  Finished Cli(const std::vector<std::string>& args) { return RunCli(fleet_, args); }

  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(fleet_.folder() + "/" + name) << text;
    return fleet_.folder() + "/" + name;
  }

  // The shipped plan with one text in place of another.
  std::string PlanWith(const std::string& from, const std::string& to) {
    std::string text = ReadFile(plan_);
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return Write("changed.yaml", text.replace(at, from.size(), to));
  }

  std::string Everything() {
    return fleet_.source().QueryValue("postgres", kCluster) + fleet_.source().QueryValue("platform", kDatabase) +
           fleet_.target().QueryValue("postgres", kCluster) + fleet_.target().QueryValue("postgres", kDatabase);
  }

  std::string Migrate() {
    const Finished submitted = Cli({"submit", plan_, "--all", "--wait", "-o", "json"});
    EXPECT_EQ(submitted.exit_code, 0) << submitted.err;
    // The reconciler that runs at the end removes templates; until then they would look like somebody's leftovers.
    EXPECT_TRUE(Eventually([this] {
      return fleet_.target().QueryValue("postgres", "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pgc_'") == "0";
    }));
    return "1";
  }

  Fleet fleet_{{.projects = 3, .lease_ttl = "30s"}};
  const std::string plan_ = SourceFile("plans/isolate-projects.yaml");
};

// ---- check -----------------------------------------------------------------------------------------------------

TEST_F(Operator, CheckOfAGoodInstallationFindsNothingAndWritesNothing) {
  const std::string before = Everything();
  const std::string saved = fleet_.folder() + "/checks.json";
  const Finished good = Cli({"check", plan_, "--save-report", saved});
  EXPECT_EQ(good.exit_code, 0) << good.out << good.err;
  EXPECT_THAT(good.out, HasSubstr("3 projects: "));
  EXPECT_THAT(good.out, HasSubstr(" 0 FAILED"));
  // One line for all projects.
  EXPECT_TRUE(std::regex_search(good.out, std::regex("ok +database-free +3\n"))) << good.out;
  EXPECT_EQ(json::parse(ReadFile(saved))["inspections"].size(), 3U);
  EXPECT_EQ(Everything(), before);
}

TEST_F(Operator, CheckNamesWhatIsMissingWithItsFixAndWritesNothing) {
  fleet_.source().Exec("platform", "REVOKE pg_read_all_data FROM pgconvoy_reader");
  fleet_.source().Exec("platform", "GRANT USAGE ON SCHEMA auth, storage TO pgconvoy_reader");
  fleet_.source().Exec("platform", "GRANT SELECT ON ALL TABLES IN SCHEMA storage TO pgconvoy_reader");
  fleet_.source().Exec("platform", "REVOKE UPDATE ON public.projects FROM pgconvoy_registrar");
  fleet_.source().Exec("platform", "REVOKE CREATE ON DATABASE platform FROM pgconvoy_registrar");
  fleet_.target().Exec("postgres", "ALTER ROLE pgconvoy_provisioner NOCREATEDB");
  std::filesystem::remove_all(fleet_.backup_dir());
  const std::string before = Everything();
  const Finished bad = Cli({"check", plan_});
  EXPECT_EQ(bad.exit_code, 1) << bad.out << bad.err;
  EXPECT_THAT(bad.out, HasSubstr("GRANT SELECT ON \"auth\".\"users\" TO \"pgconvoy_reader\""));
  EXPECT_THAT(bad.out, Not(HasSubstr("GRANT SELECT ON \"storage\"")));
  EXPECT_THAT(bad.out, HasSubstr("GRANT UPDATE (\"database_name\") ON \"public\".\"projects\" TO "
                                 "\"pgconvoy_registrar\""));
  EXPECT_THAT(bad.out, HasSubstr("GRANT CREATE ON DATABASE \"platform\" TO \"pgconvoy_registrar\""));
  EXPECT_THAT(bad.out, HasSubstr("ALTER ROLE \"pgconvoy_provisioner\" CREATEDB"));
  EXPECT_THAT(bad.out, HasSubstr("cannot write to " + fleet_.backup_dir()));
  EXPECT_EQ(Everything(), before);
}

TEST_F(Operator, CheckGoesOnWhereALoginIsRefused) {
  fleet_.source().Exec("platform", "ALTER ROLE pgconvoy_registrar PASSWORD 'another'");
  const Finished refused =
      Cli({"check", plan_, "--projects", Write("few.csv", "ref,owner_id\n" + fleet_.refs()[0] + ",7\n")});
  EXPECT_EQ(refused.exit_code, 1) << refused.out << refused.err;
  EXPECT_TRUE(std::regex_search(refused.out, std::regex("FAILED +registry .*pgconvoy_registrar"))) << refused.out;
  EXPECT_TRUE(std::regex_search(refused.out, std::regex("ok +provisioner-createdb"))) << refused.out;
  EXPECT_TRUE(std::regex_search(refused.out, std::regex("ok +backup-disk"))) << refused.out;
}

TEST_F(Operator, CheckSaysHowMuchRoomABackupFolderLacks) {
  // A file system without a single free block, which root may write to all the same.
  const std::string plan = PlanWith("directory: ${env:PGCONVOY_BACKUP_DIR}", "directory: /proc");
  const Finished full = Cli({"check", plan, "--projects", fleet_.refs()[0]});
  EXPECT_EQ(full.exit_code, 1) << full.out << full.err;
  EXPECT_TRUE(std::regex_search(full.out, std::regex("FAILED +backup-disk +1 +.*0 MiB free, needed 64 MiB")))
      << full.out;
}

// ---- discover, submit, estimate --------------------------------------------------------------------------------

TEST_F(Operator, TheCsvOfDiscoverIsWhatSubmitTakes) {
  const Finished csv = Cli({"discover", plan_, "--detailed", "-o", "csv"});
  EXPECT_EQ(csv.exit_code, 0) << csv.err;
  EXPECT_TRUE(csv.out.starts_with("ref,estimated_bytes,owner_id\n" + fleet_.refs()[0] + ",")) << csv.out;
  const Finished unknown = Cli({"estimate", plan_});
  EXPECT_EQ(unknown.exit_code, 0) << unknown.err;
  EXPECT_THAT(unknown.out, HasSubstr("no basis yet"));

  const Finished submitted = Cli({"submit", plan_, "--projects", Write("found.csv", csv.out), "--wait"});
  EXPECT_EQ(submitted.exit_code, 0) << submitted.err;
  for (const std::string& ref : fleet_.refs()) {
    EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");
  }

  const Finished known = Cli({"estimate", plan_, "-o", "json"});
  EXPECT_EQ(known.exit_code, 0) << known.err;
  const json estimate = json::parse(known.out);
  EXPECT_EQ(estimate["basis_projects"], 3);
  EXPECT_GT(estimate["median_ms_per_project"], 0);
  EXPECT_GT(estimate["source_bytes"], 0);
  EXPECT_GT(estimate["target_bytes"], estimate["source_bytes"]);
  const std::string rows = fleet_.source().QueryValue(
      "platform",
      "SELECT (SELECT count(*) FROM auth.users) + (SELECT count(*) FROM auth.sessions) + (SELECT count(*) FROM "
      "auth.refresh_tokens) + (SELECT count(*) FROM storage.buckets) + (SELECT count(*) FROM storage.objects)");
  EXPECT_EQ(std::to_string(estimate["rows"].get<int64_t>()), rows);
}

TEST_F(Operator, DiscoverJudgesTheRiskAndSaysWhy) {
  const Finished small = Cli({"discover", plan_, "--detailed"});
  EXPECT_EQ(small.exit_code, 0) << small.err;
  EXPECT_TRUE(std::regex_search(small.out, std::regex("ready +[0-9.]+ KiB +low +small"))) << small.out;
  const std::string ref = fleet_.refs()[0];
  fleet_.source().Exec("platform", "CREATE EXTENSION pg_trgm");
  fleet_.source().Exec("platform",
                       "UPDATE public.projects SET credential_status = 'active' WHERE ref = '" + ref + "'");
  fleet_.target().Exec("postgres", "CREATE DATABASE \"project_" + fleet_.refs()[1] + "\"");
  const json found = json::parse(Cli({"discover", plan_, "--detailed", "-o", "json"}).out);
  EXPECT_EQ(found["candidates"][0]["status"], "blocked");
  EXPECT_EQ(found["candidates"][0]["risk"], "HIGH");
  EXPECT_THAT(found["candidates"][0]["reasons"].dump(), HasSubstr("check still-on-fallback-credentials fails"));
  EXPECT_EQ(found["candidates"][1]["status"], "exists");
  EXPECT_EQ(found["candidates"][2]["risk"], "MEDIUM");
  EXPECT_THAT(found["candidates"][2]["reasons"].dump(), HasSubstr("extensions: pg_trgm"));
}

TEST_F(Operator, WhatSubmitIsToldIsInThePlanOfTheMigration) {
  const Finished submitted =
      Cli({"submit", plan_, "--all", "--wait", "--no-rollback", "--retry-attempts", "3", "--batch-size", "2"});
  EXPECT_EQ(submitted.exit_code, 0) << submitted.err;
  const auto plan = plan::PlanFromJson(fleet_.Get("1").plan_json());
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->execution().on_failure(), v1::Execution::KEEP);
  EXPECT_EQ(plan->execution().max_attempts(), 3);
  EXPECT_EQ(plan->execution().batch_size(), 2);
  const Finished refused = Cli({"submit", plan_, "--all", "--skip-backup"});
  EXPECT_EQ(refused.exit_code, 64) << refused.err;
}

// ---- validate --------------------------------------------------------------------------------------------------

TEST_F(Operator, ValidateBeforeAndAfterFindsNothingAndLeavesNothing) {
  EXPECT_EQ(Cli({"validate", plan_}).exit_code, 0);
  EXPECT_EQ(Cli({"validate", plan_, "--post"}).exit_code, 64);
  const std::string id = Migrate();
  const std::string before = Everything();
  const Finished brief = Cli({"validate", id});
  EXPECT_EQ(brief.exit_code, 0) << brief.out << brief.err;
  EXPECT_THAT(brief.out, AllOf(HasSubstr("nobody-else-connects"), HasSubstr("link:storage.objects.owner"),
                               Not(HasSubstr("content:"))));
  const Finished whole = Cli({"validate", "latest", "--comprehensive"});
  EXPECT_EQ(whole.exit_code, 0) << whole.out << whole.err;
  EXPECT_TRUE(std::regex_search(whole.out, std::regex("ok +content:storage.buckets +3"))) << whole.out;
  EXPECT_TRUE(std::regex_search(whole.out, std::regex("ok +conservation:auth.users +1"))) << whole.out;
  EXPECT_TRUE(std::regex_search(whole.out, std::regex("ok +still-on-fallback-credentials +3"))) << whole.out;
  EXPECT_EQ(Everything(), before);
  for (const std::string& ref : fleet_.refs()) {
    EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");
  }
}

TEST_F(Operator, ATenantThatWritesIsNoFailureButTheSumsDoNotHoldAnyMore) {
  const std::string id = Migrate();
  const std::string ref = fleet_.refs()[1];
  const std::string database = "project_" + ref;
  fleet_.target().Exec(database,
                       "UPDATE auth.users SET phone_change = 'x' WHERE id = (SELECT min(id::text)::uuid FROM "
                       "auth.users)");
  EXPECT_EQ(Cli({"validate", id}).exit_code, 0);
  const Finished written = Cli({"validate", id, "--comprehensive"});
  EXPECT_EQ(written.exit_code, 1) << written.out << written.err;
  EXPECT_TRUE(std::regex_search(written.out, std::regex("warning +content:auth.users +1 +written since")))
      << written.out;
  EXPECT_TRUE(std::regex_search(written.out, std::regex("ok +content:auth.sessions +3"))) << written.out;
  EXPECT_TRUE(std::regex_search(written.out, std::regex("FAILED +conservation:auth.users +1 +1 target\\(s\\) do not "
                                                        "hold .*: " +
                                                        ref + " \\(source")))
      << written.out;
  EXPECT_TRUE(std::regex_search(written.out, std::regex("ok +conservation:auth.sessions"))) << written.out;
}

TEST_F(Operator, TheProofFailsForARowThatIsLostOrDoubledOrNew) {
  const std::string id = Migrate();
  const std::string ref = fleet_.refs()[2];
  const auto failed = [&](const std::string& table) {
    const json found = json::parse(Cli({"validate", id, "--comprehensive", "-o", "json"}).out);
    std::vector<std::string> names;
    for (const json& check : found["inspections"].back()["checks"]) {
      if (!check["passed"].get<bool>()) {
        names.push_back(check["name"].get<std::string>());
        EXPECT_THAT(check["message"].get<std::string>(), HasSubstr(ref));
      }
    }
    EXPECT_THAT(names, ElementsAre("conservation:" + table));
  };
  // With the triggers of the storage API a row is not deleted just so.
  fleet_.target().Exec("project_" + ref,
                       "SET session_replication_role = replica; DELETE FROM storage.objects WHERE id = (SELECT "
                       "min(id::text)::uuid FROM storage.objects)");
  failed("storage.objects");
  fleet_.target().Exec("project_" + ref, "TRUNCATE storage.objects; TRUNCATE auth.refresh_tokens");
  fleet_.source().Exec(
      "platform", "SET session_replication_role = replica; DELETE FROM storage.objects WHERE project_ref = '" + ref +
                      "'; DELETE FROM auth.refresh_tokens WHERE project_ref = '" + ref + "'");
  EXPECT_EQ(json::parse(Cli({"validate", id, "--comprehensive", "-o", "json"}).out)["inspections"]
                .back()["checks"][0]["passed"],
            true);
  fleet_.target().Exec("project_" + ref,
                       "INSERT INTO storage.buckets SELECT project_ref, id || '-again', name || '-again', owner, "
                       "created_at, updated_at FROM storage.buckets LIMIT 1");
  failed("storage.buckets");
  fleet_.source().Exec("platform",
                       "SET session_replication_role = replica; INSERT INTO storage.buckets (project_ref, "
                       "id, name) VALUES ('" +
                           ref + "', 'new', 'new')");
  failed("storage.buckets");
}

TEST_F(Operator, OnlyProjectsThatEndedWellAreValidated) {
  fleet_.Submit({fleet_.refs()[0]});
  fleet_.WaitEnded("1");
  fleet_.Rollback("1", fleet_.refs()[0], false);
  fleet_.WaitEnded("1");
  const Finished refused = Cli({"validate", "1", "--projects", fleet_.refs()[0]});
  EXPECT_EQ(refused.exit_code, 1) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr("PGC-INSPECT-STATE"));
}

TEST_F(Operator, AWorkerThatDiesWhileItLooksLeavesNothingForLong) {
  const std::string id = Migrate();
  fleet_.StartWorker("a", "worker.look.login_made=kill");
  ASSERT_TRUE(IsConnected(fleet_, "a"));
  const std::string ref = fleet_.refs()[0];
  const auto logins = [&] {
    return fleet_.target().QueryValue("postgres", "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pgc_a_'");
  };
  const Finished died = Cli({"validate", id, "--projects", ref});
  EXPECT_EQ(died.exit_code, 69) << died.out << died.err;
  EXPECT_EQ(logins(), "1");
  fleet_.StartWorker("b");
  const Finished again = Cli({"validate", id, "--projects", ref});
  EXPECT_EQ(again.exit_code, 0) << again.out << again.err;
  EXPECT_EQ(logins(), "0");
  EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");
}

TEST_F(Operator, TwoWhoLookAtOnceDoNotDisturbEachOther) {
  const std::string id = Migrate();
  fleet_.StartWorker("b");
  ASSERT_TRUE(IsConnected(fleet_, "b"));
  std::vector<Finished> done(2);
  std::thread other([&] { done[1] = Cli({"validate", id, "--comprehensive"}); });
  done[0] = Cli({"validate", id, "--comprehensive"});
  other.join();
  for (const Finished& one : done) {
    EXPECT_EQ(one.exit_code, 0) << one.out << one.err;
  }
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(Operator, ARollbackShutsOutWhoLooks) {
  const std::string id = Migrate();
  fleet_.StartWorker("a", "worker.look.login_made=sleep(3000)");
  ASSERT_TRUE(IsConnected(fleet_, "a"));
  const std::string ref = fleet_.refs()[0];
  Finished looked;
  std::thread look([&] { looked = Cli({"validate", id, "--projects", ref}); });
  EXPECT_TRUE(Eventually([&] {
    return fleet_.target().QueryValue("postgres",
                                      "SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^pgc_a_'") == "1";
  }));
  fleet_.Rollback(id, ref, false);
  fleet_.WaitEnded(id);
  look.join();
  EXPECT_EQ(looked.exit_code, 1) << looked.out << looked.err;
  EXPECT_EQ(fleet_.GetProject(id, ref).state(), v1::ROLLED_BACK);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST(OperatorInPlace, APlanThatChangesADatabaseIsLookedAtBeforeAndAfter) {
  InPlaceFleet fleet("consolidate-roles", 2, "30s");
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  ASSERT_TRUE(IsConnected(fleet, "a"));
  const std::string plan = SourceFile("plans/consolidate-roles.yaml");
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref) + fleet.server().QueryValue("postgres", kCluster) +
                             fleet.server().QueryValue(ref, kDatabase) +
                             fleet.server().QueryValue("platform", kDatabase);
  const Finished checked = RunCli(fleet, {"check", plan});
  EXPECT_EQ(checked.exit_code, 0) << checked.out << checked.err;
  EXPECT_EQ(RunCli(fleet, {"discover", plan, "--detailed"}).exit_code, 0);
  EXPECT_THAT(RunCli(fleet, {"estimate", plan}).out, HasSubstr("databases     0\n"));
  EXPECT_EQ(fleet.Everything(ref) + fleet.server().QueryValue("postgres", kCluster) +
                fleet.server().QueryValue(ref, kDatabase) + fleet.server().QueryValue("platform", kDatabase),
            before);
  const Finished submitted = RunCli(fleet, {"submit", plan, "--all", "--wait", "--skip-backup", "--yes"});
  EXPECT_EQ(submitted.exit_code, 0) << submitted.err;
  EXPECT_THAT(submitted.err, HasSubstr("NO BACKUP IS TAKEN"));
  EXPECT_TRUE(std::filesystem::is_empty(fleet.backup_dir()));
  const Finished validated = RunCli(fleet, {"validate", "1", "--comprehensive"});
  EXPECT_EQ(validated.exit_code, 0) << validated.out << validated.err;
}

// ---- report ----------------------------------------------------------------------------------------------------

TEST_F(Operator, AReportNamesWhatFailedAndWhy) {
  fleet_.source().Exec("platform",
                       "UPDATE public.projects SET credential_status = 'odd' WHERE ref = '" + fleet_.refs()[0] + "'");
  EXPECT_EQ(Cli({"submit", plan_, "--all", "--wait"}).exit_code, 1);
  const std::string file = fleet_.folder() + "/report.html";
  EXPECT_EQ(Cli({"report", "1", "--format", "html", "--out", file}).exit_code, 0);
  EXPECT_THAT(ReadFile(file), AllOf(HasSubstr("<h1>Migration 1: isolate-projects</h1>"), HasSubstr("66.7 %"),
                                    HasSubstr("PGC-CHECK-FAILED"), Not(HasSubstr("<script"))));
  const json report = json::parse(Cli({"report", "1", "--format", "json"}).out);
  EXPECT_EQ(report["projects_total"], 3);
  EXPECT_EQ(report["projects_succeeded"], 2);
  EXPECT_EQ(report["failures"][0]["ref"], fleet_.refs()[0]);
  EXPECT_EQ(report["failures"][0]["code"], "PGC-CHECK-FAILED");
  EXPECT_THAT(report["phases"].dump(), AllOf(HasSubstr("\"COPY\""), HasSubstr("\"FENCE\"")));
  const Finished csv = Cli({"report", "latest", "--format", "csv"});
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 4) << csv.out;
  EXPECT_THAT(Cli({"report", "1"}).out, HasSubstr("# Migration 1: isolate-projects"));
}

}  // namespace
}  // namespace pgconvoy::testing
