#include "coordinator/store/binary_array.h"

#include <array>
#include <utility>

namespace pgconvoy::store {
namespace {

constexpr uint32_t kNullLength = 0xFFFFFFFF;
constexpr char kCopySignature[] = "PGCOPY\n\377\r\n\0";
constexpr uint16_t kCopyEnd = 0xFFFF;
// Where the number of elements stands.
constexpr size_t kCountOffset = 12;
// 2000-01-01, from which PostgreSQL counts microseconds.
constexpr WallMs kPostgresEpochMs = 946'684'800'000;

template <size_t kBytes, typename Number>
std::array<char, kBytes> BigEndian(Number value) {
  std::array<char, kBytes> bytes;
  for (size_t i = 0; i < kBytes; ++i) {
    bytes[i] = static_cast<char>(value >> (8 * (kBytes - 1 - i)));
  }
  return bytes;
}

}  // namespace

void BinaryValues::PutInt2(uint16_t value) {
  const auto bytes = BigEndian<2>(value);
  bytes_.append(bytes.data(), bytes.size());
}

void BinaryValues::PutInt4(uint32_t value) {
  const auto bytes = BigEndian<4>(value);
  bytes_.append(bytes.data(), bytes.size());
}

void BinaryValues::PutInt8(uint64_t value) {
  const auto bytes = BigEndian<8>(value);
  bytes_.append(bytes.data(), bytes.size());
}

void BinaryValues::AddInt8(int64_t value) {
  ++values_;
  PutInt4(8);
  PutInt8(static_cast<uint64_t>(value));
}

void BinaryValues::AddInt8OrNull(int64_t value) {
  if (value == 0) {
    AddNull();
  } else {
    AddInt8(value);
  }
}

void BinaryValues::AddInt4(int32_t value) {
  ++values_;
  PutInt4(4);
  PutInt4(static_cast<uint32_t>(value));
}

void BinaryValues::AddBool(bool value) {
  ++values_;
  PutInt4(1);
  bytes_ += value ? '\1' : '\0';
}

void BinaryValues::AddText(std::string_view value) {
  ++values_;
  PutInt4(static_cast<uint32_t>(value.size()));
  bytes_ += value;
}

void BinaryValues::AddTextOrNull(std::string_view value) {
  if (value.empty()) {
    AddNull();
  } else {
    AddText(value);
  }
}

void BinaryValues::AddTime(WallMs value) { AddInt8((value - kPostgresEpochMs) * 1000); }

void BinaryValues::AddTimeOrNull(WallMs value) {
  if (value == 0) {
    AddNull();
  } else {
    AddTime(value);
  }
}

void BinaryValues::AddNull() {
  ++values_;
  PutInt4(kNullLength);
}

BinaryArray::BinaryArray(Element element) {
  PutInt4(1);  // dimensions
  PutInt4(1);  // may hold nulls
  PutInt4(static_cast<uint32_t>(element));
  PutInt4(0);  // elements, known at the end
  PutInt4(1);  // index of the first
}

std::string BinaryArray::Finish() && {
  const auto count = BigEndian<4>(values_);
  bytes_.replace(kCountOffset, count.size(), count.data(), count.size());
  return std::move(bytes_);
}

BinaryCopy::BinaryCopy(int columns) : columns_(static_cast<uint16_t>(columns)) {
  bytes_.append(kCopySignature, sizeof(kCopySignature) - 1);
  PutInt4(0);  // flags
  PutInt4(0);  // bytes of the header's extension
}

std::string BinaryCopy::Finish() && {
  PutInt2(kCopyEnd);
  return std::move(bytes_);
}

}  // namespace pgconvoy::store
