// pgconvoy-bench BENCHMARK… [--quick] [--json] [--rounds N] [--peers a,b]: see ./dev bench --help.
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/benchmarks.h"

namespace pgconvoy::bench {
namespace {

const std::vector<std::pair<std::string, void (*)(Report&)>> kBenchmarks = {
    {"fleet", RunFleet},   {"relocate", RunRelocate},       {"large", RunLarge},
    {"verify", RunVerify}, {"coordinator", RunCoordinator}, {"scale", RunScale},
};

int Usage() {
  std::fprintf(stderr,
               "usage: pgconvoy-bench BENCHMARK... [--quick] [--json] [--rounds N] [--peers NAME,NAME]\n"
               "benchmarks:");
  for (const auto& [name, unused] : kBenchmarks) {
    std::fprintf(stderr, " %s", name.c_str());
  }
  std::fprintf(stderr, "; none: all of them\n");
  return 64;
}

std::vector<std::string> SplitAtCommas(const std::string& list) {
  std::vector<std::string> parts(1);
  for (const char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

int Main(const std::vector<std::string>& arguments) {
  Options options;
  std::vector<std::string> chosen;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool has_value = i + 1 < arguments.size();
    if (argument == "--help") {
      Usage();
      return 0;
    }
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--json") {
      options.json = true;
    } else if (argument == "--rounds" && has_value) {
      options.rounds = std::stoi(arguments[++i]);
    } else if (argument == "--peers" && has_value) {
      options.peers = SplitAtCommas(arguments[++i]);
    } else if (!argument.starts_with("-")) {
      chosen.push_back(argument);
    } else {
      return Usage();
    }
  }
  bool ok = true;
  size_t found = 0;
  for (const auto& [name, run] : kBenchmarks) {
    bool wanted = chosen.empty();
    for (const std::string& choice : chosen) {
      found += choice == name ? 1 : 0;
      wanted = wanted || choice == name;
    }
    if (wanted) {
      if (!options.json) {
        std::printf("\n== %s ==\n", name.c_str());
      }
      Report report(name, options);
      run(report);
      ok = ok && report.ok();
    }
  }
  return found < chosen.size() ? Usage() : ok ? 0 : 1;
}

}  // namespace
}  // namespace pgconvoy::bench

int main(int argc, char** argv) {
  try {
    return pgconvoy::bench::Main({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pgconvoy-bench: %s\n", error.what());
    return 2;
  }
}
