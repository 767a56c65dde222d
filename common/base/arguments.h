// Environment variables as command-line flags, for the daemons.
//
// Thread safety: reads the environment; call it before threads are started. Errors: none.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace pgconvoy {

// A flag ("--listen") and the environment variable that stands in for it.
struct EnvironmentFlag {
  const char* flag;
  const char* variable;
};

// The arguments behind argv[0], after "FLAG=VALUE" for every variable that is set and not empty: where the last value
// of a flag counts, an argument beats a variable. In reverse order, as CLI11 takes them. (CLI11's own envname() lets a
// configuration file beat a variable.)
std::vector<std::string> WithEnvironment(std::span<const EnvironmentFlag> flags, int argc, const char* const* argv);

}  // namespace pgconvoy
