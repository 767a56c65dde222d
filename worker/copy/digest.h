// The content digest of a table: row count and the sum modulo 2^128 of XXH3-128 over each row's COPY text, under the
// settings that pg::Connection pins. Independent of row order; computed in the stream. XXH3 is no cryptographic hash:
// the digest finds mistakes, and the backup's SHA-256 finds tampering.
//
// Thread safety: none needed, it is a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgconvoy {

class RowDigest {
 public:
  RowDigest() = default;
  // The inverse of rows(), bytes() and Hex(), for digests that were written down. Nothing when `hex` is not 32
  // lower-case hex digits or a number is negative.
  static std::optional<RowDigest> FromParts(int64_t rows, int64_t bytes, std::string_view hex);

  // `row` is one COPY text line; a trailing newline does not count.
  void Add(std::string_view row);
  void Add(const RowDigest& other);
  int64_t rows() const { return rows_; }
  // Bytes of COPY text, newlines included.
  int64_t bytes() const { return bytes_; }
  // 32 lower-case hex digits.
  std::string Hex() const;
  friend bool operator==(const RowDigest&, const RowDigest&) = default;

 private:
  int64_t rows_ = 0;
  int64_t bytes_ = 0;
  __extension__ using Sum = unsigned __int128;
  Sum sum_ = 0;
};

}  // namespace pgconvoy
