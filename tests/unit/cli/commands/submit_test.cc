#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "fake_service.h"
#include "process.h"

namespace pgconvoy::cli {
namespace {

using nlohmann::json;

constexpr char kPlan[] = R"(version: 1
name: mini
servers:
  old:
    conninfo: "host=127.0.0.1 port=5432"
    reader: {user: r}
source: {server: old, database: app}
freeze: {confirmed_by_operator: true}
)";

class Submitting : public testing::Test {
 protected:
  Submitting() {
    server_.service.migrations = {MakeMigration("7", v1::MIGRATION_RUNNING)};
    server_.Start();
    plan_ = dir_.Write("plan.yaml", kPlan);
    csv_ = dir_.Write("projects.csv", "ref,tier,estimated_bytes\nacme-1,gold,1024\nacme-2,,\n");
  }

  Result Submit(std::vector<std::string> args) {
    args.insert(args.begin(), {"--address", server_.address(), "submit", plan_});
    return Pgconvoy(args);
  }

  TempDir dir_;
  FakeServer server_;
  std::string plan_;
  std::string csv_;
};

TEST_F(Submitting, SendsThePlanAndTheProjectsOfTheCsv) {
  const Result result = Submit({"--projects", csv_, "--batch-size", "5", "--request-id", "an-id"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "migration 7 (isolate-projects) with 3 projects\n");
  EXPECT_NE(result.err.find("next: pgconvoy watch 7"), std::string::npos) << result.err;
  ASSERT_EQ(server_.service.headers.size(), 1U);
  const v1::SubmitHeader& header = server_.service.headers[0];
  EXPECT_EQ(header.request_id(), "an-id");
  EXPECT_EQ(header.batch_size(), 5);
  EXPECT_NE(header.actor(), "");
  EXPECT_EQ(json::parse(header.plan_json())["name"], "mini");
  ASSERT_EQ(server_.service.submitted.size(), 2U);
  EXPECT_EQ(server_.service.submitted[0].ref(), "acme-1");
  EXPECT_EQ(server_.service.submitted[0].attributes().at("tier"), "gold");
  EXPECT_EQ(server_.service.submitted[0].estimated_bytes(), 1024);
}

TEST_F(Submitting, SendsAtMostAThousandProjectsInAMessage) {
  std::string csv = "ref\n";
  for (int i = 0; i < 2500; ++i) {
    csv += "p" + std::to_string(i) + "\n";
  }
  EXPECT_EQ(Submit({"--projects", dir_.Write("many.csv", csv)}).code, 0);
  EXPECT_EQ(server_.service.chunk_sizes, (std::vector<int>{1000, 1000, 500}));
}

TEST_F(Submitting, SplitsChunksThatWouldBeTooLargeForAMessage) {
  std::string csv = "ref,note\n";
  for (int i = 0; i < 100; ++i) {
    csv += "p" + std::to_string(i) + "," + std::string(60'000, 'x') + "\n";
  }
  const Result result = Submit({"--projects", dir_.Write("wide.csv", csv)});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(server_.service.submitted.size(), 100U);
  EXPECT_GT(server_.service.chunk_sizes.size(), 2U);
}

TEST_F(Submitting, AllTakesWhatTheRegistryNames) {
  v1::ProjectSpec spec;
  spec.set_ref("from-registry");
  server_.service.discovered = {spec, spec};
  EXPECT_EQ(Submit({"--all", "-o", "name"}).out, "7\n");
  EXPECT_EQ(server_.service.submitted.size(), 2U);
}

TEST_F(Submitting, AnEmptyRegistryIsNoMigration) {
  const Result result = Submit({"--all"});
  EXPECT_EQ(result.code, 65) << result.err;
  EXPECT_TRUE(server_.service.headers.empty());
}

TEST_F(Submitting, ARegistryThatCannotBeReadIsAFailure) {
  server_.service.refusal = MakeError(Verdict::kPermanent, "PGC-PG-28P01", "password authentication failed", "");
  const Result result = Submit({"--all"});
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_NE(result.err.find("error PGC-PG-28P01: password authentication failed"), std::string::npos) << result.err;
}

TEST_F(Submitting, AServerOfThePlanThatIsDownIsNotACoordinatorThatIsDown) {
  server_.service.refusal = MakeError(Verdict::kTransient, "PGC-PG-UNREACHABLE", "connection refused", "");
  EXPECT_EQ(Submit({"--all"}).code, 1);
}

TEST_F(Submitting, EveryProblemOfAPlanIsReportedBeforeAnythingIsSent) {
  plan_ = dir_.Write("bad.yaml", "version: 1\nname: BAD NAME\nserverz: {}\n");
  const Result result = Submit({"--projects", csv_});
  EXPECT_EQ(result.code, 65);
  EXPECT_NE(result.err.find("bad.yaml:2"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("serverz"), std::string::npos) << result.err;
  EXPECT_TRUE(server_.service.headers.empty());
}

TEST_F(Submitting, ABadCsvIsReportedWithItsLines) {
  const Result result = Submit({"--projects", dir_.Write("bad.csv", "ref\nacme-1\nAcme 2\n")});
  EXPECT_EQ(result.code, 65);
  EXPECT_NE(result.err.find("bad.csv:3"), std::string::npos) << result.err;
  EXPECT_TRUE(server_.service.headers.empty());
}

TEST_F(Submitting, ProjectsThatDoNotFitThePlanAreBadInput) {
  plan_ = dir_.Write(
      "tiers.yaml",
      std::string(kPlan) + "checks: [{name: paid, stage: PRE, place: SOURCE, sql: \"SELECT {tier} = 'gold'\"}]\n");
  const Result result = Submit({"--projects", dir_.Write("bare.csv", "ref\nacme-1\n")});
  EXPECT_EQ(result.code, 65);
  EXPECT_NE(result.err.find("error PGC-PLAN-PLACEHOLDER: project acme-1 has no attribute tier"), std::string::npos)
      << result.err;
  EXPECT_TRUE(server_.service.headers.empty());
}

TEST_F(Submitting, MissingFilesAreBadInput) {
  EXPECT_EQ(Submit({"--projects", dir_.path() + "/none.csv"}).code, 65);
  plan_ = dir_.path() + "/none.yaml";
  EXPECT_EQ(Submit({"--projects", csv_}).code, 65);
}

TEST_F(Submitting, ADryRunShowsTheStepsAndSubmitsNothing) {
  const Result result = Submit({"--projects", csv_, "--dry-run"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "acme-1\n"
            "  PROVISION\n"
            "    provisioner@new/postgres: CREATE DATABASE \"project_acme-1\"\n"
            "\n"
            "acme-2\n"
            "  PROVISION\n"
            "    provisioner@new/postgres: CREATE DATABASE \"project_acme-2\"\n");
  EXPECT_NE(result.err.find("nothing was changed"), std::string::npos);
  EXPECT_TRUE(server_.service.headers.empty());
  EXPECT_EQ(json::parse(Submit({"--projects", csv_, "--dry-run", "-o", "json"}).out)["descriptions"].size(), 2U);
}

TEST_F(Submitting, AKnownRequestIdSaysSo) {
  EXPECT_EQ(Submit({"--projects", csv_, "--request-id", "same"}).code, 0);
  const Result again = Submit({"--projects", csv_, "--request-id", "same"});
  EXPECT_EQ(again.code, 0);
  EXPECT_NE(again.err.find("this request id is known: it made migration 7"), std::string::npos) << again.err;
}

TEST_F(Submitting, RequestIdsAreNewByDefault) {
  Submit({"--projects", csv_});
  Submit({"--projects", csv_});
  ASSERT_EQ(server_.service.headers.size(), 2U);
  EXPECT_NE(server_.service.headers[0].request_id(), server_.service.headers[1].request_id());
}

TEST_F(Submitting, ARefusalNamesTheRequestIdToRepeat) {
  server_.service.refusal =
      MakeError(Verdict::kPermanent, "PGC-MIGRATION-BUSY", "acme-1 is in migration 5", "wait for it");
  const Result result = Submit({"--projects", csv_, "--request-id", "an-id"});
  EXPECT_EQ(result.code, 4);
  EXPECT_NE(result.err.find("error PGC-MIGRATION-BUSY: acme-1 is in migration 5; wait for it"), std::string::npos);
  EXPECT_NE(result.err.find("--request-id an-id"), std::string::npos) << result.err;
}

TEST_F(Submitting, WaitEndsWithTheOutcome) {
  v1::Migration ended = MakeMigration("7", v1::MIGRATION_SUCCEEDED_WITH_WARNINGS);
  ended.set_projects_succeeded(2);
  ended.set_projects_warned(1);
  server_.service.watch = {ended};
  const Result result = Submit({"--projects", csv_, "--wait"});
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_EQ(
      result.out,
      "migration 7 ⚠ SUCCEEDED_WITH_WARNINGS after 3m05s: 2 SUCCEEDED 1 SUCCEEDED_WITH_WARNINGS; 812 rows, 0 B\n");
  EXPECT_NE(result.err.find("--state SUCCEEDED_WITH_WARNINGS"), std::string::npos) << result.err;
}

// ---- options that change the plan ------------------------------------------------------------------------------

TEST_F(Submitting, OptionsAreMergedIntoThePlanThatIsSent) {
  const Result result = Submit({"--projects", csv_, "--no-rollback", "--retry-attempts", "3", "--batch-size", "5",
                                "--skip-pre-validation", "--skip-post-validation", "--yes"});
  EXPECT_EQ(result.code, 0) << result.err;
  const json execution = json::parse(server_.service.headers.at(0).plan_json())["execution"];
  EXPECT_EQ(execution["on_failure"], "KEEP");
  EXPECT_EQ(execution["max_attempts"], 3);
  EXPECT_EQ(execution["batch_size"], 5);
  EXPECT_EQ(execution["skip_pre_validation"], true);
  EXPECT_EQ(execution["skip_post_validation"], true);
  EXPECT_NE(result.err.find("warning: failed checks before the migration do not stop a project"), std::string::npos);
}

TEST_F(Submitting, WhatTakesSafetyAwayWantsAConfirmation) {
  const Result refused = Submit({"--projects", csv_, "--skip-post-validation", "--retry-attempts", "2"});
  EXPECT_EQ(refused.code, 4);
  EXPECT_NE(refused.err.find("next: pgconvoy submit " + plan_ + " --projects " + csv_ +
                             " --skip-post-validation --retry-attempts 2 --yes"),
            std::string::npos)
      << refused.err;
  EXPECT_TRUE(server_.service.headers.empty());
  EXPECT_EQ(Submit({"--projects", csv_, "--skip-post-validation", "--force"}).code, 0);
  EXPECT_EQ(Submit({"--projects", csv_, "--skip-post-validation", "--dry-run"}).code, 0);
}

TEST_F(Submitting, APersonIsAskedBeforeAMigrationStarts) {
  const std::vector<std::string> args = {"--address", server_.address(), "submit", plan_, "--projects", csv_};
  const Result no = RunOnTerminal(args, "n\n");
  EXPECT_EQ(no.code, 4) << no.out;
  EXPECT_NE(no.out.find("a migration of 2 projects under plan mini"), std::string::npos) << no.out;
  EXPECT_TRUE(server_.service.headers.empty());
  EXPECT_EQ(RunOnTerminal(args, "y\n").code, 0);
  EXPECT_EQ(server_.service.headers.size(), 1U);
}

TEST_F(Submitting, ACopyNeverGoesWithoutItsBackup) {
  const Result refused = Submit({"--projects", csv_, "--skip-backup", "--yes"});
  EXPECT_EQ(refused.code, 64);
  EXPECT_NE(refused.err.find("--skip-backup is for plans that change a database in place"), std::string::npos);
  EXPECT_EQ(Submit({"--projects", csv_, "--retry-attempts", "0"}).code, 64);
}

TEST_F(Submitting, ValidatingAPlanNeedsNoCoordinator) {
  const Result good = Pgconvoy({"plan", "validate", plan_});
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_TRUE(good.out.starts_with("plan mini is valid: 1 servers")) << good.out;
  EXPECT_EQ(Pgconvoy({"plan", "validate", dir_.Write("bad.yaml", "- 1\n")}).code, 65);
  EXPECT_EQ(json::parse(Pgconvoy({"plan", "validate", plan_, "-o", "json"}).out)["source"]["database"], "app");
}

}  // namespace
}  // namespace pgconvoy::cli
