// Rows in PostgreSQL's binary forms: arrays, one per column of a multi-row write, and the stream of a COPY. libpqxx 6.4
// can send neither, and the server takes several times as long to read their text. The forms are those of array_recv
// (PostgreSQL 15, src/backend/utils/adt/arrayfuncs.c) and of COPY (manual, COPY, "Binary Format"); in both a value is
// its length and then what the receive function of its type wants.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace pgconvoy::store {

// The object ids of pg_type that never change.
enum class Element : uint32_t { kBool = 16, kInt8 = 20, kInt4 = 23, kText = 25, kJson = 114, kTimestamptz = 1184 };

// Values must be added with the function of the type that the server expects.
class BinaryValues {
 public:
  void AddInt8(int64_t value);
  // NULL for 0.
  void AddInt8OrNull(int64_t value);
  void AddInt4(int32_t value);
  void AddBool(bool value);
  // text or json.
  void AddText(std::string_view value);
  // NULL for "".
  void AddTextOrNull(std::string_view value);
  void AddTime(WallMs value);
  // NULL for 0.
  void AddTimeOrNull(WallMs value);
  void AddNull();

 protected:
  void PutInt2(uint16_t value);
  void PutInt4(uint32_t value);
  void PutInt8(uint64_t value);
  std::string bytes_;
  uint32_t values_ = 0;
};

class BinaryArray : public BinaryValues {
 public:
  explicit BinaryArray(Element element);
  // The finished array.
  std::string Finish() &&;
};

class BinaryCopy : public BinaryValues {
 public:
  explicit BinaryCopy(int columns);
  // Before the values of each row, of which there must be as many as columns.
  void BeginRow() { PutInt2(columns_); }
  // The finished stream.
  std::string Finish() &&;

 private:
  const uint16_t columns_;
};

}  // namespace pgconvoy::store
