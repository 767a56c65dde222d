// What every fuzz target needs. A target reads one input and checks what must hold for any; libFuzzer, AddressSanitizer
// and UndefinedBehaviorSanitizer find the rest. See docs/bad-input.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace pgconvoy::fuzz {

// Ends the run, so that libFuzzer keeps the input.
inline void Require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::abort();
  }
}

inline std::string_view Text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};  // libFuzzer's inputs are bytes
}

// Takes the text up to the first `separator` off the front.
inline std::string_view TakeUntil(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view taken = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return taken;
}

}  // namespace pgconvoy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
