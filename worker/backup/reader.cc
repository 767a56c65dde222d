#include <zstd.h>

#include <utility>

#include "common/base/error.h"
#include "common/crypto/crypto.h"
#include "common/crypto/file_cipher.h"
#include "worker/backup/backup.h"
#include "worker/backup/files.h"
#include "worker/backup/layout.h"

namespace pgconvoy::backup {
namespace {

// A manifest needs about 300 bytes per chunk; this is enough for 1.6 TB in chunks of 8 MiB.
constexpr int64_t kMaxManifestBytes = 64 << 20;

absl::Status Corrupt(const std::string& path, const std::string& why) {
  return MakeError(Verdict::kPermanent, "PGC-BACKUP-CORRUPT", path + ": " + why, "this backup must not be used");
}

absl::Status Missing(const std::string& folder) {
  return MakeError(Verdict::kPermanent, "PGC-BACKUP-MISSING", "there is no backup in " + folder,
                   "check that every worker sees the same backup directory");
}

RowDigest DigestOf(std::string_view text) {
  RowDigest digest;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const size_t length = end == std::string_view::npos ? text.size() : end + 1;
    digest.Add(text.substr(0, length));
    text.remove_prefix(length);
  }
  return digest;
}

absl::StatusOr<std::string> Decompress(const std::string& path, const std::string& stored, int64_t raw_bytes) {
  // Only then is the size that the frame claims worth an allocation.
  if (ZSTD_getFrameContentSize(stored.data(), stored.size()) != static_cast<uint64_t>(raw_bytes)) {
    return Corrupt(path, "does not hold as many bytes as the manifest says");
  }
  std::string raw(static_cast<size_t>(raw_bytes), '\0');
  const size_t size = ZSTD_decompress(raw.data(), raw.size(), stored.data(), stored.size());
  if (ZSTD_isError(size) != 0 || size != raw.size()) {
    return Corrupt(path, "cannot be decompressed");
  }
  return raw;
}

absl::Status CheckOwner(const Manifest& manifest,
                        const std::string& path,
                        const std::string& store_id,
                        const std::string& ref,
                        int64_t fence) {
  if (manifest.store_id != store_id || manifest.project_ref != ref || manifest.fence != fence) {
    return Corrupt(path, "belongs to another project, attempt or store");
  }
  return absl::OkStatus();
}

}  // namespace

BackupReader::BackupReader(std::string folder, Manifest manifest)
    : folder_(std::move(folder)), manifest_(std::move(manifest)) {}

absl::StatusOr<std::unique_ptr<BackupReader>> BackupReader::Open(const std::string& root,
                                                                 const std::string& store_id,
                                                                 const std::string& ref,
                                                                 int64_t fence,
                                                                 const std::string& manifest_digest) {
  PGC_ASSIGN_OR_RETURN(std::string folder, BackupFolder(root, store_id, ref, fence));
  const std::string path = folder + "/" + kManifestFile;
  const absl::StatusOr<std::string> json = ReadWholeFile(path, kMaxManifestBytes);
  if (absl::IsNotFound(json.status())) {
    return Missing(folder);
  }
  PGC_RETURN_IF_ERROR(json.status());
  if (Sha256Hex(*json) != manifest_digest) {
    return Corrupt(path, "is not the manifest that was sealed");
  }
  PGC_ASSIGN_OR_RETURN(Manifest manifest, FromJson(*json));
  PGC_RETURN_IF_ERROR(CheckOwner(manifest, path, store_id, ref, fence));
  return std::unique_ptr<BackupReader>(new BackupReader(std::move(folder), std::move(manifest)));
}

absl::StatusOr<std::string> BackupReader::ReadStored(const std::string& file,
                                                     int64_t bytes,
                                                     const std::string& sha256) const {
  const std::string path = folder_ + "/" + file;
  absl::StatusOr<std::string> stored = ReadWholeFile(path, bytes);
  if (absl::IsNotFound(stored.status())) {
    return Corrupt(path, "is missing");
  }
  PGC_RETURN_IF_ERROR(stored.status());
  if (Sha256Hex(*stored) != sha256) {
    return Corrupt(path, "has another SHA-256 than the manifest says");
  }
  return stored;
}

absl::Status BackupReader::Unlock(const Secret& private_key) {
  PGC_ASSIGN_OR_RETURN(const std::string sealed, Base64Decode(manifest_.encryption.sealed_key));
  PGC_ASSIGN_OR_RETURN(key_, OpenSealed(private_key, sealed));
  return absl::OkStatus();
}

absl::StatusOr<std::string> BackupReader::Decrypted(const std::string& file, std::string stored) const {
  if (!manifest_.encrypted()) {
    return stored;
  }
  if (key_.empty()) {
    return MakeError(Verdict::kPermanent, "PGC-BACKUP-LOCKED", folder_ + " is encrypted and no key is at hand",
                     "put the private key where backup.key of the plan says");
  }
  absl::StatusOr<std::string> text = DecryptFile(key_, CipherName(manifest_, file), stored);
  return text.ok() ? std::move(text) : Corrupt(folder_ + "/" + file, "cannot be decrypted");
}

absl::StatusOr<std::string> BackupReader::ReadChunk(const ChunkEntry& chunk) const {
  const std::string path = folder_ + "/" + chunk.file;
  PGC_ASSIGN_OR_RETURN(std::string stored, ReadStored(chunk.file, chunk.stored_bytes, chunk.sha256));
  PGC_ASSIGN_OR_RETURN(const std::string compressed, Decrypted(chunk.file, std::move(stored)));
  PGC_ASSIGN_OR_RETURN(std::string raw, Decompress(path, compressed, chunk.raw_bytes));
  if (DigestOf(raw) != RowDigest::FromParts(chunk.rows, chunk.raw_bytes, chunk.digest)) {
    return Corrupt(path, "has other rows than the manifest says");
  }
  return raw;
}

absl::StatusOr<std::string> BackupReader::ReadSchema() const {
  const SchemaEntry& schema = manifest_.schema;
  if (schema.file.empty()) {
    return "";
  }
  PGC_ASSIGN_OR_RETURN(std::string stored, ReadStored(schema.file, schema.bytes, schema.sha256));
  return Decrypted(schema.file, std::move(stored));
}

absl::Status BackupReader::VerifyAll() const {
  PGC_RETURN_IF_ERROR(ReadSchema().status());
  for (const TableEntry& table : manifest_.tables) {
    for (const ChunkEntry& chunk : table.chunks) {
      PGC_RETURN_IF_ERROR(ReadChunk(chunk).status());
    }
  }
  return absl::OkStatus();
}

absl::Status BackupReader::CheckStored(const std::function<absl::Status()>& between) const {
  const SchemaEntry& schema = manifest_.schema;
  if (!schema.file.empty()) {
    PGC_RETURN_IF_ERROR(ReadStored(schema.file, schema.bytes, schema.sha256).status());
  }
  for (const TableEntry& table : manifest_.tables) {
    for (const ChunkEntry& chunk : table.chunks) {
      PGC_RETURN_IF_ERROR(between());
      PGC_RETURN_IF_ERROR(ReadStored(chunk.file, chunk.stored_bytes, chunk.sha256).status());
    }
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::backup
