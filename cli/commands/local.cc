#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/commands/commands.h"
#include "cli/commands/json.h"
#include "cli/commands/local_state.h"
#include "cli/commands/supervisor.h"
#include "cli/render/marks.h"
#include "cli/render/table.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/rpc/tls.h"

namespace pgconvoy::cli {
namespace {

constexpr char kAlreadyRunning[] = "PGC-LOCAL-RUNNING";
constexpr Millis kPoll{100};
// Workers drain and the store is closed; see the supervisor's own limits.
constexpr Millis kDownLimit{660'000};

std::string FolderOf(const std::string& dir) {
  std::error_code ignored;
  return dir.empty() ? DefaultLocalDir() : std::filesystem::absolute(dir, ignored).lexically_normal().string();
}

SupervisorOptions OptionsOf(const LocalOptions& options) {
  return {FolderOf(options.dir), options.listen, options.workers, options.slots};
}

void ShowReady(const Session& session, const std::string& dir, const LocalState& state) {
  if (session.structured()) {
    OutStructured(session, ToJson(JsonFields{{"address", state.address},
                                             {"dir", dir},
                                             {"supervisor_pid", int64_t{state.supervisor.pid}},
                                             {"workers", static_cast<int64_t>(state.workers.size())}}));
  } else {
    Out(state.address + "\n");
  }
  std::fflush(stdout);
  Say("pgconvoy runs at " + state.address + " with " + std::to_string(state.workers.size()) +
      " workers (logs: " + dir + "/log)");
}

int UpInForeground(Session& session, const SupervisorOptions& options) {
  Supervisor supervisor(
      options, [](const std::string& line) { Say(line); },
      [&](const LocalState& state) {
        ShowReady(session, options.dir, state);
        Say("Ctrl-C stops it");
      });
  const absl::Status status = supervisor.Run();
  if (status.ok()) {
    return kOk;
  }
  Fail(session, status);
  return CodeOf(status) == kAlreadyRunning ? kRefused : kFailure;
}

// In the process that stays behind. What it says goes to the starter until it is ready, then to its log.
[[noreturn]] void SuperviseDetached(const SupervisorOptions& options, int starter_fd) {
  const auto tell = [starter_fd](const std::string& text) {
    [[maybe_unused]] const ssize_t ignored = write(starter_fd, text.data(), text.size());
  };
  bool ready = false;
  Supervisor supervisor(
      options,
      [&](const std::string& line) {
        Say(line);
        if (!ready) {
          tell(line + "\n");
        }
      },
      [&](const LocalState&) {
        ready = true;
        tell("ready\n");
        close(starter_fd);
      });
  const absl::Status status = supervisor.Run();
  if (!status.ok()) {
    Say(Describe(status));
    if (!ready) {
      tell(std::string(CodeOf(status) == kAlreadyRunning ? "refused\n" : "failed\n") + Describe(status) + "\n");
    }
  }
  _exit(status.ok() ? kOk : kFailure);
}

// Leaves the starter's session and terminal for good.
void BecomeDaemon(const std::string& dir, int starter_fd) {
  setsid();
  if (fork() != 0) {
    _exit(0);
  }
  const int null_fd = open("/dev/null", O_RDWR);
  const int log_fd = open((dir + "/log/supervisor.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  dup2(null_fd, STDIN_FILENO);
  dup2(log_fd >= 0 ? log_fd : null_fd, STDOUT_FILENO);
  dup2(log_fd >= 0 ? log_fd : null_fd, STDERR_FILENO);
  fcntl(starter_fd, F_SETFD, FD_CLOEXEC);
  if (chdir("/") != 0) {
    _exit(kFailure);
  }
}

std::string ReadToEnd(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = read(fd, buffer, sizeof buffer)) > 0 || (got < 0 && errno == EINTR)) {
    text.append(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  }
  return text;
}

// No thread runs yet, so a plain fork is safe.
int UpDetached(Session& session, const SupervisorOptions& options) {
  std::error_code ignored;
  std::filesystem::create_directories(options.dir + "/log", ignored);
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) {
    return Fail(session, absl::InternalError(std::string("pipe: ") + std::strerror(errno)));
  }
  const pid_t pid = fork();
  if (pid == 0) {
    close(fds[0]);
    BecomeDaemon(options.dir, fds[1]);
    SuperviseDetached(options, fds[1]);
  }
  close(fds[1]);
  waitpid(pid, nullptr, 0);
  const std::string told = ReadToEnd(fds[0]);
  close(fds[0]);
  const auto state = ReadLocalState(options.dir);
  if (told.ends_with("ready\n") && state.ok()) {
    ShowReady(session, options.dir, *state);
    Say("stop it with: pgconvoy local down" + (options.dir == DefaultLocalDir() ? "" : " --dir " + options.dir));
    return kOk;
  }
  const size_t refused = told.find("refused\n");
  if (refused != std::string::npos) {
    Say("error " + told.substr(refused + 8));
    return kRefused;
  }
  Say("error " + (told.empty() ? "PGC-LOCAL-START: the supervisor ended; see " + options.dir + "/log" : told));
  return kFailure;
}

// True once the process has gone.
bool WaitGone(const ProcessRef& process, Millis limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (IsAlive(process)) {
    if (std::chrono::steady_clock::now() >= until) {
      return false;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

void Terminate(const ProcessRef& process) {
  if (IsAlive(process)) {
    kill(process.pid, SIGTERM);
  }
}

// Without its supervisor the children are stopped one by one, in the same order.
bool StopOrphans(const LocalState& state, Millis limit) {
  bool gone = true;
  for (const ProcessRef& worker : state.workers) {
    Terminate(worker);
  }
  for (const ProcessRef& worker : state.workers) {
    gone = WaitGone(worker, limit) && gone;
  }
  Terminate(state.coordinator);
  return WaitGone(state.coordinator, limit) && gone;
}

std::vector<ProcessRef> ProcessesOf(const LocalState& state) {
  std::vector<ProcessRef> all = {state.supervisor, state.coordinator};
  all.insert(all.end(), state.workers.begin(), state.workers.end());
  return all;
}

}  // namespace

int LocalUp(Session& session, const LocalOptions& options) {
  if (!rpc::IsLocalAddress(options.listen)) {
    return FailUsage(session, "other machines reach " + Printable(options.listen),
                     "`local up` is for this machine; start pgconvoy-coordinator with certificates for others");
  }
  const SupervisorOptions supervisor = OptionsOf(options);
  return options.detach ? UpDetached(session, supervisor) : UpInForeground(session, supervisor);
}

int LocalDown(Session& session, const std::string& dir) {
  const std::string folder = FolderOf(dir);
  const auto state = ReadLocalState(folder);
  if (absl::IsNotFound(state.status())) {
    Say("nothing runs in " + folder);
    return kOk;
  }
  if (!state.ok()) {
    return Fail(session, state.status());
  }
  const Millis limit = session.timeout().value_or(kDownLimit);
  Say("stopping; workers finish or give back what they hold first");
  const auto stop = [&] {
    Terminate(state->supervisor);
    if (!WaitGone(state->supervisor, limit)) {
      return false;
    }
    // One that was killed, now or long ago, has left its children and its file.
    const auto left = ReadLocalState(folder);
    if (!left.ok() || left->supervisor.pid != state->supervisor.pid ||
        left->supervisor.start_ticks != state->supervisor.start_ticks) {
      return true;
    }
    return StopOrphans(*left, limit) && unlink(LocalStateFile(folder).c_str()) == 0;
  };
  if (!stop()) {
    Say("not stopped within " + render::Duration(limit.count()) + "; it goes on stopping");
    return kTimeout;
  }
  Say("stopped");
  return kOk;
}

int LocalStatus(Session& session, const std::string& dir) {
  const std::string folder = FolderOf(dir);
  const auto state = ReadLocalState(folder);
  if (!state.ok() && !absl::IsNotFound(state.status())) {
    return Fail(session, state.status());
  }
  bool running = state.ok();
  render::Table table{{{"NAME"}, {"STATE"}, {"PID", true}}, {}};
  std::vector<JsonRow> processes;
  int64_t workers = 0;
  for (const ProcessRef& process : state.ok() ? ProcessesOf(*state) : std::vector<ProcessRef>()) {
    const bool alive = IsAlive(process);
    running = running && alive;
    workers += alive && process.name.starts_with("local-") ? 1 : 0;
    const std::string process_state = alive ? "running" : "stopped";
    const render::Mark mark = render::MarkOfWorker(process_state);
    processes.push_back(
        {{"name", process.name}, {"state", process_state}, {"pid", alive ? int64_t{process.pid} : int64_t{0}}});
    table.rows.push_back({{process.name},
                          {render::Text(mark, session.out_style()), mark.tone},
                          {alive ? std::to_string(process.pid) : "-"}});
  }
  if (session.structured()) {
    OutStructured(session, ToJson(JsonFields{{"running", running},
                                             {"address", state.ok() ? state->address : ""},
                                             {"dir", folder},
                                             {"workers_running", workers},
                                             {"processes", processes}}));
  } else if (!state.ok()) {
    Say("nothing runs in " + folder + "; start it with: pgconvoy local up");
  } else {
    Out(render::Draw(table, session.wide(), session.out_style()));
    Say("address " + state->address + ", folder " + folder);
  }
  return running ? kOk : kFailure;
}

}  // namespace pgconvoy::cli
