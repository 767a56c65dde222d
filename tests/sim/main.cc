// pgconvoy-sim [--seed S] [--schedules N] [--threads N] [--twice] [--check-core] [--json]: runs schedules S, S+1, … and
// says which of them violated what.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/base/planted.h"
#include "tests/sim/simulation.h"

namespace pgconvoy::sim {
namespace {

struct Options {
  uint64_t seed = 1;
  int64_t schedules = 1'000;
  int threads = 2;
  bool twice = false;
  bool check_core = false;
  bool json = false;
  bool list_bugs = false;
  bool tell = false;
  // Ends at the first violation.
  bool first = false;
  bool prove_planted = false;
};

struct Summary {
  std::mutex mutex;
  std::atomic<int64_t> next = 0;
  std::atomic<int64_t> violations = 0;
  std::atomic<uint64_t> steps = 0;
  // All traces in one: equal for equal histories of the same seeds.
  std::atomic<uint64_t> histories = 0;
};

struct Result {
  std::string verdict;
  uint64_t trace = 0;
  uint64_t steps = 0;
};

Result RunOne(uint64_t seed, const Options& options) {
  Simulation simulation(MakeConfig(seed));
  simulation.check_core = options.check_core;
  simulation.judge.tells = options.tell;
  simulation.Run();
  return {simulation.judge.Verdict(), simulation.time.trace(), simulation.time.steps()};
}

void Report(Summary& summary, uint64_t seed, const std::string& verdict) {
  const std::lock_guard<std::mutex> lock(summary.mutex);
  ++summary.violations;
  std::fprintf(stderr, "violation %s\nreplay: ./dev sim --seed %llu --schedules 1\n", verdict.c_str(),
               static_cast<unsigned long long>(seed));
}

void Work(const Options& options, Summary& summary) {
  for (int64_t i = summary.next++; i < options.schedules; i = summary.next++) {
    if (options.first && summary.violations > 0) {
      return;
    }
    const uint64_t seed = options.seed + static_cast<uint64_t>(i);
    const Result result = RunOne(seed, options);
    summary.steps += result.steps;
    summary.histories += result.trace;
    if (!result.verdict.empty()) {
      Report(summary, seed, result.verdict);
    }
    if (options.twice && RunOne(seed, options).trace != result.trace) {
      Report(summary, seed, "O11: the same seed gave two histories");
    }
  }
}

int RunAll(const Options& options) {
  Summary summary;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < options.threads; ++i) {
    threads.emplace_back([&] { Work(options, summary); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const auto per_minute = static_cast<int64_t>(static_cast<double>(options.schedules) * 60 / took.count());
  const auto violations = static_cast<long long>(summary.violations);
  const auto histories = static_cast<unsigned long long>(summary.histories);
  if (options.json) {
    std::printf("{\"schedules\":%lld,\"violations\":%lld,\"per_minute\":%lld,\"histories\":\"%016llx\"}\n",
                static_cast<long long>(options.schedules), violations, static_cast<long long>(per_minute), histories);
  } else {
    std::printf(
        "%lld schedules, %lld violations, %lld schedules a minute, %llu steps a schedule, histories %016llx\n",
        static_cast<long long>(options.schedules), violations, static_cast<long long>(per_minute),
        static_cast<unsigned long long>(summary.steps / static_cast<uint64_t>(options.schedules)), histories);
  }
  return violations == 0 ? 0 : 1;
}

template <typename Number>
bool Parse(const char* text, Number& number) {
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), number);
  return error == std::errc() && *end == '\0' && number > 0;
}

bool Choose(std::string_view name) {
  for (const planted::Named& bug : planted::kBugs) {
    if (bug.name == name) {
      planted::Choose(bug.bug);
      return true;
    }
  }
  return false;
}

bool ParseOption(std::string_view name, const char* value, Options& options) {
  if (name == "--seed") {
    return Parse(value, options.seed);
  }
  if (name == "--schedules") {
    return Parse(value, options.schedules);
  }
  if (name == "--threads") {
    return Parse(value, options.threads);
  }
  return name == "--planted" && Choose(value);
}

bool ParseAll(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--json") {
      options.json = true;
    } else if (name == "--twice") {
      options.twice = true;
    } else if (name == "--check-core") {
      options.check_core = true;
    } else if (name == "--tell") {
      options.tell = true;
    } else if (name == "--first") {
      options.first = true;
    } else if (name == "--prove-planted") {
      options.prove_planted = true;
    } else if (name == "--list-bugs") {
      options.list_bugs = true;
    } else if (i + 1 == argc || !ParseOption(name, argv[++i], options)) {
      return false;
    }
  }
  return true;
}

// In a process of its own: some bugs end it.
pid_t StartPlanted(const Options& options, planted::Bug bug) {
  const pid_t child = ::fork();
  if (child == 0) {
    // What it says of violations is of no interest.
    ::close(STDOUT_FILENO);
    ::close(STDERR_FILENO);
    planted::Choose(bug);
    Options own = options;
    own.first = true;
    own.threads = 1;
    std::_Exit(RunAll(own));
  }
  return child;
}

// Whether every planted bug is found within so many schedules.
int ProvePlanted(const Options& options) {
  std::map<pid_t, std::string_view> running;
  int missed = 0;
  const auto reap = [&] {
    int status = 0;
    const pid_t child = ::wait(&status);
    const bool found = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    missed += found ? 0 : 1;
    std::printf("%s %.*s\n", found ? "found " : "MISSED", static_cast<int>(running[child].size()),
                running[child].data());
    running.erase(child);
  };
  for (const planted::Named& bug : planted::kBugs) {
    if (running.size() == static_cast<size_t>(options.threads)) {
      reap();
    }
    std::fflush(stdout);
    running[StartPlanted(options, bug.bug)] = bug.name;
  }
  while (!running.empty()) {
    reap();
  }
  std::printf("%zu planted bugs, %d missed\n", std::size(planted::kBugs), missed);
  return missed == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  Options options;
  if (!ParseAll(argc, argv, options)) {
    std::fputs(
        "usage: pgconvoy-sim [--seed S] [--schedules N] [--threads N] [--twice] [--check-core] [--json]\n"
        "                    [--first] [--tell] [--planted BUG] [--prove-planted] [--list-bugs]\n",
        stderr);
    return 64;
  }
  if (options.list_bugs) {
    for (const planted::Named& bug : planted::kBugs) {
      std::printf("%.*s\n", static_cast<int>(bug.name.size()), bug.name.data());
    }
    return 0;
  }
  return options.prove_planted ? ProvePlanted(options) : RunAll(options);
}

}  // namespace
}  // namespace pgconvoy::sim

int main(int argc, char** argv) { return pgconvoy::sim::Main(argc, argv); }
