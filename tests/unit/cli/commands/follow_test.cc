#include <gtest/gtest.h>

#include <csignal>
#include <tuple>

#include <nlohmann/json.hpp>

#include "fake_service.h"
#include "process.h"

namespace pgconvoy::cli {
namespace {

using nlohmann::json;

class Following : public testing::Test {
 protected:
  Following() {
    server_.service.migrations = {MakeMigration("7", v1::MIGRATION_RUNNING)};
    server_.service.migrations[0].set_projects_running(3);
    server_.service.watch = {server_.service.migrations[0]};
    server_.Start();
  }

  std::vector<std::string> Args(std::vector<std::string> args) const {
    args.insert(args.begin(), {"--address", server_.address()});
    return args;
  }

  void EndsAs(v1::MigrationState state, int need_operator = 0) {
    const std::lock_guard lock(server_.service.mutex);
    v1::Migration ended = MakeMigration("7", state);
    ended.set_projects_succeeded(3 - need_operator);
    ended.set_projects_need_operator(need_operator);
    server_.service.watch = {server_.service.migrations[0], ended};
  }

  FakeServer server_;
};

TEST_F(Following, TheExitCodeIsTheOutcome) {
  const std::vector<std::tuple<v1::MigrationState, int, int>> outcomes = {
      {v1::MIGRATION_SUCCEEDED, 0, 0},   {v1::MIGRATION_SUCCEEDED_WITH_WARNINGS, 0, 2},
      {v1::MIGRATION_FAILED, 0, 1},      {v1::MIGRATION_CANCELLED, 0, 1},
      {v1::MIGRATION_ROLLED_BACK, 0, 0}, {v1::MIGRATION_FAILED, 2, 3}};
  for (const auto& [state, need_operator, code] : outcomes) {
    EndsAs(state, need_operator);
    for (const char* command : {"wait", "watch"}) {
      const Result result = Pgconvoy(Args({command, "7"}));
      EXPECT_EQ(result.code, code) << command << " " << v1::MigrationState_Name(state) << "\n" << result.err;
    }
  }
}

TEST_F(Following, WaitKeepsProgressOffStdout) {
  EndsAs(v1::MIGRATION_SUCCEEDED);
  const Result result = Pgconvoy(Args({"wait"}));
  EXPECT_EQ(result.out, "migration 7 ✔ SUCCEEDED after 3m05s: 3 SUCCEEDED; 812 rows, 0 B\n");
  EXPECT_NE(result.err.find(" migration=7 state=RUNNING done=0/3 percent=0.0 running=3"), std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("state=SUCCEEDED done=3/3 percent=100.0"), std::string::npos)
      << "the last state is never swallowed by the pace: " << result.err;
}

TEST_F(Following, WaitWritesOneJsonDocument) {
  EndsAs(v1::MIGRATION_SUCCEEDED);
  EXPECT_EQ(json::parse(Pgconvoy(Args({"wait", "7", "-o", "json"})).out)["state"], "MIGRATION_SUCCEEDED");
}

TEST_F(Following, WatchWritesOneJsonObjectALine) {
  EndsAs(v1::MIGRATION_SUCCEEDED);
  const std::string out = Pgconvoy(Args({"watch", "7", "-o", "json"})).out;
  std::string last;
  for (size_t from = 0; from < out.size();) {
    const size_t end = out.find('\n', from);
    ASSERT_NE(end, std::string::npos) << out;
    last = json::parse(out.substr(from, end - from)).at("state");
    from = end + 1;
  }
  EXPECT_EQ(last, "MIGRATION_SUCCEEDED");
}

TEST_F(Following, AMigrationThatHasEndedIsReportedAtOnce) {
  server_.service.migrations[0] = MakeMigration("7", v1::MIGRATION_CANCELLED);
  EXPECT_EQ(Pgconvoy(Args({"wait", "7"})).code, 1);
}

TEST_F(Following, TheOwnTimeoutIs124AndSaysThatTheMigrationGoesOn) {
  const Result result = Pgconvoy(Args({"wait", "7", "--timeout", "300ms"}));
  EXPECT_EQ(result.code, 124);
  EXPECT_NE(result.err.find("not done within 0.3 s; migration 7 goes on"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, "");
}

TEST_F(Following, AnInterruptDetachesAndSaysSo) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Process process(Args({"wait", "7"}));
    ASSERT_TRUE(process.WaitForErr("state=RUNNING"));
    kill(process.pid(), signal);
    const Result result = process.Finish();
    EXPECT_EQ(result.code, 130);
    EXPECT_NE(result.err.find("migration 7 goes on. Follow it again: pgconvoy watch 7"), std::string::npos)
        << result.err;
  }
}

TEST_F(Following, SurvivesARestartOfTheCoordinator) {
  Process process(Args({"wait", "7"}));
  ASSERT_TRUE(process.WaitForErr("state=RUNNING"));
  server_.Stop();
  ASSERT_TRUE(process.WaitForErr("lost the coordinator"));
  EndsAs(v1::MIGRATION_SUCCEEDED);
  server_.Start();
  const Result result = process.Finish();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("the coordinator is back"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("lost the coordinator"), result.err.rfind("lost the coordinator"))
      << "said more than once: " << result.err;
}

TEST_F(Following, GivesUpWhenTheTimeoutEndsWhileTheCoordinatorIsAway) {
  Process process(Args({"wait", "7", "--timeout", "2s"}));
  ASSERT_TRUE(process.WaitForErr("state=RUNNING"));
  server_.Stop();
  EXPECT_EQ(process.Finish().code, 124);
}

TEST_F(Following, ATerminalGetsABlockThatIsRedrawn) {
  EndsAs(v1::MIGRATION_SUCCEEDED);
  const Result result = RunOnTerminal(Args({"watch", "7"}), "");
  EXPECT_EQ(result.code, 0);
  EXPECT_NE(result.out.find("done   0/3 "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("\x1b[5A\r\x1b[J"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("100.0%"), std::string::npos) << result.out;
}

TEST_F(Following, ADumbTerminalGetsLines) {
  EndsAs(v1::MIGRATION_SUCCEEDED);
  const Result result = RunOnTerminal(Args({"watch", "7"}), "", {{"TERM", "dumb"}});
  EXPECT_EQ(result.out.find('\x1b'), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("state=SUCCEEDED done=3/3"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace pgconvoy::cli
