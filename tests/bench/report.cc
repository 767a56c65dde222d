#include "tests/bench/report.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace pgconvoy::bench {
namespace {

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Rounded(double value) { return std::stod(nlohmann::json(value).dump().substr(0, 8)); }

void PrintLine(const nlohmann::ordered_json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

}  // namespace

void Report::Setting(const std::string& name, const std::string& value) {
  if (options_.json) {
    PrintLine({{"benchmark", benchmark_}, {"setting", name}, {"value", value}});
  } else {
    std::printf("  %-34s %s\n", name.c_str(), value.c_str());
    std::fflush(stdout);
  }
}

void Report::Compare(const std::string& unit, int rounds, const std::vector<Contestant>& contestants) {
  for (int round = 1; round <= rounds; ++round) {
    for (const Contestant& contestant : contestants) {
      const double seconds = contestant.run();
      seconds_[contestant.name].push_back(seconds);
      std::fprintf(stderr, "%s, round %d of %d: %s %.4f s %s\n", benchmark_.c_str(), round, rounds,
                   contestant.name.c_str(), seconds, unit.c_str());
    }
  }
  if (!options_.json) {
    std::printf("\n%-34s %10s %10s %10s   seconds %s\n", benchmark_.c_str(), "median", "least", "most", unit.c_str());
  }
  for (const Contestant& contestant : contestants) {
    const std::vector<double>& seconds = seconds_.at(contestant.name);
    const auto [least, most] = std::minmax_element(seconds.begin(), seconds.end());
    if (options_.json) {
      PrintLine({{"benchmark", benchmark_},
                 {"contestant", contestant.name},
                 {"unit", unit},
                 {"rounds", rounds},
                 {"median_s", MedianOf(seconds)},
                 {"least_s", *least},
                 {"most_s", *most}});
    } else {
      std::printf("%-34s %10.4f %10.4f %10.4f\n", contestant.name.c_str(), MedianOf(seconds), *least, *most);
    }
  }
  std::fflush(stdout);
}

double Report::Median(const std::string& name) const {
  const auto found = seconds_.find(name);
  if (found == seconds_.end()) {
    throw std::runtime_error("nobody called " + name + " took part");
  }
  return MedianOf(found->second);
}

void Report::Judge(const std::vector<Target>& targets) {
  for (const Target& target : targets) {
    if (options_.quick || !Has(target.ours) || !Has(target.peer)) {
      continue;
    }
    const double ours = Median(target.ours);
    const double peer = Median(target.peer);
    const double ratio = ours / peer;
    const bool pass = ratio <= target.at_most;
    if (options_.json) {
      PrintLine({{"benchmark", benchmark_},
                 {"ours", target.ours},
                 {"peer", target.peer},
                 {"ours_s", Rounded(ours)},
                 {"peer_s", Rounded(peer)},
                 {"ratio", Rounded(ratio)},
                 {"target", target.at_most},
                 {"pass", pass}});
    } else {
      std::printf("%s  %s / %s = %.3f, at most %.3f\n", pass ? "PASS" : "MISS", target.ours.c_str(),
                  target.peer.c_str(), ratio, target.at_most);
    }
    Verdict(pass);
  }
}

void Report::JudgeValue(const std::string& name, double value, Want want, double target, const std::string& unit) {
  if (options_.quick) {
    return;
  }
  const bool pass = want == Want::kAtMost ? value <= target : value >= target;
  const std::string limit = want == Want::kAtMost ? "at_most" : "at_least";
  if (options_.json) {
    PrintLine({{"benchmark", benchmark_},
               {"figure", name},
               {"unit", unit},
               {"value", Rounded(value)},
               {"limit", limit},
               {"target", target},
               {"pass", pass}});
  } else {
    std::printf("%s  %s: %.3f %s, %s %.3f\n", pass ? "PASS" : "MISS", name.c_str(), value, unit.c_str(),
                want == Want::kAtMost ? "at most" : "at least", target);
  }
  Verdict(pass);
}

bool Report::TakesPart(const std::string& peer) const {
  return options_.peers.empty() ||
         std::find(options_.peers.begin(), options_.peers.end(), peer) != options_.peers.end();
}

void Report::Verdict(bool pass) {
  std::fflush(stdout);
  ok_ = ok_ && (pass || options_.quick);
}

double Timed(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace pgconvoy::bench
