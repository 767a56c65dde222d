#include "worker/backup/layout.h"

#include <fmt/format.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "common/model/model.h"
#include "worker/backup/backup.h"

namespace pgconvoy::backup {
namespace {

// File systems allow 255 bytes; number and suffix need some of them.
constexpr size_t kMaxEncodedBytes = 200;
constexpr size_t kReadablePrefixBytes = 100;
constexpr size_t kHashDigits = 32;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-';
}

std::string Encode(std::string_view name) {
  std::string encoded;
  for (const char c : name) {
    encoded += IsPlain(c) ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

}  // namespace

std::string ChunkFileName(std::string_view table, size_t number) {
  std::string name = Encode(table);
  if (name.size() > kMaxEncodedBytes) {
    // '~' occurs in no encoded name, so a hashed one is never taken for another table's.
    name = name.substr(0, kReadablePrefixBytes) + "~" + ShortHash(table, kHashDigits);
  }
  return fmt::format("{}.{:05}.copy.zst", name, number);
}

std::string BackupId(std::string_view ref, int64_t fence) { return std::string(ref) + "/" + std::to_string(fence); }

absl::StatusOr<std::string> BackupFolder(const std::string& root, std::string_view ref, int64_t fence) {
  if (!IsValidRef(ref) || fence <= 0) {
    return InputError("PGC-BACKUP-ID", "'" + Printable(BackupId(ref, fence)) + "' names no backup");
  }
  return root + "/" + BackupId(ref, fence);
}

}  // namespace pgconvoy::backup
