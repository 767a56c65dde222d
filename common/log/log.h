// Logging for the daemons: spdlog, human lines on a terminal, JSON with Format::kJson. Always to stderr.
//
// Every line about a project carries migration, project, phase and fence: use a Context. Fields are escaped; names
// that come from tenants cannot forge a line. Secrets are never given to it.
// Thread safety: any thread after Init.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgconvoy::log {

enum class Level { kDebug, kInfo, kWarn, kError };
enum class Format { kText, kJson };

// Once, in main(). `component` is "coordinator" or "worker".
void Init(std::string_view component, Format format, Level level);

using Fields = std::vector<std::pair<std::string, std::string>>;

// What a line is about.
struct Context {
  std::string migration;
  std::string project;
  std::string phase;
  int64_t fence = 0;
};

void Write(Level level, std::string_view message, const Fields& fields = {});
void Write(Level level, const Context& context, std::string_view message, const Fields& fields = {});

inline void Debug(std::string_view message, const Fields& fields = {}) { Write(Level::kDebug, message, fields); }
inline void Info(std::string_view message, const Fields& fields = {}) { Write(Level::kInfo, message, fields); }
inline void Warn(std::string_view message, const Fields& fields = {}) { Write(Level::kWarn, message, fields); }
inline void Error(std::string_view message, const Fields& fields = {}) { Write(Level::kError, message, fields); }

}  // namespace pgconvoy::log
