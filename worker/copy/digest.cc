#include "worker/copy/digest.h"

#include <xxhash.h>

namespace pgconvoy {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr size_t kHexDigits = 32;

}  // namespace

std::optional<RowDigest> RowDigest::FromParts(int64_t rows, int64_t bytes, std::string_view hex) {
  if (rows < 0 || bytes < 0 || hex.size() != kHexDigits) {
    return std::nullopt;
  }
  RowDigest digest;
  digest.rows_ = rows;
  digest.bytes_ = bytes;
  for (const char c : hex) {
    const size_t value = kDigits.find(c);
    if (value == std::string_view::npos) {
      return std::nullopt;
    }
    digest.sum_ = digest.sum_ << 4 | value;
  }
  return digest;
}

void RowDigest::Add(std::string_view row) {
  if (row.ends_with('\n')) {
    row.remove_suffix(1);
  }
  const XXH128_hash_t hash = XXH3_128bits(row.data(), row.size());
  rows_ += 1;
  bytes_ += static_cast<int64_t>(row.size()) + 1;
  sum_ += static_cast<Sum>(hash.high64) << 64 | hash.low64;
}

void RowDigest::Add(const RowDigest& other) {
  rows_ += other.rows_;
  bytes_ += other.bytes_;
  sum_ += other.sum_;
}

std::string RowDigest::Hex() const {
  std::string hex(kHexDigits, '0');
  Sum rest = sum_;
  for (size_t i = kHexDigits; i-- > 0; rest >>= 4) {
    hex[i] = kDigits[static_cast<size_t>(rest & 0xF)];
  }
  return hex;
}

}  // namespace pgconvoy
