// check, discover, estimate, validate and report against a coordinator that answers what the test has laid out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "fake_service.h"
#include "process.h"

namespace pgconvoy::cli {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPlan[] = R"(version: 1
name: isolate-projects
servers:
  old:
    conninfo: "host=127.0.0.1 port=5432"
    reader: {user: r}
    registrar: {user: g}
  new:
    conninfo: "host=127.0.0.1 port=5433"
    provisioner: {user: p}
    max_projects: 2
source: {server: old, database: app}
registry: {server: old, database: app, table: public.projects, ref_column: ref}
target: {server: new, database: "project_{ref}", schemas: [auth]}
credentials: {user: "project_{ref}", recipient: "${env:KEY}"}
freeze: {confirmed_by_operator: true}
tables: [{table: auth.users, where: "project_ref = {ref}"}]
backup: {directory: "/var/backups"}
)";

v1::CheckResult CheckOf(const std::string& name, bool passed, bool warning = false) {
  v1::CheckResult check;
  check.set_name(name);
  check.set_passed(passed);
  check.set_warning(warning);
  if (!passed) {
    check.set_message("is wrong");
    check.set_remedy("run: GRANT x");
  }
  return check;
}

class Inspecting : public testing::Test {
 protected:
  Inspecting() {
    v1::Migration migration = MakeMigration("7", v1::MIGRATION_SUCCEEDED);
    migration.set_projects_succeeded(2);
    migration.set_plan_json(json::parse(Pgconvoy({"plan", "validate", plan_, "-o", "json"}).out).dump());
    server_.service.migrations = {migration};
    for (const char* ref : {"acme-1", "acme-2"}) {
      server_.service.discovered.emplace_back().set_ref(ref);
    }
    server_.Start();
  }

  Result Call(std::vector<std::string> args) {
    args.insert(args.begin(), {"--address", server_.address()});
    return Pgconvoy(args);
  }

  void Answer(const std::vector<v1::CheckResult>& checks) {
    server_.service.inspection.mutable_checks()->Assign(checks.begin(), checks.end());
  }

  std::vector<int> KindsAsked() {
    const auto& kinds = server_.service.inspected.back().kinds();
    return {kinds.begin(), kinds.end()};
  }

  TempDir dir_;
  FakeServer server_;
  const std::string plan_ = dir_.Write("plan.yaml", kPlan);
};

// ---- check -----------------------------------------------------------------------------------------------------

TEST_F(Inspecting, CheckTakesTheWholeRegistryAndAsksForPreChecks) {
  Answer({CheckOf("login", true)});
  const auto result = Call({"check", plan_});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("2 projects: 2 checks ok, 0 warnings, 0 FAILED"));
  ASSERT_EQ(server_.service.inspected.size(), 1U);
  EXPECT_EQ(server_.service.inspected[0].projects_size(), 2);
  EXPECT_EQ(server_.service.inspected[0].migration_id(), "");
  EXPECT_THAT(KindsAsked(), ElementsAre(v1::PRE_CHECKS));
}

TEST_F(Inspecting, CheckEndsByTheWorstVerdict) {
  Answer({CheckOf("login", true), CheckOf("superuser", false, true)});
  EXPECT_EQ(Call({"check", plan_}).code, 2);
  Answer({CheckOf("superuser", false, true), CheckOf("select", false)});
  const auto failed = Call({"check", plan_, "--projects", "acme-2"});
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.out, HasSubstr("select (acme-2): run: GRANT x"));
  EXPECT_EQ(server_.service.inspected.back().projects_size(), 1);
}

TEST_F(Inspecting, AProjectThatCannotBeInspectedHasFailed) {
  server_.service.inspection.mutable_error()->set_code("PGC-PG-28P01");
  server_.service.inspection.mutable_error()->set_message("no such login");
  const auto result = Call({"check", plan_});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("PGC-PG-28P01: no such login"));
  EXPECT_EQ(Call({"check", plan_, "-o", "name"}).out, "acme-1\nacme-2\n");
}

TEST_F(Inspecting, ASavedReportHasEveryCheck) {
  Answer({CheckOf("login", true)});
  const std::string text = dir_.path() + "/checks.txt";
  const std::string structured = dir_.path() + "/checks.json";
  EXPECT_EQ(Call({"check", plan_, "--save-report", text}).code, 0);
  EXPECT_THAT(ReadFile(text), HasSubstr("acme-2   ✔ ok     login"));
  EXPECT_EQ(Call({"check", plan_, "--save-report", structured, "-o", "json"}).code, 0);
  EXPECT_EQ(json::parse(ReadFile(structured))["inspections"][1]["ref"], "acme-2");
  EXPECT_EQ(Call({"check", plan_, "--save-report", dir_.path() + "/none/x"}).code, 1);
}

TEST_F(Inspecting, WhoIsNotInTheRegistryIsNamed) {
  const auto result = Call({"check", plan_, "--projects", "acme-1,acme-9"});
  EXPECT_EQ(result.code, 64);
  EXPECT_THAT(result.err, HasSubstr("no project \"acme-9\""));
  EXPECT_EQ(Call({"check", plan_, "--projects", "acme-1", "--all"}).code, 64);
}

// ---- discover --------------------------------------------------------------------------------------------------

TEST_F(Inspecting, DiscoverGivesTheCsvThatSubmitTakes) {
  (*server_.service.discovered[0].mutable_attributes())["name"] = "=1+1";
  (*server_.service.discovered[1].mutable_attributes())["name"] = "a, b";
  server_.service.discovered[1].set_estimated_bytes(17);
  const auto result = Call({"discover", plan_, "-o", "csv"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "ref,estimated_bytes,name\nacme-1,0,'=1+1\nacme-2,17,\"a, b\"\n");
  EXPECT_THAT(result.err, HasSubstr("1 values begin like a formula"));
  EXPECT_EQ(Call({"submit", plan_, "--projects", dir_.Write("found.csv", result.out)}).code, 0);
  EXPECT_EQ(server_.service.submitted[1].attributes().at("name"), "a, b");
  EXPECT_EQ(server_.service.submitted[1].estimated_bytes(), 17);
}

TEST_F(Inspecting, DiscoverSaysHowRiskyAProjectIsAndWhy) {
  server_.service.candidates.resize(2);
  server_.service.candidates[0].set_ref("acme-1");
  server_.service.candidates[0].set_status("blocked");
  server_.service.candidates[0].set_risk(v1::Candidate::HIGH);
  server_.service.candidates[0].add_reasons("more than 10 GiB");
  server_.service.candidates[0].add_reasons("a foreign table");
  const auto result = Call({"discover", plan_, "--detailed"});
  EXPECT_THAT(result.out, HasSubstr("acme-1  blocked   0 B  high  more than 10 GiB; a foreign table"));
  EXPECT_EQ(json::parse(Call({"discover", plan_, "--detailed", "-o", "json"}).out)["candidates"][0]["risk"], "HIGH");
}

TEST_F(Inspecting, OnlyDiscoverKnowsCsv) {
  EXPECT_EQ(Call({"get", "workers", "-o", "csv"}).code, 64);
  EXPECT_EQ(Call({"check", plan_, "-o", "csv"}).code, 64);
}

// ---- estimate --------------------------------------------------------------------------------------------------

v1::Project Finished(const std::string& ref, int seconds) {
  v1::Project project = MakeProject(ref, v1::SUCCEEDED);
  v1::Attempt* const attempt = project.add_attempt_history();
  attempt->mutable_start_time()->set_seconds(1'000);
  attempt->mutable_end_time()->set_seconds(1'000 + seconds);
  project.set_bytes_copied(1 << 20);
  return project;
}

TEST_F(Inspecting, AnEstimateSumsUpAndNamesItsBasis) {
  server_.service.inspection.mutable_estimate()->set_rows(500);
  server_.service.inspection.mutable_estimate()->set_source_bytes(1 << 20);
  server_.service.inspection.mutable_estimate()->set_connections(5);
  server_.service.projects = {Finished("a", 2), Finished("b", 4), Finished("c", 8)};
  v1::Worker& worker = server_.service.workers.emplace_back();
  worker.set_state("connected");
  worker.set_slots(8);
  const auto text = Call({"estimate", plan_});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("rows          1,000\n"));
  // Two projects, two at once as the plan allows on the target.
  EXPECT_THAT(text.out, HasSubstr("duration      4.0 s, up to 8.0 s\n"));
  EXPECT_THAT(text.out, HasSubstr("3 projects of 1 migrations: median 4.0 s, p95 8.0 s"));
  EXPECT_THAT(text.out, HasSubstr("connections   10 at most"));
  EXPECT_TRUE(server_.service.last_list_projects.with_history());
  EXPECT_EQ(json::parse(Call({"estimate", plan_, "-o", "json"}).out)["duration_ms"], 4'000);
}

TEST_F(Inspecting, WithoutFinishedMigrationsThereIsNoBasis) {
  server_.service.migrations.clear();
  EXPECT_THAT(Call({"estimate", plan_}).out, HasSubstr("no basis yet"));
}

// ---- validate --------------------------------------------------------------------------------------------------

TEST_F(Inspecting, ValidateAsksForWhatItIsTold) {
  Answer({CheckOf("login", true)});
  EXPECT_EQ(Call({"validate", plan_}).code, 0);
  EXPECT_THAT(KindsAsked(), ElementsAre(v1::PRE_CHECKS, v1::INTEGRITY_CHECKS));
  EXPECT_EQ(Call({"validate", "7"}).code, 0);
  EXPECT_THAT(KindsAsked(), ElementsAre(v1::POST_CHECKS, v1::INTEGRITY_CHECKS));
  EXPECT_EQ(Call({"validate", "latest", "--pre", "--projects", "acme-1,acme-2"}).code, 0);
  EXPECT_THAT(KindsAsked(), ElementsAre(v1::PRE_CHECKS));
  EXPECT_EQ(server_.service.inspected.back().migration_id(), "7");
  EXPECT_EQ(server_.service.inspected.back().projects(1).ref(), "acme-2");
  EXPECT_EQ(Call({"validate", plan_, "--post"}).code, 64);
}

TEST_F(Inspecting, AComprehensiveValidationProvesConservation) {
  Answer({CheckOf("content:auth.users", false, true)});
  server_.service.proof = {CheckOf("conservation:auth.users", true)};
  const auto whole = Call({"validate", "7", "--comprehensive"});
  EXPECT_EQ(whole.code, 2) << whole.err;
  EXPECT_THAT(KindsAsked(), ElementsAre(v1::PRE_CHECKS, v1::POST_CHECKS, v1::INTEGRITY_CHECKS, v1::CONTENT));
  EXPECT_THAT(whole.out, HasSubstr("conservation:auth.users"));
  server_.service.proof = {CheckOf("conservation:auth.users", false)};
  EXPECT_EQ(Call({"validate", "7", "--comprehensive", "--show-details"}).code, 1);
  EXPECT_THAT(Call({"validate", "7"}).out, Not(HasSubstr("conservation")));
}

// ---- report ----------------------------------------------------------------------------------------------------

TEST_F(Inspecting, AReportReadsWholePagesAndEveryFormat) {
  v1::Project failed = MakeProject("acme-2", v1::ROLLED_BACK);
  failed.mutable_error()->set_code("PGC-COPY-X");
  failed.mutable_error()->set_message("it broke");
  v1::PhaseResult& phase = *failed.add_results();
  phase.set_phase(v1::FENCE);
  phase.set_direction(v1::ROLLBACK);
  phase.set_duration_ms(40);
  server_.service.projects = {Finished("acme-1", 3), failed, Finished("acme-3", 5)};
  server_.service.most_per_page = 2;
  const json report = json::parse(Call({"report", "7", "--format", "json"}).out);
  EXPECT_EQ(report["success_rate"], "66.7 %");
  EXPECT_EQ(report["phases"][0]["phase"], "FENCE (rollback)");
  EXPECT_EQ(report["failures"][0]["message"], "it broke");
  EXPECT_TRUE(server_.service.last_list_projects.with_history());
  EXPECT_THAT(Call({"report", "7"}).out, HasSubstr("## Failures"));
  EXPECT_THAT(Call({"report", "7", "--format", "csv"}).out, HasSubstr("acme-3,SUCCEEDED,1,5000,"));
  const std::string file = dir_.path() + "/report.html";
  const auto written = Call({"report", "7", "--format", "html", "--out", file});
  EXPECT_EQ(written.code, 0);
  EXPECT_EQ(written.out, "");
  EXPECT_THAT(ReadFile(file), HasSubstr("PGC-COPY-X"));
  EXPECT_EQ(Call({"report", "7", "--format", "pdf"}).code, 64);
}

TEST_F(Inspecting, AReportThatTheDiskDoesNotTakeIsAnErrorAndLeavesNoFile) {
  server_.service.projects = {Finished("acme-1", 3)};
  const std::string file = dir_.path() + "/report.md";
  std::filesystem::create_symlink("/dev/full", file + ".part");
  const auto written = Call({"report", "7", "--out", file});
  EXPECT_EQ(written.code, 1);
  EXPECT_THAT(written.err, HasSubstr("error PGC-CLI-FILE: cannot write " + file + ": No space left on device"));
  EXPECT_FALSE(std::filesystem::exists(file));
}

}  // namespace
}  // namespace pgconvoy::cli
