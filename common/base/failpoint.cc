#include "common/base/failpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/base/text.h"

namespace pgconvoy {
namespace {

struct Failpoint {
  std::string action;
  // 0: every hit.
  int64_t at_hit = 1;
  int64_t hits = 0;
};

std::map<std::string, Failpoint> ParseFailpoints(std::string_view config) {
  std::map<std::string, Failpoint> points;
  while (!config.empty()) {
    const size_t end = config.find(';');
    const std::string_view item = config.substr(0, end);
    config.remove_prefix(end == std::string_view::npos ? config.size() : end + 1);
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
      continue;
    }
    Failpoint point;
    std::string_view action = item.substr(equals + 1);
    if (const size_t at = action.find('@'); at != std::string_view::npos) {
      const std::string_view hit = action.substr(at + 1);
      point.at_hit = hit == "*" ? 0 : ParseDecimal(hit).value_or(1);
      action = action.substr(0, at);
    }
    point.action = std::string(action);
    points[std::string(item.substr(0, equals))] = point;
  }
  return points;
}

// Creates the once-file; false when it was there already, so that of two racing processes one fires.
bool ClaimOnce() {
  const char* const path = std::getenv("PGCONVOY_FAILPOINTS_ONCE");
  if (path == nullptr) {
    return true;
  }
  const int fd = ::open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) {
    return false;
  }
  ::close(fd);
  return true;
}

// One write, so that lines of several processes do not mix.
void Record(std::string_view name, std::string_view action) {
  const char* const path = std::getenv("PGCONVOY_FAILPOINTS_LOG");
  const int fd = path == nullptr ? -1 : ::open(path, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) {
    const std::string line = std::string(name) + " " + std::string(action) + "\n";
    [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());
    ::close(fd);
  }
}

absl::Status RunAction(std::string_view name, std::string_view action) {
  if (action == "kill") {
    std::raise(SIGKILL);
  } else if (action == "stop") {
    std::raise(SIGSTOP);
  } else if (action.starts_with("sleep(") && action.ends_with(")")) {
    const auto ms = ParseDecimal(action.substr(6, action.size() - 7)).value_or(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  } else if (action == "error") {
    return MakeError(Verdict::kTransient, "PGC-TEST-FAILPOINT", "failpoint " + std::string(name));
  }
  return absl::OkStatus();
}

// The action that is due now at `name`; "" when there is none.
std::string DueAction(std::string_view name) {
  static Mutex* const mutex = new Mutex;
  static auto* const points ABSL_PT_GUARDED_BY(*mutex) = new std::map<std::string, Failpoint>([] {
    const char* const config = std::getenv("PGCONVOY_FAILPOINTS");
    return ParseFailpoints(config == nullptr ? "" : config);
  }());
  std::string action;
  {
    const MutexLock lock(*mutex);
    const auto it = points->find(std::string(name));
    if (it == points->end()) {
      return "";
    }
    ++it->second.hits;
    if (it->second.at_hit != 0 && it->second.hits != it->second.at_hit) {
      return "";
    }
    action = it->second.action;
  }
  if (!ClaimOnce()) {
    return "";
  }
  Record(name, action);
  return action;
}

}  // namespace

absl::Status HitFailpoint(std::string_view name) { return RunAction(name, DueAction(name)); }

absl::Status RunUnderFailpoint(std::string_view name, const std::function<absl::Status()>& act) {
  const std::string action = DueAction(name);
  if (absl::Status status = RunAction(name, action); !status.ok()) {
    return status;
  }
  absl::Status status = act();
  if (status.ok() && action == "duplicate") {
    status = act();
  }
  if (status.ok() && action == "timeout") {
    return MakeError(Verdict::kInDoubt, "PGC-TEST-TIMEOUT",
                     "failpoint " + std::string(name) + ": the answer is lost");
  }
  return status;
}

}  // namespace pgconvoy
