// The tools beside which we are measured, run as people run them: a shell script per project under xargs -P.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace pgconvoy::bench {

// Whether a program can be found; one that cannot does not take part.
bool HasProgram(const std::string& name);

// A bash script that is run once for each of some arguments, so many at a time.
class XargsScript {
 public:
  // `env` is added to the environment of each run. "set -euo pipefail" is put before the text.
  XargsScript(const std::string& text, std::map<std::string, std::string> env);

  // Seconds for all of them. Throws with what the script wrote when one of them fails.
  double Run(const std::vector<std::string>& arguments, int parallel) const;

 private:
  testing::TempDir folder_;
  std::map<std::string, std::string> env_;
};

}  // namespace pgconvoy::bench
