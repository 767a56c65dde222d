#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fake_service.h"
#include "process.h"

namespace pgconvoy::cli {
namespace {

using nlohmann::json;

class Looking : public testing::Test {
 protected:
  Looking() {
    FakeService& fake = server_.service;
    fake.migrations = {MakeMigration("7", v1::MIGRATION_RUNNING), MakeMigration("6", v1::MIGRATION_SUCCEEDED)};
    fake.migrations[0].set_plan_json("{}");
    fake.migrations[0].set_projects_running(1);
    fake.migrations[0].set_projects_succeeded(2);
    fake.projects = {MakeProject("acme-1", v1::SUCCEEDED), MakeProject("acme-2", v1::FAILED),
                     MakeProject("acme-3", v1::RUNNING)};
    fake.projects[1].mutable_error()->set_code("PGC-COPY-DENIED");
    fake.projects[1].mutable_error()->set_message("permission denied for schema auth");
    fake.projects[2].set_worker_id("w-3");
    fake.workers.resize(1);
    fake.workers[0].set_id("w-3");
    fake.workers[0].set_state("connected");
    fake.workers[0].set_slots(4);
    fake.events.resize(1);
    fake.events[0].set_kind("PROJECT_STATE");
    fake.events[0].set_reason("done");
    fake.batches.resize(1);
    fake.batches[0].set_id("3");
    fake.batches[0].set_state(v1::BATCH_LEASED);
    server_.Start();
  }

  Result Cli(std::vector<std::string> args, const Environment& environment = {}) {
    args.insert(args.begin(), {"--address", server_.address()});
    return Pgconvoy(args, environment);
  }

  FakeServer server_;
};

TEST_F(Looking, ListsProjectsAsATable) {
  const Result result = Cli({"get", "projects", "--migration", "7"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "PROJECT  STATE        PHASE  TRIES  NOTE\n"
            "acme-1   ✔ SUCCEEDED  COPY       1\n"
            "acme-2   ✖ FAILED     COPY       1  PGC-COPY-DENIED\n"
            "acme-3   ▶ RUNNING    COPY       1  w-3\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(Looking, GivesACallNoMoreTimeThanTheCoordinatorAllows) {
  using namespace std::chrono_literals;
  for (const auto& [timeout, most] : std::map<std::string, std::chrono::milliseconds>{{"40s", 40s}, {"2h", 1h}}) {
    const Result result = Cli({"--timeout", timeout, "get", "workers"});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_GT(server_.service.time_left, most / 2) << timeout;
    // gRPC rounds up.
    EXPECT_LE(server_.service.time_left, most + 10s) << timeout;
  }
}

TEST_F(Looking, JsonHoldsEveryFieldUnderItsProtoName) {
  const Result result = Cli({"get", "projects", "--migration", "7", "-o", "json"});
  const json list = json::parse(result.out);
  ASSERT_EQ(list.at("projects").size(), 3U);
  EXPECT_EQ(list["projects"][1]["state"], "FAILED");
  EXPECT_EQ(list["projects"][1]["error"]["code"], "PGC-COPY-DENIED");
  EXPECT_EQ(list["projects"][0]["bytes_copied"], "0") << "primitive fields are there even when they are zero";
}

TEST_F(Looking, NamesAreOneALine) {
  EXPECT_EQ(Cli({"get", "projects", "-o", "name"}).out, "acme-1\nacme-2\nacme-3\n");
  EXPECT_EQ(Cli({"get", "migrations", "-o", "name"}).out, "7\n6\n");
}

TEST_F(Looking, ReadsEveryPage) {
  server_.service.most_per_page = 1;
  EXPECT_EQ(Cli({"get", "projects", "-o", "name"}).out, "acme-1\nacme-2\nacme-3\n");
}

TEST_F(Looking, ALimitIsSaidOnStderrAndVisibleInJson) {
  const Result result = Cli({"get", "projects", "--limit", "2", "-o", "json"});
  const json list = json::parse(result.out);
  EXPECT_EQ(list["projects"].size(), 2U);
  EXPECT_NE(list["next_page_token"], "");
  EXPECT_NE(result.err.find("there is more"), std::string::npos);
}

TEST_F(Looking, FiltersStatesOnTheServer) {
  EXPECT_EQ(Cli({"get", "projects", "--state", "failed,needs-operator"}).code, 0);
  ASSERT_EQ(server_.service.last_list_projects.states_size(), 2);
  EXPECT_EQ(server_.service.last_list_projects.states(0), v1::FAILED);
  EXPECT_EQ(server_.service.last_list_projects.states(1), v1::NEEDS_OPERATOR);
}

TEST_F(Looking, SuggestsTheStateThatWasMeant) {
  const Result result = Cli({"get", "projects", "--state", "FAILDE"});
  EXPECT_EQ(result.code, 64);
  EXPECT_NE(result.err.find("did you mean FAILED?"), std::string::npos) << result.err;
}

TEST_F(Looking, AnOmittedMigrationIsTheOnlyUnfinishedOne) {
  const Result result = Cli({"describe", "migration", "-o", "json"});
  EXPECT_EQ(json::parse(result.out)["id"], "7") << result.err;
}

TEST_F(Looking, AnOmittedMigrationAmongSeveralIsRefusedWithTheirIds) {
  server_.service.migrations.push_back(MakeMigration("12", v1::MIGRATION_PAUSED));
  const Result result = Cli({"describe", "migration"});
  EXPECT_EQ(result.code, 64);
  EXPECT_NE(result.err.find("several migrations are unfinished: 7, 12"), std::string::npos) << result.err;
}

TEST_F(Looking, LatestIsTheHighestNumberAndNotTheHighestText) {
  server_.service.migrations.push_back(MakeMigration("12", v1::MIGRATION_SUCCEEDED));
  EXPECT_EQ(Cli({"describe", "migration", "latest", "-o", "name"}).out, "12\n");
}

TEST_F(Looking, DescribesAProjectWithAndWithoutItsMigration) {
  const Result with = Cli({"describe", "project", "7", "acme-2"});
  const Result without = Cli({"describe", "project", "acme-2"});
  EXPECT_EQ(with.code, 0) << with.err;
  EXPECT_EQ(with.out, without.out);
  EXPECT_NE(with.out.find("acme-2  ✖ FAILED in COPY"), std::string::npos) << with.out;
  EXPECT_NE(with.out.find("PGC-COPY-DENIED: permission denied for schema auth"), std::string::npos) << with.out;
}

TEST_F(Looking, WhatDoesNotExistIsAFailure) {
  const Result result = Cli({"describe", "migration", "99"});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("there is no migration 99"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, "");
}

TEST_F(Looking, NoFormatWritesAnEscapeByteIntoAPipe) {
  server_.service.projects[0].set_ref("evil\x1b[2J");
  const std::vector<std::vector<std::string>> commands = {{"get", "migrations"},
                                                          {"get", "batches"},
                                                          {"get", "projects"},
                                                          {"get", "workers"},
                                                          {"get", "events"},
                                                          {"describe", "migration"},
                                                          {"describe", "project", "acme-2"},
                                                          {"backup", "list"},
                                                          {"backup", "verify", "a/1"}};
  for (std::vector<std::string> command : commands) {
    for (const char* format : {"table", "wide", "json", "yaml", "name"}) {
      std::vector<std::string> args = command;
      args.insert(args.end(), {"-o", format});
      const Result result = Cli(args);
      EXPECT_EQ(result.code, 0) << command[0] << " " << command[1] << " " << format << ": " << result.err;
      EXPECT_EQ((result.out + result.err).find('\x1b'), std::string::npos) << command[1] << " " << format;
      if (std::string(format) == "json") {
        EXPECT_TRUE(json::accept(result.out)) << result.out;
      }
    }
  }
}

TEST_F(Looking, ColourFollowsTheFlagBeforeNoColor) {
  const Environment no_color = {{"NO_COLOR", "1"}};
  EXPECT_NE(Cli({"get", "projects", "--color", "always"}, no_color).out.find("\x1b[32m"), std::string::npos);
  EXPECT_EQ(Cli({"get", "projects", "--color", "never"}).out.find('\x1b'), std::string::npos);
}

TEST_F(Looking, ATerminalGetsColourUnlessItIsDumbOrNoneIsWanted) {
  const std::vector<std::string> args = {"--address", server_.address(), "get", "projects"};
  EXPECT_NE(RunOnTerminal(args, "").out.find("\x1b[32m"), std::string::npos);
  EXPECT_EQ(RunOnTerminal(args, "", {{"TERM", "dumb"}}).out.find('\x1b'), std::string::npos);
  EXPECT_EQ(RunOnTerminal(args, "", {{"NO_COLOR", "1"}}).out.find('\x1b'), std::string::npos);
}

TEST_F(Looking, AnAsciiLocaleGetsAsciiGlyphs) {
  const Result result = Cli({"get", "projects"}, {{"LANG", "C"}});
  EXPECT_NE(result.out.find("+ SUCCEEDED"), std::string::npos) << result.out;
}

TEST_F(Looking, AFlagBeatsTheEnvironmentWhichBeatsTheFile) {
  const TempDir dir;
  const std::string config = dir.Write("config.yaml", "address: 127.0.0.1:1\noutput: name\n");
  EXPECT_EQ(Pgconvoy({"get", "workers", "--config", config}).code, 69);
  const Environment env = {{"PGCONVOY_ADDRESS", server_.address()}};
  EXPECT_EQ(Pgconvoy({"get", "workers", "--config", config}, env).out, "w-3\n");
  EXPECT_EQ(Pgconvoy({"get", "workers", "--config", config, "--address", "127.0.0.1:1"}, env).code, 69);
  EXPECT_TRUE(json::accept(Pgconvoy({"get", "workers", "--config", config, "-o", "json"}, env).out));
}

TEST_F(Looking, AnUnknownKeyInTheConfigurationIsRefused) {
  const TempDir dir;
  const Result result = Pgconvoy({"get", "workers", "--config", dir.Write("config.yaml", "adress: x\n")});
  EXPECT_EQ(result.code, 64);
  EXPECT_NE(result.err.find("adress"), std::string::npos) << result.err;
}

TEST_F(Looking, ABackupThatIsNotWhatItsManifestSaysIsAFailure) {
  server_.service.refusal = absl::FailedPreconditionError("chunk 3 differs");
  const Result result = Cli({"backup", "verify", "acme-1/41"});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("chunk 3 differs"), std::string::npos) << result.err;
}

TEST(Unavailable, SaysWhatToDo) {
  const Result result = Pgconvoy({"get", "migrations", "--address", "127.0.0.1:1"});
  EXPECT_EQ(result.code, 69);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err,
            "error PGC-CLI-UNAVAILABLE: no coordinator answers at 127.0.0.1:1; is it running there? start one with "
            "`pgconvoy local up`, or name another with --address\n");
}

}  // namespace
}  // namespace pgconvoy::cli
