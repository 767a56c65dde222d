// Text for people: colours, numbers, durations and times. Pure: no stream, no clock, no environment.
//
// Everything that came from outside (names, messages) goes through Printable before it is laid out, so that no name
// can steer a terminal.
// Thread safety: all functions are pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pgconvoy::render {

// How a stream wants its text.
struct Style {
  bool color = false;
  // Glyphs outside ASCII are replaced.
  bool ascii = false;
  // Columns of the terminal; 0: unlimited, nothing is clipped.
  int width = 0;
};

// Meaning of a colour, drawn from the terminal's own 16. Never the only carrier of a meaning.
enum class Tone { kPlain, kGood, kWarn, kBad, kBusy, kFaint, kTitle };

std::string Paint(std::string_view text, Tone tone, const Style& style);

// Terminal columns of `text`, which must hold no escape sequence: one for each code point.
size_t Columns(std::string_view text);
// `text` cut to `columns` with an ellipsis where it is longer.
std::string Clip(std::string_view text, size_t columns, const Style& style);

// "61,204".
std::string Count(int64_t number);
// "0 B", "17.0 MiB", "1.6 TiB".
std::string Bytes(int64_t bytes);
// "0.3 s", "12 s", "3m05s", "2h10m", "4d03h"; negative is taken as 0.
std::string Duration(int64_t ms);
// "2026-03-01 09:52:10Z"; "-" for 0.
std::string Time(int64_t unix_ms);
std::string ClockTime(int64_t unix_ms);

// "error PGC-X: message; remedy", with ", next: …" on a line of its own when there is one. Ends with a newline.
struct ErrorText {
  std::string code;
  std::string message;
  std::string remedy;
  std::string next;
};
std::string FormatError(const ErrorText& error, const Style& style);

}  // namespace pgconvoy::render
