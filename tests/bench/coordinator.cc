// The coordinator: durable grants and completions over gRPC with synchronous_commit=on, beside Graphile Worker.
//
// Store, coordinator and load share the machine. A round submits a fleet, then connects the simulated workers and
// counts from there until the last completion is acknowledged; the jobs of the peer are queued before its clock
// starts, too.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/benchmarks.h"
#include "tests/bench/coordinator_rig.h"
#include "tests/bench/graphile_peer.h"
#include "tests/bench/simulated_worker.h"

namespace pgconvoy::bench {
namespace {

constexpr char kOurs[] = "pgconvoy";
constexpr char kOursSpread[] = "pgconvoy, 1000 servers";
constexpr char kOursLimited[] = "pgconvoy, 1000 limits";
constexpr char kOursFull[] = "pgconvoy, also PHASE_STARTED";
constexpr char kGraphileBatched[] = "graphile-worker, batched";
// A tenth of the jobs.
constexpr char kGraphilePlain[] = "graphile-worker, plain";

// Two transitions of a project: the grant, and the completion with the results of its phases.
constexpr double kTransitions = 2;

FleetSpec Unlimited(int64_t projects) { return {.projects = projects}; }

// Small batches of many pairs of servers, without limits that would count.
FleetSpec Spread(int64_t projects) { return {.projects = projects, .servers = 1000, .batch_size = 20}; }

// The same with fewer tokens per server than it has projects, and about twice as many in all as workers have slots.
FleetSpec Limited(int64_t projects) {
  FleetSpec fleet = Spread(projects);
  fleet.max_projects = 4;
  return fleet;
}

class Throughput {
 public:
  explicit Throughput(CoordinatorRig& rig) : rig_(rig) {}

  // Seconds per 1000 projects.
  double Run(const FleetSpec& fleet, bool report_starts) {
    const std::string migration = rig_.Submit(fleet);
    const int64_t wal_before = rig_.WalBytes();
    const CoordinatorRig::Cpu before = rig_.CpuSeconds();
    double seconds = 0;
    {
      std::unique_ptr<SimulatedWorkers> workers;
      seconds = Timed([&] {
        workers = std::make_unique<SimulatedWorkers>(
            SimulatedWorkerOptions{.address = rig_.address(), .report_starts = report_starts});
        workers->WaitCompleted(fleet.projects);
      });
    }
    const double projects = static_cast<double>(fleet.projects);
    wal_.push_back(static_cast<double>(rig_.WalBytes() - wal_before) / projects / kTransitions);
    const CoordinatorRig::Cpu after = rig_.CpuSeconds();
    cpu_.coordinator += (after.coordinator - before.coordinator) / projects;
    cpu_.store += (after.store - before.store) / projects;
    cpu_.load += (after.load - before.load) / projects;
    rig_.WaitEnded(migration);
    rig_.CheckSucceeded(migration, fleet.projects);
    return 1000 * seconds / projects;
  }

  double WalPerTransition() const { return Median(wal_); }
  // "coordinator 1.0, store 2.0, load 3.0 us"; the mean of all rounds.
  std::string CpuPerProject() const {
    const auto microseconds = [this](double sum) {
      char text[16];
      std::snprintf(text, sizeof(text), "%.1f", sum * 1e6 / static_cast<double>(wal_.size()));
      return std::string(text);
    };
    return "coordinator " + microseconds(cpu_.coordinator) + ", store " + microseconds(cpu_.store) + ", load " +
           microseconds(cpu_.load) + " us";
  }

 private:
  static double Median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  CoordinatorRig& rig_;
  std::vector<double> wal_;
  CoordinatorRig::Cpu cpu_;
};

double Percentile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(part * static_cast<double>(values.size())))];
}

// Milliseconds from an operator's call of SubmitMigration until an idle worker has the grant.
std::vector<double> GrantLatencies(CoordinatorRig& rig, int samples) {
  std::vector<double> latencies;
  SimulatedWorkers workers({.address = rig.address(), .workers = 1});
  for (int i = 0; i < samples; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string migration = rig.Submit(Unlimited(1));
    workers.WaitGranted(i + 1);
    latencies.push_back(std::chrono::duration<double, std::milli>(workers.last_grant() - begin).count());
    workers.WaitCompleted(i + 1);
    // Idle again: what the end of a migration leads to is over.
    rig.WaitEnded(migration);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return latencies;
}

}  // namespace

void RunCoordinator(Report& report) {
  const bool quick = report.options().quick;
  const int rounds = report.RoundsOr(5);
  const int64_t projects = quick ? 4'000 : 50'000;
  CoordinatorRig rig;
  report.Setting("projects per round", std::to_string(projects));
  report.Setting("simulated workers", "8 streams of 256 slots, in one process");
  report.Setting("phases of a project", std::to_string(kPhasesOfFleet) + " and the end of the attempt");
  report.Setting(
      "store", "PostgreSQL " + rig.store().QueryValue("postgres", "SHOW server_version") +
                   ", defaults, synchronous_commit=" + rig.store().QueryValue("postgres", "SHOW synchronous_commit"));
  Throughput plain(rig);
  Throughput spread(rig);
  Throughput limited(rig);
  Throughput full(rig);
  std::vector<Contestant> contestants = {{kOurs, [&] { return plain.Run(Unlimited(projects), false); }},
                                         {kOursSpread, [&] { return spread.Run(Spread(projects), false); }},
                                         {kOursLimited, [&] { return limited.Run(Limited(projects), false); }},
                                         {kOursFull, [&] { return full.Run(Unlimited(projects), true); }}};
  const auto peer = report.TakesPart("graphile-worker") ? GraphilePeer::Create() : nullptr;
  if (peer != nullptr) {
    const double thousands = static_cast<double>(projects) / 1000;
    contestants.push_back({kGraphileBatched, [&, thousands] { return peer->Drain(projects, true) / thousands; }});
    contestants.push_back(
        {kGraphilePlain, [&, thousands] { return peer->Drain(projects / 10, false) / thousands * 10; }});
  }
  report.Compare("per 1000 projects", rounds, contestants);
  report.JudgeValue("durable grants and completions", 1000 / report.Median(kOurs), Report::Want::kAtLeast, 20'000,
                    "projects/s");
  report.Judge({{kOurs, kGraphileBatched, 1 / 1.5}, {kOurs, kGraphilePlain, 1 / 1.5}});
  report.JudgeValue("rate with 1000 limits / the same fleet without",
                    report.Median(kOursSpread) / report.Median(kOursLimited), Report::Want::kAtLeast, 0.9, "");
  report.JudgeValue("WAL per transition", plain.WalPerTransition(), Report::Want::kAtMost, 1024, "bytes");
  report.Setting("CPU per project", plain.CpuPerProject());
  report.Setting("CPU per project, 1000 servers", spread.CpuPerProject());
  report.Setting("CPU per project, 1000 limits", limited.CpuPerProject());
  report.Setting("CPU per project, PHASE_STARTED", full.CpuPerProject());
  // Idle is a store that has come to rest: what the rounds left to vacuum and to write out would be measured otherwise.
  rig.store().Exec("postgres", "VACUUM ANALYZE");
  rig.store().Exec("postgres", "CHECKPOINT");
  // And a disk: what other servers have left in the page cache would be written while commits wait for theirs.
  ::sync();
  const std::vector<double> latencies = GrantLatencies(rig, quick ? 30 : 400);
  report.JudgeValue("submit to grant when idle, p50", Percentile(latencies, 0.5), Report::Want::kAtMost, 3, "ms");
  report.JudgeValue("submit to grant when idle, p99", Percentile(latencies, 0.99), Report::Want::kAtMost, 20, "ms");
  rig.CheckChain();
}

}  // namespace pgconvoy::bench
