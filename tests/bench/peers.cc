#include "tests/bench/peers.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "tests/bench/report.h"
#include "tests/support/process.h"

namespace pgconvoy::bench {

bool HasProgram(const std::string& name) { return std::filesystem::exists("/usr/bin/" + name); }

XargsScript::XargsScript(const std::string& text, std::map<std::string, std::string> env) : env_(std::move(env)) {
  std::ofstream(folder_.path() + "/script") << "set -euo pipefail\n" << text;
}

double XargsScript::Run(const std::vector<std::string>& arguments, int parallel) const {
  const std::string list = folder_.path() + "/arguments";
  {
    std::ofstream file(list, std::ios::trunc);
    for (const std::string& argument : arguments) {
      file << argument << "\n";
    }
  }
  testing::Finished done;
  const double seconds = Timed([&] {
    done = testing::RunToEnd({.argv = {"/usr/bin/xargs", "-a", list, "-P", std::to_string(parallel), "-n", "1",
                                       "/bin/bash", folder_.path() + "/script"},
                              .env = env_,
                              .working_directory = folder_.path()},
                             std::chrono::minutes(20));
  });
  if (done.exit_code != 0) {
    throw std::runtime_error("a peer's script failed: " + done.err);
  }
  return seconds;
}

}  // namespace pgconvoy::bench
