// pgconvoy-faults: moves projects and moves them back, over and over, while everything fails at random, and counts what
// was lost, doubled, mixed up or left over. See Usage.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/base/text.h"
#include "tests/faults/rounds.h"
#include "tests/faults/tally.h"
#include "tests/faults/world.h"

namespace pgconvoy::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kUsage[] =
    "usage: pgconvoy-faults [--minutes N] [--seed S] [--json]\n"
    "  --minutes N   go on until N minutes are over and every kind of fault has landed; default 60\n"
    "  --seed S      the same choices again, though not the same moments; default: one at random\n"
    "  --json        print nothing but one line of details and one line of results\n";

constexpr int kIsolated = 24;
// Whole databases take longer.
constexpr int kRelocated = 8;
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

class Runner {
 public:
  explicit Runner(const Options& options) : options_(options) {
    plans_.push_back(std::make_unique<Rounds>(MakeIsolation(kIsolated), tally_, options.seed));
    plans_.push_back(std::make_unique<Rounds>(MakeRelocation(kRelocated), tally_, options.seed + 1));
  }

  // Each plan has at least one round.
  const Tally& Run() {
    const auto end = Clock::now() + std::chrono::minutes(options_.minutes);
    const auto last_end = end + kGrace;
    while (tally_.rounds < std::ssize(plans_) || Clock::now() < end ||
           (!tally_.NeverLanded().empty() && Clock::now() < last_end)) {
      plans_[static_cast<size_t>(tally_.rounds) % plans_.size()]->PlayOne();
      Say("round " + std::to_string(tally_.rounds) + ": " + tally_.Summary());
      if (!tally_.wrong.empty()) {
        break;
      }
    }
    return tally_;
  }

 private:
  void Say(const std::string& line) const {
    if (!options_.json) {
      std::printf("%s\n", line.c_str());
      std::fflush(stdout);
    }
  }

  const Options options_;
  Tally tally_;
  // Their rounds are played in turn.
  std::vector<std::unique_ptr<Rounds>> plans_;
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
