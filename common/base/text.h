// Small text helpers, and the bridge between std::string_view and absl::string_view, which are different types in
// Debian's Abseil.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/string_view.h"

namespace pgconvoy {

inline absl::string_view av(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view sv(absl::string_view text) { return {text.data(), text.size()}; }

// Lower-case hexadecimal.
std::string ToHex(std::span<const uint8_t> bytes);

// Parses a plain decimal number without sign, spaces or leading zeros (except "0"). Nothing on overflow.
std::optional<int64_t> ParseDecimal(std::string_view text);

// True for strict UTF-8 without NUL (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF).
bool IsUtf8(std::string_view text);

// `text` with control characters, DEL, bidirectional overrides and invalid UTF-8 written as \xNN or \u{NNNN}, so
// that a name from a tenant cannot steer a terminal or forge a log line.
std::string Printable(std::string_view text);

std::string Join(const std::vector<std::string>& parts, std::string_view separator);

// The candidate closest to `word` by edit distance, if it is at most 2 edits away (1 for words under 5 letters).
std::optional<std::string> Nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace pgconvoy
