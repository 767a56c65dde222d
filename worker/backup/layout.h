// Names of a backup's folders and files. Private to worker/backup.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/backup/backup.h"

namespace pgconvoy::backup {

inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kManifestTemporary[] = "manifest.json.new";

// "<table>.<number>.copy.zst"; `number` counts from 1. An encrypted one has kEncryptedSuffix behind it.
std::string ChunkFileName(std::string_view table, size_t number);

// Every byte outside [A-Za-z0-9_.-] as %XX; at most 200 bytes, else a hash takes the place of the end.
std::string EncodeName(std::string_view name);

inline constexpr char kSchemaFile[] = "schema.sql";
inline constexpr char kEncryptedSuffix[] = ".enc";
inline constexpr char kDoomedPrefix[] = "doomed-";

// What encryption binds to a file: whose it is and which.
std::string CipherName(const Manifest& manifest, std::string_view file);

// "<root>/store-<id>"
std::string StoreFolder(const std::string& root, std::string_view store_id);
// "<root>/store-<id>/<ref>/<fence>". PGC-BACKUP-ID for a ref that is no ref or a fence that no grant has given.
absl::StatusOr<std::string> BackupFolder(const std::string& root,
                                         std::string_view store_id,
                                         std::string_view ref,
                                         int64_t fence);

}  // namespace pgconvoy::backup
