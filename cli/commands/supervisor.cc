#include "cli/commands/supervisor.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/commands/client.h"
#include "cli/commands/session.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::cli {
namespace {

// initdb on a slow disk takes half a minute.
constexpr int64_t kStartLimitMs = 120'000;
constexpr int64_t kFirstBackoffMs = 500;
constexpr int64_t kMostBackoffMs = 30'000;
// A child that lived so long begins with the first pause again.
constexpr int64_t kStableMs = 60'000;
constexpr int kTickMs = 200;
constexpr Millis kProbeTimeout{2'000};
// How long a stop waits for workers that drain, and then for the coordinator.
constexpr int64_t kStopLimitMs = 300'000;
constexpr size_t kLogTailBytes = 2'000;

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

// True when a stop signal came within a tick.
bool StopAsked() {
  const sigset_t set = StopSignals();
  const timespec tick{0, kTickMs * 1'000'000L};
  return sigtimedwait(&set, nullptr, &tick) > 0;
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string LogTail(const std::string& path) {
  const std::string log = ReadAll(path);
  return log.size() <= kLogTailBytes ? log : log.substr(log.find('\n', log.size() - kLogTailBytes) + 1);
}

// Beside this program, else by PATH.
std::string FindBinary(const std::string& name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string beside = (self.parent_path() / name).string();
  return !error && access(beside.c_str(), X_OK) == 0 ? beside : name;
}

// In the child between fork and exec: only calls that are safe there.
[[noreturn]] void RunChild(char* const* argv, int log_fd, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) {
    _exit(1);
  }
  const int null_fd = open("/dev/null", O_RDONLY);
  dup2(null_fd, STDIN_FILENO);
  dup2(log_fd, STDOUT_FILENO);
  dup2(log_fd, STDERR_FILENO);
  close_range(3, ~0U, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvp(argv[0], argv);
  static constexpr char kText[] = "cannot be started: no such program, or it is not executable\n";
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, kText, sizeof kText - 1);
  _exit(127);
}

// The certificates are those of whoever runs this command, for a coordinator elsewhere.
void ForgetSecurity() {
  for (const char* const name : {"PGCONVOY_TLS_CERT", "PGCONVOY_TLS_KEY", "PGCONVOY_TLS_CA",
                                 "PGCONVOY_TLS_SERVER_NAME", "PGCONVOY_INSECURE", "PGCONVOY_HEALTH_LISTEN"}) {
    unsetenv(name);
  }
}

std::string ExitText(int wait_status) {
  return WIFSIGNALED(wait_status) ? std::string("was killed by signal ") + std::to_string(WTERMSIG(wait_status))
                                  : "ended with exit code " + std::to_string(WEXITSTATUS(wait_status));
}

// The port file holds "PORT" or "HOST:PORT".
std::string AddressFrom(const std::string& port_file, const std::string& listen) {
  std::string text = ReadAll(port_file);
  if (text.empty() || text.back() != '\n') {
    return "";
  }
  text.pop_back();
  return text.find(':') != std::string::npos ? text : listen.substr(0, listen.rfind(':') + 1) + text;
}

}  // namespace

Supervisor::Supervisor(SupervisorOptions options,
                       std::function<void(const std::string&)> say,
                       std::function<void(const LocalState&)> ready)
    : options_(std::move(options)), say_(std::move(say)), ready_(std::move(ready)) {}

absl::Status Supervisor::Run() {
  const sigset_t stop_signals = StopSignals();
  sigprocmask(SIG_BLOCK, &stop_signals, nullptr);
  PGC_RETURN_IF_ERROR(Prepare());
  absl::Status status = Spawn(coordinator_);
  if (status.ok()) {
    status = Supervise();
  }
  Stop();
  unlink(LocalStateFile(options_.dir).c_str());
  close(lock_fd_);
  return status;
}

absl::Status Supervisor::Prepare() {
  ForgetSecurity();
  std::error_code error;
  std::filesystem::create_directories(options_.dir + "/log", error);
  if (error) {
    return MakeError(Verdict::kPermanent, "PGC-LOCAL-START", "cannot make " + options_.dir + ": " + error.message(),
                     "choose another folder with --dir");
  }
  // As root the store runs as another user, which must be able to pass through.
  chmod(options_.dir.c_str(), geteuid() == 0 ? 0711 : 0700);
  chmod((options_.dir + "/log").c_str(), 0700);
  lock_fd_ = open((options_.dir + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0 || flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    return MakeError(Verdict::kPermanent, "PGC-LOCAL-RUNNING", "an instance runs in " + options_.dir + " already",
                     "see `pgconvoy local status`, or stop it with `pgconvoy local down`");
  }
  unlink((options_.dir + "/port").c_str());
  coordinator_.name = "coordinator";
  coordinator_.argv = {FindBinary("pgconvoy-coordinator"),
                       "--listen",
                       options_.listen,
                       "--store",
                       "embedded:" + options_.dir + "/store",
                       "--port-file",
                       options_.dir + "/port",
                       "--log-format",
                       "text"};
  deadline_ms_ = NowSteadyMs() + kStartLimitMs;
  return absl::OkStatus();
}

absl::Status Supervisor::Supervise() {
  while (!StopAsked()) {
    PGC_RETURN_IF_ERROR(Reap());
    PGC_RETURN_IF_ERROR(RestartDue());
    PGC_RETURN_IF_ERROR(Advance());
  }
  return absl::OkStatus();
}

absl::Status Supervisor::Spawn(Child& child) {
  const int log_fd = open(LogPath(child.name).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) {
    return StartError(std::string("its log cannot be written: ") + std::strerror(errno), child.name);
  }
  std::vector<char*> argv;
  for (std::string& arg : child.argv) {
    argv.push_back(arg.data());
  }
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    RunChild(argv.data(), log_fd, parent);
  }
  close(log_fd);
  if (pid < 0) {
    return StartError(std::string("fork: ") + std::strerror(errno), child.name);
  }
  child.pid = pid;
  child.start_ticks = StartTicks(pid).value_or(0);
  child.started_ms = NowSteadyMs();
  child.restart_at_ms = 0;
  return SaveState();
}

absl::Status Supervisor::Reap() {
  std::vector<Child*> all = {&coordinator_};
  for (Child& worker : workers_) {
    all.push_back(&worker);
  }
  for (Child* child : all) {
    int wait_status = 0;
    if (child->pid == 0 || waitpid(child->pid, &wait_status, WNOHANG) != child->pid) {
      continue;
    }
    const int64_t now = NowSteadyMs();
    child->pid = 0;
    if (child == &coordinator_ && stage_ == Stage::kCoordinator) {
      return StartError("it " + ExitText(wait_status), child->name);
    }
    const bool stable = now - child->started_ms >= kStableMs;
    child->backoff_ms =
        stable || child->backoff_ms == 0 ? kFirstBackoffMs : std::min(child->backoff_ms * 2, kMostBackoffMs);
    child->restart_at_ms = now + child->backoff_ms;
    say_(child->name + " " + ExitText(wait_status) + "; it is started again in " +
         render::Duration(child->backoff_ms) + " (log: " + LogPath(child->name) + ")");
  }
  return absl::OkStatus();
}

absl::Status Supervisor::RestartDue() {
  const auto due = [](const Child& child) {
    return child.restart_at_ms != 0 && child.restart_at_ms <= NowSteadyMs();
  };
  if (due(coordinator_)) {
    PGC_RETURN_IF_ERROR(Spawn(coordinator_));
  }
  for (Child& worker : workers_) {
    if (due(worker)) {
      PGC_RETURN_IF_ERROR(Spawn(worker));
    }
  }
  return absl::OkStatus();
}

absl::Status Supervisor::Advance() {
  if (stage_ == Stage::kReady) {
    return absl::OkStatus();
  }
  if (stage_ == Stage::kCoordinator && CoordinatorServes()) {
    stage_ = Stage::kWorkers;
    PGC_RETURN_IF_ERROR(StartWorkers());
  } else if (stage_ == Stage::kWorkers && WorkersConnected()) {
    stage_ = Stage::kReady;
    ready_(State());
  } else if (NowSteadyMs() > deadline_ms_) {
    return stage_ == Stage::kCoordinator ? StartError("it does not serve", "coordinator")
                                         : StartError("not every worker has connected", workers_.front().name);
  }
  return absl::OkStatus();
}

bool Supervisor::CoordinatorServes() {
  if (address_.empty()) {
    address_ = AddressFrom(options_.dir + "/port", options_.listen);
    if (address_.empty()) {
      return false;
    }
    // Workers know this address, so a coordinator that is started again must come back under it.
    coordinator_.argv[2] = address_;
  }
  return Client(address_, {}, kProbeTimeout).Call(v1::ListWorkersRequest()).ok();
}

bool Supervisor::WorkersConnected() {
  const auto list = Client(address_, {}, kProbeTimeout).Call(v1::ListWorkersRequest());
  std::set<std::string> connected;
  if (list.ok()) {
    for (const v1::Worker& worker : list->workers()) {
      if (worker.state() == "connected") {
        connected.insert(worker.id());
      }
    }
  }
  return std::all_of(workers_.begin(), workers_.end(),
                     [&connected](const Child& worker) { return connected.contains(worker.name); });
}

absl::Status Supervisor::StartWorkers() {
  const std::string binary = FindBinary("pgconvoy-worker");
  for (int i = 1; i <= options_.workers; ++i) {
    Child& worker = workers_.emplace_back();
    worker.name = "local-" + std::to_string(i);
    worker.argv = {binary,        "--coordinator", address_,       "--slots", std::to_string(options_.slots),
                   "--worker-id", worker.name,     "--log-format", "text"};
    PGC_RETURN_IF_ERROR(Spawn(worker));
  }
  return absl::OkStatus();
}

void Supervisor::Stop() {
  std::vector<Child*> workers;
  for (Child& worker : workers_) {
    workers.push_back(&worker);
  }
  if (!workers.empty()) {
    say_("stopping the workers; what they hold is finished or given back first (once more to kill them)");
  }
  StopChildren(workers);
  StopChildren({&coordinator_});
}

void Supervisor::StopChildren(const std::vector<Child*>& children) {
  for (const Child* child : children) {
    if (child->pid != 0) {
      kill(child->pid, SIGTERM);
    }
  }
  const int64_t limit_ms = NowSteadyMs() + kStopLimitMs;
  bool killed = false;
  const auto gone = [](const Child* child) { return child->pid == 0; };
  while (!std::all_of(children.begin(), children.end(), gone)) {
    const bool now = StopAsked() || NowSteadyMs() > limit_ms;
    for (Child* child : children) {
      if (child->pid != 0 && waitpid(child->pid, nullptr, WNOHANG) == child->pid) {
        child->pid = 0;
      } else if (child->pid != 0 && now && !killed && child != &coordinator_) {
        kill(child->pid, SIGKILL);
      }
    }
    killed = killed || now;
    // Only the limit ends a coordinator by force: it has a store to close.
    if (coordinator_.pid != 0 && children.front() == &coordinator_ && NowSteadyMs() > limit_ms) {
      kill(coordinator_.pid, SIGKILL);
    }
  }
}

absl::Status Supervisor::SaveState() const {
  // Before the address is known nobody could use the file.
  return address_.empty() ? absl::OkStatus() : WriteLocalState(options_.dir, State());
}

LocalState Supervisor::State() const {
  LocalState state;
  state.address = address_;
  state.supervisor = {"supervisor", getpid(), StartTicks(getpid()).value_or(0)};
  state.coordinator = {coordinator_.name, coordinator_.pid, coordinator_.start_ticks};
  for (const Child& worker : workers_) {
    state.workers.push_back({worker.name, worker.pid, worker.start_ticks});
  }
  return state;
}

std::string Supervisor::LogPath(const std::string& name) const { return options_.dir + "/log/" + name + ".log"; }

absl::Status Supervisor::StartError(const std::string& what, const std::string& name) const {
  const std::string tail = LogTail(LogPath(name));
  if (!tail.empty()) {
    say_("the end of " + LogPath(name) + ":\n" + tail);
  }
  return MakeError(Verdict::kPermanent, "PGC-LOCAL-START", name + " could not be started: " + what,
                   "see " + LogPath(name));
}

}  // namespace pgconvoy::cli
