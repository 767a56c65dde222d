#include "process.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace pgconvoy::cli {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

// argv and envp, made before fork: gRPC's threads run in this process.
struct Image {
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::vector<char*> argv;
  std::vector<char*> envp;

  Image(const std::vector<std::string>& given,
        const Environment& extra,
        const std::string& home,
        std::string binary) {
    args = {binary.empty() ? BinDir() + "/pgconvoy" : std::move(binary)};
    args.insert(args.end(), given.begin(), given.end());
    Environment all = {{"HOME", home},
                       {"PATH", "/usr/bin:/bin"},
                       {"LANG", "C.UTF-8"},
                       {"TERM", "xterm"},
                       // A private folder for root too.
                       {"XDG_STATE_HOME", home + "/state"}};
    for (const auto& [name, value] : extra) {
      all[name] = value;
    }
    for (const auto& [name, value] : all) {
      env.push_back(name + "=" + value);
    }
    argv = Pointers(args);
    envp = Pointers(env);
  }
};

int ExitCode(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status); }

bool Append(int& fd, std::string& text) {
  char buffer[8192];
  const ssize_t got = read(fd, buffer, sizeof buffer);
  if (got > 0) {
    text.append(buffer, static_cast<size_t>(got));
    return true;
  }
  if (got < 0 && errno == EINTR) {
    return true;
  }
  close(fd);
  fd = -1;
  return false;
}

}  // namespace

TempDir::TempDir() {
  char name[] = "/tmp/pgconvoy_cli_XXXXXX";
  path_ = mkdtemp(name);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::Write(const std::string& name, const std::string& content) const {
  std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  return path_ + "/" + name;
}

std::string BinDir() { return std::getenv("PGCONVOY_BIN_DIR"); }

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Process::Process(const std::vector<std::string>& args, const Environment& environment, std::string binary) {
  Image image(args, environment, home_.path(), std::move(binary));
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    return;
  }
  pid_ = fork();
  if (pid_ == 0) {
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    execve(image.argv[0], image.argv.data(), image.envp.data());
    _exit(126);
  }
  close(out[1]);
  close(err[1]);
  out_fd_ = out[0];
  err_fd_ = err[0];
}

Process::~Process() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    Finish();
  }
}

bool Process::ReadSome() {
  pollfd fds[2] = {{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}};
  if ((out_fd_ < 0 && err_fd_ < 0) || (poll(fds, 2, -1) < 0 && errno != EINTR)) {
    return false;
  }
  if (out_fd_ >= 0 && fds[0].revents != 0) {
    Append(out_fd_, result_.out);
  }
  if (err_fd_ >= 0 && fds[1].revents != 0) {
    Append(err_fd_, result_.err);
  }
  return true;
}

bool Process::WaitForErr(const std::string& text) {
  while (result_.err.find(text) == std::string::npos) {
    if (!ReadSome()) {
      return false;
    }
  }
  return true;
}

bool Process::WaitForOut(const std::string& text) {
  while (result_.out.find(text) == std::string::npos) {
    if (!ReadSome()) {
      return false;
    }
  }
  return true;
}

Result Process::Finish() {
  while (ReadSome()) {
  }
  int status = 0;
  if (pid_ > 0 && waitpid(pid_, &status, 0) == pid_) {
    result_.code = ExitCode(status);
    pid_ = 0;
  }
  return result_;
}

Result Pgconvoy(const std::vector<std::string>& args, const Environment& environment) {
  return Process(args, environment).Finish();
}

Result RunOnTerminal(const std::vector<std::string>& args, const std::string& input, const Environment& environment) {
  const TempDir home;
  Image image(args, environment, home.path(), "");
  winsize size{24, 80, 0, 0};
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  if (pid == 0) {
    execve(image.argv[0], image.argv.data(), image.envp.data());
    _exit(126);
  }
  Result result;
  [[maybe_unused]] const ssize_t ignored = write(terminal, input.data(), input.size());
  while (terminal >= 0 && Append(terminal, result.out)) {
  }
  int status = 0;
  waitpid(pid, &status, 0);
  result.code = ExitCode(status);
  return result;
}

}  // namespace pgconvoy::cli
