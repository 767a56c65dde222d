// A fleet of a million projects: streamed in, scheduled and completed by simulated workers, with the coordinator killed
// half-way; what that costs in memory and time, and what a page of projects costs at any depth.
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/benchmarks.h"
#include "tests/bench/coordinator_rig.h"
#include "tests/bench/simulated_worker.h"

namespace pgconvoy::bench {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;
// What `pgconvoy get projects` asks for at most.
constexpr int kPageSize = 1000;
constexpr int kPagesPerDepth = 5;

std::string Thousands(int64_t projects) { return std::to_string(projects / 1000) + "k"; }

struct Phase {
  double submit_us = 0;
  double run_us = 0;
};

// Submits a fleet and completes it; microseconds per project of either.
Phase RunFleetOf(CoordinatorRig& rig, int64_t projects) {
  std::string migration;
  const double submit = Timed([&] { migration = rig.Submit({.projects = projects}); });
  const double run = Timed([&] {
    SimulatedWorkers workers({.address = rig.address()});
    workers.WaitCompleted(projects);
  });
  rig.WaitEnded(migration);
  rig.CheckSucceeded(migration, projects);
  return {submit * 1e6 / static_cast<double>(projects), run * 1e6 / static_cast<double>(projects)};
}

// The slowest median of the first, the middle and the last pages, in milliseconds.
double SlowestPage(Report& report, CoordinatorRig& rig, const std::string& migration, int64_t projects) {
  double slowest = 0;
  for (const int64_t begin : {int64_t{0}, projects / 2, projects - kPageSize}) {
    std::vector<double> milliseconds;
    for (int i = 0; i < kPagesPerDepth; ++i) {
      const std::string token = begin == 0 ? "" : CoordinatorRig::TokenBehind(CoordinatorRig::RefOf(begin - 1));
      const PageRead page = rig.ReadPage(migration, kPageSize, token);
      if (page.projects != kPageSize || page.last_ref != CoordinatorRig::RefOf(begin + kPageSize - 1)) {
        throw std::runtime_error("wrong result: a page of projects");
      }
      milliseconds.push_back(page.seconds * 1000);
    }
    std::sort(milliseconds.begin(), milliseconds.end());
    const double median = milliseconds[milliseconds.size() / 2];
    report.Setting("page of 1000 from project " + std::to_string(begin), std::to_string(median) + " ms");
    slowest = std::max(slowest, median);
  }
  return slowest;
}

// Seconds from the start of the process until a worker that waits for it has a grant.
double RestartToFirstGrant(CoordinatorRig& rig) {
  const auto begin = std::chrono::steady_clock::now();
  rig.StartCoordinator();
  SimulatedWorkers workers({.address = rig.address(), .workers = 1, .slots = 1, .hold = true});
  workers.WaitGranted(1);
  return std::chrono::duration<double>(workers.last_grant() - begin).count();
}

struct Large {
  double submit_us = 0;
  double run_us = 0;
  double restart_s = 0;
  double peak_bytes = 0;
  double page_ms = 0;
};

Large RunLargeFleet(Report& report, int64_t projects) {
  CoordinatorRig rig;
  Large large;
  std::string migration;
  large.submit_us =
      Timed([&] { migration = rig.Submit({.projects = projects}); }) * 1e6 / static_cast<double>(projects);
  large.page_ms = SlowestPage(report, rig, migration, projects);
  const int64_t half = projects / 2;
  double run = 0;
  {
    auto workers =
        std::make_unique<SimulatedWorkers>(SimulatedWorkerOptions{.address = rig.address(), .streams_may_end = true});
    run += Timed([&] { workers->WaitCompleted(half); });
    large.peak_bytes = static_cast<double>(rig.PeakMemory());
    rig.KillCoordinator();
  }
  const int64_t ended = rig.Ended(migration);
  large.restart_s = RestartToFirstGrant(rig);
  {
    SimulatedWorkers workers({.address = rig.address()});
    run += Timed([&] { workers.WaitCompleted(projects - ended); });
  }
  large.run_us = run * 1e6 / static_cast<double>(half + projects - ended);
  large.peak_bytes = std::max(large.peak_bytes, static_cast<double>(rig.PeakMemory()));
  large.page_ms = std::max(large.page_ms, SlowestPage(report, rig, migration, projects));
  rig.WaitEnded(migration);
  rig.CheckSucceeded(migration, projects, true);
  return large;
}

}  // namespace

void RunScale(Report& report) {
  const bool quick = report.options().quick;
  const int64_t projects = quick ? 20'000 : 1'000'000;
  const int64_t smallest = 1'000;
  double first_run_us = 0;
  {
    CoordinatorRig rig;
    for (int64_t size = smallest; size < projects; size *= 10) {
      const Phase phase = RunFleetOf(rig, size);
      first_run_us = size == smallest ? phase.run_us : first_run_us;
      report.Setting(Thousands(size) + " projects", "submit " + std::to_string(phase.submit_us) + " us, run " +
                                                        std::to_string(phase.run_us) + " us each");
    }
    rig.CheckChain();
  }
  const Large large = RunLargeFleet(report, projects);
  report.Setting(Thousands(projects) + " projects", "submit " + std::to_string(large.submit_us) + " us, run " +
                                                        std::to_string(large.run_us) + " us each");
  report.JudgeValue("peak memory of the coordinator", large.peak_bytes / kGiB, Report::Want::kAtMost, 1, "GiB");
  report.JudgeValue("restart to first grant", large.restart_s, Report::Want::kAtMost, 10, "s");
  report.JudgeValue("page of 1000 projects, any depth", large.page_ms, Report::Want::kAtMost, 50, "ms");
  // The smallest fleet pays for the workers' connections alone; below it nothing is said about scale.
  report.JudgeValue("cost of a project, " + Thousands(projects) + " / " + Thousands(smallest),
                    large.run_us / first_run_us, Report::Want::kAtMost, 1.2, "");
}

}  // namespace pgconvoy::bench
