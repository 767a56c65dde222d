#include "tests/support/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> EnvironmentWith(const std::map<std::string, std::string>& added) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (!added.contains(text.substr(0, text.find('=')))) {
      variables.push_back(text);
    }
  }
  for (const auto& [name, value] : added) {
    variables.push_back(name + "=" + value);
  }
  return variables;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

int OpenOutput(const std::string& path) {
  const int fd = open(path.empty() ? "/dev/null" : path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) {
    throw std::runtime_error("cannot open " + path);
  }
  return fd;
}

}  // namespace

Process::Process(const ProcessOptions& options) {
  std::vector<std::string> arguments = options.argv;
  arguments.at(0) = BinaryPath(arguments.at(0));
  std::vector<std::string> environment = EnvironmentWith(options.env);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  const int out = OpenOutput(options.stdout_path);
  const int err = OpenOutput(options.stderr_path);
  pid_ = fork();
  if (pid_ == 0) {
    // A test that is killed must not leave its processes behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const bool moved = options.working_directory.empty() || chdir(options.working_directory.c_str()) == 0;
    if (moved && dup2(open("/dev/null", O_RDONLY), 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0) {
      execve(argv[0], argv.data(), envp.data());
    }
    _exit(127);
  }
  close(out);
  close(err);
  if (pid_ < 0) {
    throw std::runtime_error("cannot fork");
  }
}

Process::~Process() {
  Kill(SIGKILL);
  if (pid_ > 0 && !exit_code_) {
    waitpid(pid_, nullptr, 0);
  }
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), exit_code_(std::exchange(other.exit_code_, std::nullopt)) {}

bool Process::Reap() {
  int status = 0;
  if (pid_ > 0 && !exit_code_ && waitpid(pid_, &status, WNOHANG) == pid_) {
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return exit_code_.has_value();
}

bool Process::Running() { return pid_ > 0 && !Reap(); }

bool Process::Stopped() const {
  const std::string stat = ReadFile("/proc/" + std::to_string(pid_) + "/stat");
  const size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.compare(name_end, 3, ") T") == 0;
}

void Process::Kill(int signal) {
  if (pid_ > 0 && !exit_code_) {
    kill(pid_, signal);
  }
}

std::optional<int> Process::Wait(std::chrono::milliseconds timeout) {
  Eventually([this] { return Reap(); }, timeout);
  return exit_code_;
}

Finished RunToEnd(ProcessOptions options, std::chrono::milliseconds timeout) {
  const TempDir folder;
  options.stdout_path = folder.path() + "/out";
  options.stderr_path = folder.path() + "/err";
  Process process(options);
  const std::optional<int> exit_code = process.Wait(timeout);
  if (!exit_code) {
    throw std::runtime_error(options.argv.at(0) + " does not end: " + ReadFile(options.stderr_path));
  }
  return {*exit_code, ReadFile(options.stdout_path), ReadFile(options.stderr_path)};
}

std::string BinaryPath(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return name;
  }
  if (const char* const folder = std::getenv("PGCONVOY_BIN_DIR"); folder != nullptr) {
    return std::string(folder) + "/" + name;
  }
  return fs::read_symlink("/proc/self/exe").parent_path() / name;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace pgconvoy::testing
