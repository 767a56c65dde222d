#include "common/base/failpoint.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "common/base/error.h"

namespace pgconvoy {
namespace {

// The environment is read once per process, so each configuration gets a process of its own. Gives waitpid's status.
int RunWith(const std::string& config, const std::string& once_file, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("PGCONVOY_FAILPOINTS", config.c_str(), 1);
    if (!once_file.empty()) {
      ::setenv("PGCONVOY_FAILPOINTS_ONCE", once_file.c_str(), 1);
    }
    ::_exit(body());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

// One bit per hit, set when that hit failed.
int FailedHits(const char* name, int hits) {
  int failed = 0;
  for (int i = 0; i < hits; ++i) {
    failed |= HitFailpoint(name).ok() ? 0 : 1 << i;
  }
  return failed;
}

int ExitOf(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

TEST(Failpoint, DoesNothingUnlessConfigured) {
  EXPECT_EQ(ExitOf(RunWith("", "", [] { return FailedHits("copy.commit", 3); })), 0);
  EXPECT_EQ(ExitOf(RunWith("other=error@*", "", [] { return FailedHits("copy.commit", 3); })), 0);
}

TEST(Failpoint, FiresAtTheNamedHit) {
  EXPECT_EQ(ExitOf(RunWith("a=error", "", [] { return FailedHits("a", 4); })), 0b0001);
  EXPECT_EQ(ExitOf(RunWith("a=error@3", "", [] { return FailedHits("a", 4); })), 0b0100);
  EXPECT_EQ(ExitOf(RunWith("a=error@*", "", [] { return FailedHits("a", 4); })), 0b1111);
}

TEST(Failpoint, ReadsSeveralNames) {
  EXPECT_EQ(ExitOf(RunWith("a=sleep(1);b=error", "", [] { return FailedHits("a", 1) + FailedHits("b", 1); })), 1);
}

TEST(Failpoint, KillsTheProcess) {
  const int status = RunWith("a=kill", "", [] { return FailedHits("a", 1); });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST(Failpoint, ReturnsATransientError) {
  const auto is_transient = [] {
    const absl::Status status = HitFailpoint("a");
    return VerdictOf(status) == Verdict::kTransient && CodeOf(status) == "PGC-TEST-FAILPOINT" ? 42 : 0;
  };
  EXPECT_EQ(ExitOf(RunWith("a=error", "", is_transient)), 42);
}

// How often what the failpoint surrounds is done, and 10 more when the caller hears that it is in doubt.
int TimesDone(const char* name) {
  int times = 0;
  const absl::Status status = RunUnderFailpoint(name, [&times] {
    ++times;
    return absl::OkStatus();
  });
  return times + (!status.ok() && VerdictOf(status) == Verdict::kInDoubt ? 10 : 0);
}

TEST(Failpoint, SurroundsWhatIsDone) {
  EXPECT_EQ(ExitOf(RunWith("", "", [] { return TimesDone("a"); })), 1);
  EXPECT_EQ(ExitOf(RunWith("a=duplicate", "", [] { return TimesDone("a"); })), 2);
  EXPECT_EQ(ExitOf(RunWith("a=timeout", "", [] { return TimesDone("a"); })), 11);
  EXPECT_EQ(ExitOf(RunWith("a=error", "", [] { return TimesDone("a"); })), 0);
  EXPECT_EQ(ExitOf(RunWith("a=duplicate@2", "", [] { return TimesDone("a") + 4 * TimesDone("a"); })), 1 + 4 * 2);
}

TEST(Failpoint, SaysWhatFiredAlsoWhenItKills) {
  const std::string file = ::testing::TempDir() + "failpoint_log." + std::to_string(::getpid());
  std::filesystem::remove(file);
  ::setenv("PGCONVOY_FAILPOINTS_LOG", file.c_str(), 1);
  RunWith("a=error@2;b=kill", "", [] { return FailedHits("a", 3) + FailedHits("b", 1); });
  ::unsetenv("PGCONVOY_FAILPOINTS_LOG");
  std::ifstream log(file);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(log), {}), "a error\nb kill\n");
  EXPECT_TRUE(std::filesystem::remove(file));
}

TEST(Failpoint, FiresOnceOverAllProcessesThatShareAFile) {
  const std::string file = ::testing::TempDir() + "failpoint_once." + std::to_string(::getpid());
  std::filesystem::remove(file);
  EXPECT_EQ(ExitOf(RunWith("a=error@*", file, [] { return FailedHits("a", 3); })), 0b001);
  EXPECT_EQ(ExitOf(RunWith("a=error@*", file, [] { return FailedHits("a", 3); })), 0);
  EXPECT_TRUE(std::filesystem::remove(file));
}

}  // namespace
}  // namespace pgconvoy
