// pgconvoy-faults: moves projects and moves them back, over and over, while everything fails at random, and counts what
// was lost, doubled, mixed up or left over. See Usage.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "common/base/text.h"
#include "tests/faults/chaos.h"
#include "tests/faults/oracles.h"
#include "tests/faults/tally.h"
#include "tests/integration/fleet.h"
#include "tests/support/pg_proxy.h"

namespace pgconvoy::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kUsage[] =
    "usage: pgconvoy-faults [--minutes N] [--seed S] [--json]\n"
    "  --minutes N   go on until N minutes are over and every kind of fault has landed; default 60\n"
    "  --seed S      the same choices again, though not the same moments; default: one at random\n"
    "  --json        print nothing but one line of details and one line of results\n";

constexpr int kProjects = 24;
// Of one direction of one round; the rest of it is calm.
constexpr auto kChaosTime = std::chrono::seconds(60);
constexpr auto kTick = std::chrono::milliseconds(20);
constexpr auto kAskInterval = std::chrono::milliseconds(300);
constexpr int kCalmSeconds = 180;
// Of time over the minutes asked for, to let every kind of fault land.
constexpr auto kGrace = std::chrono::minutes(3);
constexpr int kUsageExit = 64;

struct Options {
  int64_t minutes = 60;
  uint64_t seed = std::random_device()();
  bool json = false;
};

std::optional<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    const auto value = i + 1 < argc ? ParseDecimal(argv[++i]) : std::nullopt;
    if (!value.has_value() || *value < 0 || (name != "--minutes" && name != "--seed")) {
      return std::nullopt;
    }
    if (name == "--seed") {
      options.seed = static_cast<uint64_t>(*value);
    } else {
      options.minutes = *value;
    }
  }
  return options;
}

std::string Conninfo(const PgProxy& link) { return "host=127.0.0.1 port=" + std::to_string(link.port()); }

class Runner {
 public:
  explicit Runner(const Options& options)
      : options_(options),
        fleet_({.projects = kProjects}),
        links_{.source = PgProxy(fleet_.source().port()),
               .target = PgProxy(fleet_.target().port()),
               .coordinator = PgProxy(fleet_.coordinator_port(), PgProxy::Protocol::kUnread)},
        chaos_(fleet_, links_, tally_, options.seed) {
    fleet_.env()["PGCONVOY_SHARED_CONNINFO"] = Conninfo(links_.source);
    fleet_.env()["PGCONVOY_ISOLATED_CONNINFO"] = Conninfo(links_.target);
    fleet_.PlaceWorkersBehind(links_.coordinator.port());
    v1::Execution& execution = *fleet_.plan().mutable_execution();
    execution.set_batch_size(2);
    execution.set_max_attempts(100);
    execution.set_initial_backoff_ms(100);
    execution.set_max_backoff_ms(1'000);
    fleet_.StartCoordinator();
  }

  const Tally& Run() {
    const auto end = Clock::now() + std::chrono::minutes(options_.minutes);
    const auto last_end = end + kGrace;
    while (Clock::now() < end || (!tally_.NeverLanded().empty() && Clock::now() < last_end)) {
      Round();
      if (!tally_.wrong.empty()) {
        break;
      }
    }
    return tally_;
  }

 private:
  void Round() {
    ++tally_.rounds;
    tally_.projects += kProjects;
    const std::string migration = fleet_.Submit();
    UnderFaults(Chaos::Direction::kForward, migration, v1::MIGRATION_SUCCEEDED);
    CountRows(fleet_, tally_);
    fleet_.Rollback(migration, "", /*discard_writes=*/false);
    UnderFaults(Chaos::Direction::kBackward, migration, v1::MIGRATION_ROLLED_BACK);
    for (const std::string& ref : fleet_.refs()) {
      if (const std::string why = fleet_.WhyNotUntouched(ref); !why.empty()) {
        tally_.wrong.push_back("after the rollback: " + why);
      }
    }
    CountOrphans(fleet_, tally_);
    Say("round " + std::to_string(tally_.rounds) + ": " + tally_.Summary());
  }

  void UnderFaults(Chaos::Direction direction, const std::string& migration, v1::MigrationState wanted) {
    chaos_.Begin(direction);
    const auto end = Clock::now() + kChaosTime;
    auto ask_at = Clock::now();
    while (Clock::now() < end && tally_.wrong.empty()) {
      chaos_.Tick();
      if (Clock::now() >= ask_at) {
        ask_at = Clock::now() + kAskInterval;
        if (Unended() == 0) {
          break;
        }
      }
      std::this_thread::sleep_for(kTick);
    }
    chaos_.End();
    ExpectEnded(migration, wanted);
  }

  // Asked of the store, as the coordinator may be dead.
  int64_t Unended() {
    return std::stoll(
        fleet_.store().QueryValue("postgres",
                                  "SELECT count(*) FROM pgconvoy.migration WHERE state IN ('RUNNING', 'PAUSED', "
                                  "'CANCELLING', 'ROLLING_BACK')"));
  }

  void ExpectEnded(const std::string& migration, v1::MigrationState wanted) {
    v1::Migration ended = fleet_.WaitEnded(migration, kCalmSeconds);
    if (ended.state() != wanted && RetryWhatLostItsWorkers(migration)) {
      ended = fleet_.WaitEnded(migration, kCalmSeconds);
    }
    if (ended.state() != wanted) {
      tally_.wrong.push_back("ended otherwise than " + v1::MigrationState_Name(wanted) + ": " +
                             ended.ShortDebugString() + Reasons(migration));
    }
  }

  std::string Reasons(const std::string& migration) {
    std::string reasons;
    for (const std::string& ref : fleet_.refs()) {
      reasons += "\n" + fleet_.GetProject(migration, ref).ShortDebugString();
    }
    return reasons;
  }

  // What the coordinator asks of an operator, when too many workers have died under a project.
  bool RetryWhatLostItsWorkers(const std::string& migration) {
    bool retried = false;
    for (const std::string& ref : fleet_.refs()) {
      if (fleet_.GetProject(migration, ref).error().code() == "PGC-WORKER-LOSSES") {
        fleet_.Retry(migration, ref);
        ++tally_.retried;
        retried = true;
      }
    }
    return retried;
  }

  void Say(const std::string& line) const {
    if (!options_.json) {
      std::printf("%s\n", line.c_str());
      std::fflush(stdout);
    }
  }

  const Options options_;
  Tally tally_;
  Fleet fleet_;
  Chaos::Links links_;
  Chaos chaos_;
};

int Main(int argc, char** argv) {
  const std::optional<Options> options = Parse(argc, argv);
  if (!options.has_value()) {
    std::fputs(kUsage, stderr);
    return kUsageExit;
  }
  std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(options->seed));
  // Small projects: it is the places between their rows that count.
  ::setenv("PGCONVOY_DEMO_FACTORS", "0.3,0.1,0.5,0.2", /*overwrite=*/0);
  Runner runner(*options);
  const Tally& tally = runner.Run();
  for (const std::string& line : tally.wrong) {
    std::fprintf(stderr, "WRONG: %s\n", line.c_str());
  }
  for (const Kind kind : tally.NeverLanded()) {
    std::fprintf(stderr, "never landed: %s\n", std::string(Name(kind)).c_str());
  }
  std::printf("%s\n%s\n", tally.Details(options->seed).c_str(), tally.Summary().c_str());
  return tally.Failed() ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace
}  // namespace pgconvoy::testing

int main(int argc, char** argv) {
  try {
    return pgconvoy::testing::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pgconvoy-faults: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
