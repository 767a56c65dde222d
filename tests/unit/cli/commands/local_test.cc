#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/commands/local_state.h"
#include "process.h"

namespace pgconvoy::cli {
namespace {

namespace fs = std::filesystem;

// Leaves a file while it runs, as a connection would; says in its log how it ended.
constexpr char kWorker[] = R"(#!/bin/bash
while [ $# -gt 0 ]; do [ "$1" = --worker-id ] && id=$2; shift 2; done
trap 'echo drained; rm -f "$FAKE_WORKERS/$id"; exit 0' TERM
touch "$FAKE_WORKERS/$id"
while :; do sleep 0.05; done
)";

// A folder with the real CLI beside a fake coordinator and fake workers.
class Local : public testing::Test {
 protected:
  Local() {
    fs::create_directories(bin_);
    fs::create_directories(workers_);
    fs::copy_file(BinDir() + "/pgconvoy", bin_ + "/pgconvoy");
    fs::copy_file(BinDir() + "/cli_fake_coordinator", bin_ + "/pgconvoy-coordinator");
    temp_.Write("bin/pgconvoy-worker", kWorker);
    fs::permissions(bin_ + "/pgconvoy-worker", fs::perms::owner_all);
  }

  ~Local() override { Cli({"down"}); }

  Process Start(std::vector<std::string> args, Environment environment = {}) {
    args.insert(args.begin(), "local");
    args.insert(args.end(), {"--dir", dir_});
    environment["FAKE_WORKERS"] = workers_;
    return Process(args, environment, bin_ + "/pgconvoy");
  }

  Result Cli(const std::vector<std::string>& args, const Environment& environment = {}) {
    return Start(args, environment).Finish();
  }

  Result UpDetached() { return Cli({"up", "--detach", "--workers", "2", "--listen", "127.0.0.1:0"}); }

  LocalState State() const {
    const auto state = ReadLocalState(dir_);
    return state.ok() ? *state : LocalState();
  }

  // Until the child of that name is another process than before.
  ProcessRef WaitForSuccessor(const ProcessRef& before) {
    while (true) {
      const LocalState state = State();
      std::vector<ProcessRef> all = state.workers;
      all.push_back(state.coordinator);
      for (const ProcessRef& process : all) {
        if (process.name == before.name && process.pid != before.pid && IsAlive(process)) {
          return process;
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  TempDir temp_;
  const std::string bin_ = temp_.path() + "/bin";
  const std::string workers_ = temp_.path() + "/workers";
  const std::string dir_ = temp_.path() + "/instance";
};

TEST_F(Local, DetachReturnsWhenEveryWorkerIsConnectedAndDownStopsAll) {
  const Result up = UpDetached();
  ASSERT_EQ(up.code, 0) << up.err;
  const LocalState state = State();
  EXPECT_EQ(up.out, state.address + "\n");
  EXPECT_EQ(state.workers.size(), 2U);
  EXPECT_EQ(fs::status(LocalStateFile(dir_)).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(Pgconvoy({"get", "workers", "--address", state.address, "-o", "name"}).out, "local-1\nlocal-2\n");

  const Result status = Cli({"status", "-o", "json"});
  EXPECT_EQ(status.code, 0) << status.err;
  EXPECT_EQ(nlohmann::json::parse(status.out)["workers_running"], 2);
  const nlohmann::json processes = nlohmann::json::parse(status.out)["processes"];
  EXPECT_EQ(processes,
            nlohmann::json({{{"name", "supervisor"}, {"state", "running"}, {"pid", state.supervisor.pid}},
                            {{"name", "coordinator"}, {"state", "running"}, {"pid", state.coordinator.pid}},
                            {{"name", "local-1"}, {"state", "running"}, {"pid", state.workers[0].pid}},
                            {{"name", "local-2"}, {"state", "running"}, {"pid", state.workers[1].pid}}}));

  EXPECT_EQ(Cli({"down"}).code, 0);
  for (const ProcessRef& process : {state.supervisor, state.coordinator, state.workers[0], state.workers[1]}) {
    EXPECT_FALSE(IsAlive(process)) << process.name;
  }
  EXPECT_EQ(ReadFile(dir_ + "/log/local-1.log"), "drained\n");
  EXPECT_FALSE(fs::exists(LocalStateFile(dir_)));
  EXPECT_EQ(Cli({"status"}).code, 1);
  EXPECT_EQ(Cli({"down"}).code, 0) << "stopping what does not run is no error";
}

TEST_F(Local, ForegroundStopsWithASignal) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Process up = Start({"up", "--workers", "1", "--listen", "127.0.0.1:0"});
    ASSERT_TRUE(up.WaitForErr("Ctrl-C stops it"));
    const LocalState state = State();
    kill(up.pid(), signal);
    EXPECT_EQ(up.Finish().code, 0);
    EXPECT_FALSE(IsAlive(state.coordinator));
    EXPECT_FALSE(IsAlive(state.workers.at(0)));
  }
}

TEST_F(Local, AChildThatDiesIsStartedAgainUnderTheSameAddress) {
  ASSERT_EQ(UpDetached().code, 0);
  const LocalState before = State();
  kill(before.workers.at(0).pid, SIGKILL);
  WaitForSuccessor(before.workers.at(0));
  kill(before.coordinator.pid, SIGKILL);
  WaitForSuccessor(before.coordinator);
  EXPECT_EQ(State().address, before.address);
  EXPECT_NE(ReadFile(dir_ + "/log/supervisor.log").find("local-1 was killed by signal 9; it is started again"),
            std::string::npos);
}

TEST_F(Local, ListensWhereOnlyThisMachineReachesItAndShowsNobodysCertificate) {
  const Result open = Cli({"up", "--detach", "--listen", "0.0.0.0:0"});
  EXPECT_EQ(open.code, 64) << open.err;
  const Result up = Cli({"up", "--detach", "--listen", "127.0.0.1:0"},
                        {{"PGCONVOY_TLS_CERT", "a"}, {"PGCONVOY_TLS_KEY", "b"}, {"PGCONVOY_TLS_CA", "c"}});
  ASSERT_EQ(up.code, 0) << up.err;
  const std::string environment = ReadFile("/proc/" + std::to_string(State().coordinator.pid) + "/environ");
  EXPECT_NE(environment, "");
  EXPECT_EQ(environment.find("PGCONVOY_TLS"), std::string::npos);
}

TEST_F(Local, ASecondInstanceInTheSameFolderIsRefused) {
  ASSERT_EQ(UpDetached().code, 0);
  const LocalState state = State();
  const Result detached = UpDetached();
  EXPECT_EQ(detached.code, 4) << detached.err;
  EXPECT_NE(detached.err.find("PGC-LOCAL-RUNNING"), std::string::npos) << detached.err;
  EXPECT_EQ(Cli({"up", "--listen", "127.0.0.1:0"}).code, 4);
  EXPECT_TRUE(IsAlive(state.supervisor)) << "the first instance must not suffer";
  EXPECT_EQ(State().supervisor.pid, state.supervisor.pid);
}

TEST_F(Local, ACoordinatorThatDoesNotStartIsShownWithItsLog) {
  for (const bool detach : {false, true}) {
    std::vector<std::string> args = {"up", "--listen", "127.0.0.1:0"};
    if (detach) {
      args.push_back("--detach");
    }
    const Result up = Cli(args, {{"FAKE_COORDINATOR_BROKEN", "1"}});
    EXPECT_EQ(up.code, 1) << up.err;
    EXPECT_NE(up.err.find("coordinator could not be started: it ended with exit code 3"), std::string::npos)
        << up.err;
    EXPECT_NE(up.err.find("the store is broken"), std::string::npos) << up.err;
  }
}

TEST_F(Local, MissingProgramsAreNamed) {
  fs::remove(bin_ + "/pgconvoy-coordinator");
  const Result up = Cli({"up", "--listen", "127.0.0.1:0"});
  EXPECT_EQ(up.code, 1);
  EXPECT_NE(up.err.find("no such program"), std::string::npos) << up.err;
}

TEST_F(Local, ChildrenGoWithTheirSupervisorAndDownCleansUp) {
  ASSERT_EQ(UpDetached().code, 0);
  const LocalState state = State();
  kill(state.supervisor.pid, SIGKILL);
  EXPECT_EQ(Cli({"down"}).code, 0);
  EXPECT_FALSE(IsAlive(state.coordinator));
  EXPECT_FALSE(IsAlive(state.workers.at(0)));
  EXPECT_FALSE(fs::exists(LocalStateFile(dir_)));
}

TEST_F(Local, DownNeverTouchesAProcessThatOnlyHasTheSameId) {
  Process bystander({"600"}, {}, "/bin/sleep");
  fs::create_directories(dir_);
  LocalState state;
  state.address = "127.0.0.1:1";
  state.supervisor = {"supervisor", bystander.pid(), StartTicks(bystander.pid()).value() - 1};
  state.coordinator = {"coordinator", bystander.pid(), StartTicks(bystander.pid()).value() + 1};
  ASSERT_TRUE(WriteLocalState(dir_, state).ok());
  EXPECT_EQ(Cli({"down"}).code, 0);
  EXPECT_TRUE(StartTicks(bystander.pid())) << "an innocent process was stopped";
}

TEST_F(Local, CommandsFindTheInstanceInTheDefaultFolder) {
  const std::string state_home = temp_.path() + "/state";
  ASSERT_TRUE(fs::create_directories(state_home));
  fs::create_directory_symlink(dir_, state_home + "/pgconvoy");
  ASSERT_EQ(UpDetached().code, 0);
  EXPECT_EQ(Pgconvoy({"get", "workers", "-o", "name"}, {{"XDG_STATE_HOME", state_home}}).out, "local-1\nlocal-2\n");
}

TEST(LocalState, ReadsTheStartTimeOfThisProcess) {
  const auto ticks = StartTicks(getpid());
  ASSERT_TRUE(ticks);
  EXPECT_GT(*ticks, 0);
  EXPECT_TRUE(IsAlive({"me", getpid(), *ticks}));
  EXPECT_FALSE(IsAlive({"me", getpid(), *ticks + 1}));
  EXPECT_FALSE(IsAlive({"nobody", 0, 0}));
}

TEST(LocalState, SurvivesTheFile) {
  const TempDir dir;
  LocalState state;
  state.address = "127.0.0.1:7070";
  state.supervisor = {"supervisor", 11, 22};
  state.workers = {{"local-1", 33, 44}};
  ASSERT_TRUE(WriteLocalState(dir.path(), state).ok());
  const auto read = ReadLocalState(dir.path());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->address, state.address);
  EXPECT_EQ(read->supervisor.start_ticks, 22);
  EXPECT_EQ(read->workers.at(0).name, "local-1");
}

TEST(LocalState, ADamagedFileIsAnErrorAndAMissingOneIsNotFound) {
  const TempDir dir;
  EXPECT_TRUE(absl::IsNotFound(ReadLocalState(dir.path()).status()));
  for (const char* text : {"{", "[]", "{\"address\": 5}"}) {
    dir.Write("local.json", text);
    EXPECT_TRUE(absl::IsInvalidArgument(ReadLocalState(dir.path()).status())) << text;
  }
}

}  // namespace
}  // namespace pgconvoy::cli
