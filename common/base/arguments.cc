#include "common/base/arguments.h"

#include <algorithm>
#include <cstdlib>

namespace pgconvoy {

std::vector<std::string> WithEnvironment(std::span<const EnvironmentFlag> flags, int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  for (const EnvironmentFlag& entry : flags) {
    if (const char* const value = std::getenv(entry.variable); value != nullptr && *value != '\0') {
      arguments.push_back(std::string(entry.flag) + "=" + value);
    }
  }
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

}  // namespace pgconvoy
