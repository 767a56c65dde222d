#include "tests/bench/cpu.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <sstream>

#include "tests/support/process.h"

namespace pgconvoy::bench {
namespace {

struct Stat {
  pid_t parent = 0;
  double own = 0;
  double waited_for = 0;
};

// "" for a process that has ended meanwhile.
std::string ReadProcess(const std::string& pid) {
  try {
    return testing::ReadFile("/proc/" + pid + "/stat");
  } catch (const std::exception&) {
    return "";
  }
}

// See proc(5): the name in parentheses may hold anything.
Stat ReadStat(const std::string& pid) {
  const std::string text = ReadProcess(pid);
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) {
    return {};
  }
  std::istringstream fields(text.substr(name_end + 2));
  std::string skipped;
  Stat stat;
  fields >> skipped >> stat.parent;
  for (int i = 5; i <= 13; ++i) {
    fields >> skipped;
  }
  double user = 0, system = 0, children_user = 0, children_system = 0;
  fields >> user >> system >> children_user >> children_system;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  stat.own = (user + system) / ticks;
  stat.waited_for = (children_user + children_system) / ticks;
  return stat;
}

}  // namespace

double CpuSeconds(pid_t root) {
  std::map<pid_t, Stat> stats;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos) {
      stats[std::stoi(name)] = ReadStat(name);
    }
  }
  double seconds = 0;
  for (const auto& [pid, stat] : stats) {
    pid_t ancestor = pid;
    while (ancestor != root && ancestor > 1 && stats.contains(ancestor)) {
      ancestor = stats[ancestor].parent;
    }
    if (ancestor == root) {
      seconds += stat.own + stat.waited_for;
    }
  }
  return seconds;
}

double CpuMeter::Seconds(pid_t pid) {
  if (pid != kEndedChildren) {
    return CpuSeconds(pid);
  }
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

void CpuMeter::Start() {
  for (const auto& [name, pid] : pids_) {
    begin_[name] = Seconds(pid);
  }
}

void CpuMeter::Stop() {
  for (const auto& [name, pid] : pids_) {
    used_[name] += Seconds(pid) - begin_[name];
  }
}

std::string CpuMeter::PerUnit(int units) const {
  std::string text;
  double sum = 0;
  char part[80];
  for (const auto& [name, seconds] : used_) {
    std::snprintf(part, sizeof(part), "%s %.1f ms, ", name.c_str(), seconds / units * 1000);
    text += part;
    sum += seconds;
  }
  std::snprintf(part, sizeof(part), "together %.1f ms", sum / units * 1000);
  return text + part;
}

}  // namespace pgconvoy::bench
