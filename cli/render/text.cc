#include "cli/render/text.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "absl/time/time.h"
#include "common/base/text.h"

namespace pgconvoy::render {
namespace {

const char* Escape(Tone tone) {
  switch (tone) {
    case Tone::kGood: return "\x1b[32m";
    case Tone::kWarn: return "\x1b[33m";
    case Tone::kBad: return "\x1b[31m";
    case Tone::kBusy: return "\x1b[36m";
    case Tone::kFaint: return "\x1b[2m";
    case Tone::kTitle: return "\x1b[1m";
    case Tone::kPlain: break;
  }
  return "";
}

bool StartsCodePoint(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

std::string TwoParts(int64_t big, const char* big_unit, int64_t small, const char* small_unit) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, "%lld%s%02lld%s", static_cast<long long>(big), big_unit,
                static_cast<long long>(small), small_unit);
  return buffer;
}

std::string FormatUtc(int64_t unix_ms, const char* format) {
  if (unix_ms == 0) {
    return "-";
  }
  return absl::FormatTime(format, absl::FromUnixMillis(unix_ms), absl::UTCTimeZone());
}

}  // namespace

std::string Paint(std::string_view text, Tone tone, const Style& style) {
  if (!style.color || tone == Tone::kPlain || text.empty()) {
    return std::string(text);
  }
  return Escape(tone) + std::string(text) + "\x1b[0m";
}

size_t Columns(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), StartsCodePoint));
}

std::string Clip(std::string_view text, size_t columns, const Style& style) {
  if (Columns(text) <= columns) {
    return std::string(text);
  }
  const std::string_view mark = style.ascii ? "~" : "…";
  if (columns == 0) {
    return "";
  }
  size_t kept = 0;
  size_t end = 0;
  while (end < text.size()) {
    if (StartsCodePoint(text[end])) {
      if (kept == columns - 1) {
        break;
      }
      ++kept;
    }
    ++end;
  }
  return std::string(text.substr(0, end)) + std::string(mark);
}

std::string Count(int64_t number) {
  std::string digits = std::to_string(number);
  const int64_t first = number < 0 ? 1 : 0;
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

std::string Bytes(int64_t bytes) {
  static constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) {
    return std::to_string(bytes) + " B";
  }
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, "%.1f %s", value, kUnits[unit]);
  return buffer;
}

std::string Duration(int64_t ms) {
  ms = std::max<int64_t>(ms, 0);
  if (ms < 9'950) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.1f s", static_cast<double>(ms) / 1000);
    return buffer;
  }
  const int64_t s = (ms + 500) / 1000;
  if (s < 60) {
    return std::to_string(s) + " s";
  }
  if (s < 3600) {
    return TwoParts(s / 60, "m", s % 60, "s");
  }
  if (s < 86'400) {
    return TwoParts(s / 3600, "h", s % 3600 / 60, "m");
  }
  return TwoParts(s / 86'400, "d", s % 86'400 / 3600, "h");
}

std::string Time(int64_t unix_ms) { return FormatUtc(unix_ms, "%Y-%m-%d %H:%M:%SZ"); }
std::string ClockTime(int64_t unix_ms) { return FormatUtc(unix_ms, "%H:%M:%S"); }

std::string FormatError(const ErrorText& error, const Style& style) {
  std::string text = Paint("error " + error.code, Tone::kBad, style) + ": " + Printable(error.message);
  if (!error.remedy.empty()) {
    text += "; " + Printable(error.remedy);
  }
  text += "\n";
  if (!error.next.empty()) {
    text += "next: " + error.next + "\n";
  }
  return text;
}

}  // namespace pgconvoy::render
