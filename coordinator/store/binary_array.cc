#include "coordinator/store/binary_array.h"

#include <array>
#include <utility>

namespace pgconvoy::store {
namespace {

constexpr uint32_t kNullLength = 0xFFFFFFFF;
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

BinaryArray::BinaryArray(Element element) {
  PutInt4(1);  // dimensions
  PutInt4(1);  // may hold nulls
  PutInt4(static_cast<uint32_t>(element));
  PutInt4(0);  // elements, known at the end
  PutInt4(1);  // index of the first
}

void BinaryArray::PutInt4(uint32_t value) {
  const auto bytes = BigEndian<4>(value);
  bytes_.append(bytes.data(), bytes.size());
}

void BinaryArray::PutInt8(uint64_t value) {
  const auto bytes = BigEndian<8>(value);
  bytes_.append(bytes.data(), bytes.size());
}

void BinaryArray::AddInt8(int64_t value) {
  ++elements_;
  PutInt4(8);
  PutInt8(static_cast<uint64_t>(value));
}

void BinaryArray::AddInt4(int32_t value) {
  ++elements_;
  PutInt4(4);
  PutInt4(static_cast<uint32_t>(value));
}

void BinaryArray::AddBool(bool value) {
  ++elements_;
  PutInt4(1);
  bytes_ += value ? '\1' : '\0';
}

void BinaryArray::AddText(std::string_view value) {
  ++elements_;
  PutInt4(static_cast<uint32_t>(value.size()));
  bytes_ += value;
}

void BinaryArray::AddTextOrNull(std::string_view value) {
  if (value.empty()) {
    AddNull();
  } else {
    AddText(value);
  }
}

void BinaryArray::AddTime(WallMs value) { AddInt8((value - kPostgresEpochMs) * 1000); }

void BinaryArray::AddTimeOrNull(WallMs value) {
  if (value == 0) {
    AddNull();
  } else {
    AddTime(value);
  }
}

void BinaryArray::AddNull() {
  ++elements_;
  PutInt4(kNullLength);
}

std::string BinaryArray::Finish() && {
  const auto count = BigEndian<4>(elements_);
  bytes_.replace(kCountOffset, count.size(), count.data(), count.size());
  return std::move(bytes_);
}

}  // namespace pgconvoy::store
