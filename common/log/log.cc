#include "common/log/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "common/base/text.h"

namespace pgconvoy::log {
namespace {

struct State {
  Format format = Format::kText;
  std::string component;
  std::shared_ptr<spdlog::logger> logger;
};

State& GlobalState() {
  static State* const state = new State;
  return *state;
}

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarn: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  for (const char c : Printable(text)) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out + "\"";
}

// Quoted unless it is a plain word, so that a value cannot pass for another field.
std::string TextValue(std::string_view text) {
  const bool plain = !text.empty() && text.find_first_of(" \"=\\\t\r\n") == std::string_view::npos;
  return plain ? Printable(text) : JsonString(text);
}

std::string FormatText(std::string_view message, const Fields& fields) {
  std::string line = Printable(message);
  for (const auto& [key, value] : fields) {
    line += " " + key + "=" + TextValue(value);
  }
  return line;
}

std::string FormatJson(std::string_view component, std::string_view message, const Fields& fields) {
  std::string line = "\"component\":" + JsonString(component) + ",\"message\":" + JsonString(message);
  for (const auto& [key, value] : fields) {
    line += "," + JsonString(key) + ":" + JsonString(value);
  }
  return line;
}

Fields WithContext(const Context& context, const Fields& fields) {
  Fields all;
  const auto add = [&all](const char* key, const std::string& value) {
    if (!value.empty()) {
      all.emplace_back(key, value);
    }
  };
  add("migration", context.migration);
  add("project", context.project);
  add("phase", context.phase);
  add("fence", context.fence == 0 ? "" : std::to_string(context.fence));
  all.insert(all.end(), fields.begin(), fields.end());
  return all;
}

}  // namespace

void Init(std::string_view component, Format format, Level level) {
  State& state = GlobalState();
  state.format = format;
  state.component = std::string(component);
  state.logger = std::make_shared<spdlog::logger>("pgconvoy", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  state.logger->set_level(ToSpdlog(level));
  state.logger->flush_on(spdlog::level::debug);
  state.logger->set_pattern(format == Format::kJson ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%eZ\",\"level\":\"%l\",%v}"
                                                    : "%Y-%m-%dT%H:%M:%S.%eZ %^%-7l%$ " + state.component + ": %v",
                            spdlog::pattern_time_type::utc);
}

void Write(Level level, std::string_view message, const Fields& fields) {
  State& state = GlobalState();
  if (state.logger == nullptr || !state.logger->should_log(ToSpdlog(level))) {
    return;
  }
  // The line is an argument, never the format: braces in a name must not be interpreted.
  const std::string line =
      state.format == Format::kJson ? FormatJson(state.component, message, fields) : FormatText(message, fields);
  state.logger->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void Write(Level level, const Context& context, std::string_view message, const Fields& fields) {
  Write(level, message, WithContext(context, fields));
}

}  // namespace pgconvoy::log
