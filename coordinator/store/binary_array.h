// PostgreSQL arrays in their binary form, one per column of a multi-row write: libpqxx 6.4 cannot send arrays, and the
// server takes several times as long to read their text. The form is that of array_recv: dimensions, element type,
// then each element as the receive function of its type wants it (PostgreSQL 15, src/backend/utils/adt/arrayfuncs.c).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace pgconvoy::store {

// The object ids of pg_type that never change.
enum class Element : uint32_t { kBool = 16, kInt8 = 20, kInt4 = 23, kText = 25, kJson = 114, kTimestamptz = 1184 };

// Elements must be added with the function of the array's type.
class BinaryArray {
 public:
  explicit BinaryArray(Element element);

  void AddInt8(int64_t value);
  void AddInt4(int32_t value);
  void AddBool(bool value);
  // kText or kJson.
  void AddText(std::string_view value);
  // NULL for "".
  void AddTextOrNull(std::string_view value);
  void AddTime(WallMs value);
  // NULL for 0.
  void AddTimeOrNull(WallMs value);
  void AddNull();

  // The finished array.
  std::string Finish() &&;

 private:
  void PutInt4(uint32_t value);
  void PutInt8(uint64_t value);
  std::string bytes_;
  uint32_t elements_ = 0;
};

}  // namespace pgconvoy::store
