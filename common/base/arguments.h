// What all our command lines have in common: environment variables as flags of the daemons, and numbers.
//
// Thread safety: WithEnvironment reads the environment; call it before threads are started. Errors: none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
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

// "" when `text` is a plain decimal number from `min`, which is not negative, to `max`; else what is wrong. (CLI11's
// own check takes 0x10 for 16 and 010 for 8.)
std::string WhyNoNumber(std::string_view text, int64_t min, int64_t max);

// Whether a connection string among the arguments holds a password, which every user of the machine could see there.
bool HoldsPassword(std::string_view argument);

}  // namespace pgconvoy
