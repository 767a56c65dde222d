#include "common/base/arguments.h"

#include <algorithm>
#include <cstdlib>

#include "common/base/text.h"

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

std::string WhyNoNumber(std::string_view text, int64_t min, int64_t max) {
  const auto number = ParseDecimal(text);
  if (number.has_value() && *number >= min && *number <= max) {
    return "";
  }
  return "\"" + Printable(text) + "\" is not a whole number from " + std::to_string(min) + " to " +
         std::to_string(max);
}

bool HoldsPassword(std::string_view argument) {
  const size_t scheme = argument.find("://");
  const size_t at = argument.find('@');
  const bool in_uri = scheme != std::string_view::npos && at != std::string_view::npos && scheme + 3 < at &&
                      argument.substr(scheme + 3, at - scheme - 3).find(':') != std::string_view::npos;
  // libpq allows blanks around the equals sign.
  std::string dense(argument);
  std::erase_if(dense, [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; });
  return in_uri || dense.find("password=") != std::string::npos;
}

}  // namespace pgconvoy
