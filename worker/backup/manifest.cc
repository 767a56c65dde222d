#include <nlohmann/json.hpp>
#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "worker/backup/backup.h"
#include "worker/backup/layout.h"

namespace pgconvoy::backup {

// Each name is the member's and the key in the JSON text.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ChunkEntry, file, rows, raw_bytes, stored_bytes, sha256, digest)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TableEntry, table, columns, types, rows, bytes, digest, chunks)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SchemaEntry, file, bytes, sha256)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EncryptionEntry, recipient, sealed_key)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SequenceEntry, sequence, last_value, is_called)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Manifest,
                                   format,
                                   store_id,
                                   project_ref,
                                   fence,
                                   migration_id,
                                   plan_hash,
                                   source,
                                   server_version,
                                   snapshot_time,
                                   scope,
                                   schema,
                                   tables,
                                   sequences)

namespace {

constexpr size_t kPublicKeyBytes = 32;
constexpr size_t kSealedKeyBytes = 32 + 48;
constexpr size_t kSha256Digits = 64;
// A chunk is held in memory whole. Sums of figures below it cannot overflow in any manifest that fits into memory.
constexpr int64_t kMaxChunkBytes = int64_t{1} << 40;

absl::Status Malformed(const std::string& why) {
  return MakeError(Verdict::kPermanent, "PGC-BACKUP-MANIFEST", "the manifest is refused: " + why);
}

bool IsHex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string Suffix(const Manifest& manifest) { return manifest.encrypted() ? kEncryptedSuffix : ""; }

bool IsBase64Of(const std::string& text, size_t bytes) {
  const auto decoded = Base64Decode(text);
  return decoded.ok() && decoded->size() == bytes;
}

absl::Status CheckChunk(const TableEntry& table, size_t index, const std::string& suffix) {
  const ChunkEntry& chunk = table.chunks[index];
  const bool sane = chunk.rows > 0 && chunk.raw_bytes >= chunk.rows && chunk.raw_bytes <= kMaxChunkBytes &&
                    chunk.stored_bytes > 0 && chunk.stored_bytes <= kMaxChunkBytes &&
                    IsHex(chunk.sha256, kSha256Digits) &&
                    chunk.file == ChunkFileName(table.table, index + 1) + suffix;
  return sane ? absl::OkStatus() : Malformed("chunk " + std::to_string(index + 1) + " of " + Printable(table.table));
}

absl::Status CheckTable(const TableEntry& table, const std::string& suffix) {
  RowDigest sum;
  for (size_t i = 0; i < table.chunks.size(); ++i) {
    PGC_RETURN_IF_ERROR(CheckChunk(table, i, suffix));
    const ChunkEntry& chunk = table.chunks[i];
    const auto digest = RowDigest::FromParts(chunk.rows, chunk.raw_bytes, chunk.digest);
    if (!digest) {
      return Malformed("digest of " + chunk.file);
    }
    sum.Add(*digest);
  }
  const std::set<std::string> columns(table.columns.begin(), table.columns.end());
  if (table.types.size() != table.columns.size()) {
    return Malformed("the columns of " + Printable(table.table) + " have no types");
  }
  if (columns.size() != table.columns.size()) {
    return Malformed("a column of " + Printable(table.table) + " occurs twice");
  }
  if (table.table.empty() || sum != RowDigest::FromParts(table.rows, table.bytes, table.digest)) {
    return Malformed("the chunks of " + Printable(table.table) + " do not add up to it");
  }
  return absl::OkStatus();
}

absl::Status CheckScope(const Manifest& manifest) {
  const SchemaEntry& schema = manifest.schema;
  const bool known = manifest.scope == kScopeFull || manifest.scope == kScopeSchema || manifest.scope == kScopeData;
  const bool whole = schema.file == kSchemaFile + Suffix(manifest) && schema.bytes > 0 &&
                     schema.bytes <= kMaxChunkBytes && IsHex(schema.sha256, kSha256Digits);
  const bool none = schema.file.empty() && schema.bytes == 0 && schema.sha256.empty();
  const bool sane = known && (manifest.scope == kScopeData ? none : whole) &&
                    (manifest.scope != kScopeSchema || (manifest.tables.empty() && manifest.sequences.empty()));
  return sane ? absl::OkStatus() : Malformed("it does not hold what its scope says");
}

absl::Status CheckEncryption(const Manifest& manifest) {
  const EncryptionEntry& encryption = manifest.encryption;
  const bool sane = manifest.format == kPlainFormat ? encryption.recipient.empty() && encryption.sealed_key.empty()
                                                    : IsBase64Of(encryption.recipient, kPublicKeyBytes) &&
                                                          IsBase64Of(encryption.sealed_key, kSealedKeyBytes);
  return sane ? absl::OkStatus() : Malformed("it does not say to whom it is encrypted");
}

absl::Status CheckManifest(const Manifest& manifest) {
  PGC_RETURN_IF_ERROR(CheckEncryption(manifest));
  if (auto folder = BackupFolder("", "", manifest.project_ref, manifest.fence); !folder.ok()) {
    return Malformed(MessageOf(folder.status()));
  }
  PGC_RETURN_IF_ERROR(CheckScope(manifest));
  std::set<std::string> names;
  for (const TableEntry& table : manifest.tables) {
    PGC_RETURN_IF_ERROR(CheckTable(table, Suffix(manifest)));
    if (!names.insert(table.table).second) {
      return Malformed("table " + Printable(table.table) + " occurs twice");
    }
  }
  names.clear();
  for (const SequenceEntry& sequence : manifest.sequences) {
    if (sequence.sequence.empty() || !names.insert(sequence.sequence).second) {
      return Malformed("sequence " + Printable(sequence.sequence) + " occurs twice or has no name");
    }
  }
  return absl::OkStatus();
}

}  // namespace

int64_t Manifest::rows() const {
  int64_t sum = 0;
  for (const TableEntry& table : tables) {
    sum += table.rows;
  }
  return sum;
}

int64_t Manifest::stored_bytes() const {
  int64_t sum = schema.bytes;
  for (const TableEntry& table : tables) {
    for (const ChunkEntry& chunk : table.chunks) {
      sum += chunk.stored_bytes;
    }
  }
  return sum;
}

std::string ToJson(const Manifest& manifest) {
  nlohmann::json json(manifest);
  if (manifest.format == kEncryptedFormat) {
    json["encryption"] = manifest.encryption;
  }
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

absl::StatusOr<Manifest> FromJson(std::string_view json) {
  Manifest manifest;
  try {
    bool has_fraction = false;
    const auto parsed = nlohmann::json::parse(
        json, [&has_fraction](int /*depth*/, nlohmann::json::parse_event_t event, const nlohmann::json& value) {
          has_fraction = has_fraction || (event == nlohmann::json::parse_event_t::value && value.is_number_float());
          return true;
        });
    if (has_fraction) {
      // Whose conversion to a whole number is undefined when it is too large.
      return Malformed("a number in it is no whole number");
    }
    // Before its members are asked for: another format may have others.
    const int format = parsed.at("format").get<int>();
    if (format != kPlainFormat && format != kEncryptedFormat) {
      return Malformed("format " + std::to_string(format) + " is not known to this version");
    }
    manifest = parsed.get<Manifest>();
    if (format == kEncryptedFormat) {
      manifest.encryption = parsed.at("encryption").get<EncryptionEntry>();
    }
  } catch (const nlohmann::json::exception& error) {
    return Malformed(Printable(error.what()));
  }
  // One comparison finds unknown and doubled keys, numbers that were cut and values of a neighbouring type.
  if (ToJson(manifest) != json) {
    return Malformed("it is not in canonical form");
  }
  PGC_RETURN_IF_ERROR(CheckManifest(manifest));
  return manifest;
}

}  // namespace pgconvoy::backup
