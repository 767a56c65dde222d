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

}  // namespace

std::string EncodeName(std::string_view name) {
  std::string encoded;
  for (const char c : name) {
    encoded += IsPlain(c) ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  // '~' occurs in no encoded name, so a hashed one is never taken for another's.
  return encoded.size() <= kMaxEncodedBytes
             ? encoded
             : encoded.substr(0, kReadablePrefixBytes) + "~" + ShortHash(name, kHashDigits);
}

std::string ChunkFileName(std::string_view table, size_t number) {
  return fmt::format("{}.{:05}.copy.zst", EncodeName(table), number);
}

std::string CipherName(const Manifest& manifest, std::string_view file) {
  // None of the parts before the last can hold a newline but the store's id, which is encoded.
  return fmt::format("pgconvoy backup 1\n{}\n{}\n{}\n{}", EncodeName(manifest.store_id), manifest.project_ref,
                     manifest.fence, file);
}

std::string BackupId(std::string_view ref, int64_t fence) { return std::string(ref) + "/" + std::to_string(fence); }

absl::StatusOr<BackupName> ParseBackupId(std::string_view id) {
  const size_t slash = id.rfind('/');
  const auto fence = slash == std::string_view::npos ? std::nullopt : ParseDecimal(id.substr(slash + 1));
  BackupName name{std::string(id.substr(0, slash)), fence.value_or(0)};
  if (!IsValidRef(name.ref) || name.fence <= 0) {
    return InputError("PGC-BACKUP-ID", "\"" + Printable(id) + "\" is no backup id", "see `pgconvoy backup list`");
  }
  return name;
}

std::string StoreFolder(const std::string& root, std::string_view store_id) {
  return root + "/store-" + EncodeName(store_id);
}

absl::StatusOr<std::string> BackupFolder(const std::string& root,
                                         std::string_view store_id,
                                         std::string_view ref,
                                         int64_t fence) {
  if (!IsValidRef(ref) || fence <= 0) {
    return InputError("PGC-BACKUP-ID", "'" + Printable(BackupId(ref, fence)) + "' names no backup");
  }
  return StoreFolder(root, store_id) + "/" + BackupId(ref, fence);
}

}  // namespace pgconvoy::backup
