// A real process of ours under test: started with arguments and environment, its output in files, killed on
// destruction. Dies with the thread that started it, and so with the test process.
//
// Thread safety: one thread at a time. Errors: the constructor throws when the binary cannot be started.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pgconvoy::testing {

struct ProcessOptions {
  // argv[0] is a path, or the name of one of the project's binaries.
  std::vector<std::string> argv;
  // Added to this process's environment.
  std::map<std::string, std::string> env = {};
  // Files, appended to. Empty: /dev/null.
  std::string stdout_path = {};
  std::string stderr_path = {};
  // Empty: that of this process.
  std::string working_directory = {};
};

class Process {
 public:
  explicit Process(const ProcessOptions& options);
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool Running();
  // SIGSTOP, or a failpoint, has stopped it.
  bool Stopped() const;
  // Does nothing once the process has been waited for.
  void Kill(int signal);
  // Exit code, or 128 + signal; nothing when it still runs after `timeout`. May be called again.
  std::optional<int> Wait(std::chrono::milliseconds timeout = std::chrono::seconds(30));

 private:
  bool Reap();
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

// Runs a process to its end and gives what it printed.
struct Finished {
  int exit_code = 0;
  std::string out;
  std::string err;
};
Finished RunToEnd(ProcessOptions options, std::chrono::milliseconds timeout = std::chrono::seconds(60));

// The path of one of the project's binaries: $PGCONVOY_BIN_DIR/NAME, else beside the test's own binary.
std::string BinaryPath(const std::string& name);

// "" when there is no such file.
std::string ReadFile(const std::string& path);

}  // namespace pgconvoy::testing
