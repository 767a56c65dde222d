// PostgreSQL array literals, one per column of a multi-row write: libpqxx 6.4 cannot send arrays.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgconvoy::store {

// Builds '{1,NULL,"a\"b"}' element by element.
class ArrayText {
 public:
  void Add(int64_t value);
  void Add(bool value);
  void Add(std::string_view value);
  void Add(const char* value) { Add(std::string_view(value)); }
  void AddNull();
  // NULL for "".
  void AddOrNull(std::string_view value);
  // NULL for 0.
  void AddOrNull(int64_t value);

  // The finished literal.
  std::string Finish() const { return text_ + "}"; }

 private:
  void Separate();
  std::string text_ = "{";
};

std::string ToArrayText(const std::vector<std::string>& values);
std::string ToArrayText(const std::vector<int64_t>& values);

// The elements of a one-dimensional literal as the server prints it; NULL becomes "".
std::vector<std::string> ParseArrayText(std::string_view literal);

}  // namespace pgconvoy::store
