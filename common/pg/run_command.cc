#include "common/pg/run_command.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "common/base/error.h"

namespace pgconvoy::pg {
namespace {

constexpr size_t kMaxOutputBytes = 8 << 10;

absl::Status StartError(const std::string& what, int error) {
  return MakeError(Verdict::kPermanent, "PGC-STORE-START", what + ": " + std::strerror(error));
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) {
    pointers.push_back(const_cast<char*>(text.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

// PGDATA, PGPORT, PGOPTIONS … of the caller's shell mean another server.
std::vector<std::string> CleanEnvironment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("PG")) {
      variables.emplace_back(*variable);
    }
  }
  return variables;
}

// Runs between fork and exec: only calls that are safe after a fork of a process with threads.
[[noreturn]] void BecomeCommand(const OsUser& user, int output, char* const* argv, char* const* environment) {
  const bool became = !user.switch_to || (setgroups(user.groups.size(), user.groups.data()) == 0 &&
                                          setgid(user.gid) == 0 && setuid(user.uid) == 0);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (became && chdir("/") == 0 && dup2(null, 0) >= 0 && dup2(output, 1) >= 0 && dup2(output, 2) >= 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execve(argv[0], argv, environment);
  }
  _exit(127);
}

std::string ReadAll(int fd) {
  std::string output;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n == 0 || (n < 0 && errno != EINTR)) {
      return output;
    }
    output.append(buffer.data(), n > 0 ? static_cast<size_t>(n) : 0);
    if (output.size() > kMaxOutputBytes) {
      output.erase(0, output.size() - kMaxOutputBytes);
    }
  }
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

absl::StatusOr<OsUser> ClusterUser(const std::string& run_as) {
  if (geteuid() != 0) {
    return OsUser{geteuid(), getegid(), {}, false};
  }
  const passwd* const entry = getpwnam(run_as.c_str());
  if (entry == nullptr || entry->pw_uid == 0) {
    return MakeError(Verdict::kPermanent, "PGC-STORE-USER", "there is no unprivileged user " + run_as,
                     "PostgreSQL does not run as root: start as another user, or create this one");
  }
  OsUser user{entry->pw_uid, entry->pw_gid, std::vector<gid_t>(64), true};
  int count = static_cast<int>(user.groups.size());
  if (getgrouplist(run_as.c_str(), entry->pw_gid, user.groups.data(), &count) < 0) {
    count = 0;
  }
  user.groups.resize(static_cast<size_t>(count));
  return user;
}

absl::StatusOr<CommandOutcome> RunCommand(const OsUser& user, const std::vector<std::string>& argv) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return StartError("pipe", errno);
  }
  const std::vector<std::string> environment = CleanEnvironment();
  const std::vector<char*> arguments = Pointers(argv);
  const std::vector<char*> variables = Pointers(environment);
  const pid_t pid = fork();
  if (pid == 0) {
    BecomeCommand(user, ends[1], arguments.data(), variables.data());
  }
  const int error = errno;
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return StartError("fork", error);
  }
  CommandOutcome outcome;
  outcome.output = ReadAll(ends[0]);
  close(ends[0]);
  outcome.exit_code = WaitFor(pid);
  return outcome;
}

}  // namespace pgconvoy::pg
