// What simulated workers put into the payloads that pass through the core unread: one letter and one number.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>

namespace pgconvoy::sim {

// Stands in front of a password that was not sealed.
inline constexpr char kPlainSecret = '!';

struct Payload {
  char kind = 0;
  int64_t value = 0;
};

inline std::string MakePayload(char kind, int64_t value) { return kind + std::to_string(value); }

inline Payload ParsePayload(const std::string& text) {
  Payload payload;
  if (!text.empty()) {
    payload.kind = text[0];
    std::from_chars(text.data() + 1, text.data() + text.size(), payload.value);
  }
  return payload;
}

}  // namespace pgconvoy::sim
