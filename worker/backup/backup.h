// Backups: a folder per project and fence with one zstd file per chunk of COPY text, and a manifest that is written
// last. A folder without a manifest does not exist as a backup.
//
// Layout:  <root>/store-<store id>/<ref>/<fence>/<table>.<chunk>.copy.zst     "auth.users.00001.copy.zst"
//          <root>/store-<store id>/<ref>/<fence>/schema.sql
//          <root>/store-<store id>/<ref>/<fence>/manifest.json
//          <root>/store-<store id>/<ref>/doomed-<fence>    one that is being removed
// So stores may share a directory.
// Table names in file names: every byte outside [A-Za-z0-9_.-] is written as %XX; at most 200 bytes, else a hash.
// Folders are 0700, files 0600. Every file is written, fsynced, then the manifest is written under a temporary name,
// fsynced, renamed, and the folder fsynced. A write or fsync error ends the backup; it is never retried in place.
//
// Encryption, where it is asked for: a random key for each, in its manifest, sealed to the operator's public key;
// chunks (after their compression) and schema.sql are encrypted under it (common/crypto/file_cipher.h) and end in
// ".enc". Store, project, fence and file name are bound to each, so that no file passes for another. The manifest stays
// readable: names and types of tables and columns, numbers of rows and bytes, digests, values of sequences.
//
// Manifest: JSON with format version, store id, project ref, fence, migration id, plan hash, source server version,
// snapshot time, scope, the file of the definitions, per table (name, columns in order with their types, rows, bytes,
// digest, chunks: file, rows, raw bytes, stored bytes, SHA-256 of the stored bytes, row digest) and sequences. Its own
// SHA-256 goes into the store.
//
// Memory of a writer: its open chunk and, once one was full, three more.
//
// Thread safety: one thread per writer; several may read from one reader once it is unlocked.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/crypto.h"
#include "worker/copy/digest.h"

namespace pgconvoy::backup {

struct ChunkEntry {
  std::string file;
  int64_t rows = 0;
  int64_t raw_bytes = 0;
  int64_t stored_bytes = 0;
  std::string sha256;
  // Row digest, 32 hex digits.
  std::string digest;
};

struct TableEntry {
  // schema.table
  std::string table;
  std::vector<std::string> columns;
  // Of each column the type under its domains, as format_type names it: "integer", "jsonb", "text[]".
  std::vector<std::string> types;
  int64_t rows = 0;
  int64_t bytes = 0;
  std::string digest;
  std::vector<ChunkEntry> chunks;
};

struct SequenceEntry {
  std::string sequence;
  int64_t last_value = 0;
  bool is_called = false;
};

// The definitions as SQL. No file: the backup has none.
struct SchemaEntry {
  std::string file;
  // As stored, and so is the digest.
  int64_t bytes = 0;
  std::string sha256;
};

// No recipient: the backup is not encrypted.
struct EncryptionEntry {
  // Public key, base64.
  std::string recipient;
  // The backup's key as crypto_box_seal makes it, base64.
  std::string sealed_key;
};

// What a backup holds.
inline constexpr char kScopeFull[] = "FULL";
inline constexpr char kScopeSchema[] = "SCHEMA";
inline constexpr char kScopeData[] = "DATA";

inline constexpr int kPlainFormat = 2;
// A version that knows nothing of encryption must refuse it.
inline constexpr int kEncryptedFormat = 3;

struct Manifest {
  int format = kPlainFormat;
  std::string store_id;
  std::string project_ref;
  int64_t fence = 0;
  std::string migration_id;
  std::string plan_hash;
  std::string source;
  int server_version = 0;
  // RFC 3339 UTC, with milliseconds.
  std::string snapshot_time;
  std::string scope = kScopeFull;
  SchemaEntry schema;
  std::vector<TableEntry> tables;
  std::vector<SequenceEntry> sequences;
  EncryptionEntry encryption;

  bool encrypted() const { return !encryption.recipient.empty(); }
  int64_t rows() const;
  int64_t stored_bytes() const;
};

// Canonical JSON text and back. PGC-BACKUP-MANIFEST for anything malformed, unknown or inconsistent (another text than
// ToJson would write, sums of chunks that do not make the table's figures, a file name that is not the one of its
// table and place, a duplicate table).
std::string ToJson(const Manifest& manifest);
absl::StatusOr<Manifest> FromJson(std::string_view json);

// "<ref>/<fence>"
std::string BackupId(std::string_view ref, int64_t fence);
struct BackupName {
  std::string ref;
  int64_t fence = 0;
};
// The parts of a BackupId; PGC-BACKUP-ID for anything else.
absl::StatusOr<BackupName> ParseBackupId(std::string_view id);

struct WriterOptions {
  std::string root;
  int compression_level = 1;
  int64_t chunk_bytes = 8 << 20;
  // Public key, base64; empty: no encryption.
  std::string encrypt_to = {};
};

class BackupWriter {
 public:
  // Creates the folder. An unfinished one of the same fence is emptied first; a sealed one is PGC-BACKUP-EXISTS.
  // `header` carries everything but tables, sequences and encryption. PGC-KEY-BAD for a public key that is none,
  // PGC-BACKUP-ID for a ref or fence that names no backup,
  // PGC-BACKUP-DIR when the root is missing, not a folder or not writable; ENOSPC is PERMANENT PGC-BACKUP-DISK-FULL,
  // other errors of the storage TRANSIENT PGC-BACKUP-IO. A file's error may come with a later call,
  // at the latest with Seal(); after one, every call returns it again.
  static absl::StatusOr<std::unique_ptr<BackupWriter>> Create(const WriterOptions& options, Manifest header);
  ~BackupWriter();

  // schema.sql; at most once, before all tables.
  absl::Status WriteSchema(std::string_view sql);
  // As many types as columns.
  absl::Status BeginTable(const std::string& table,
                          const std::vector<std::string>& columns,
                          const std::vector<std::string>& types);
  // One COPY text row with its newline. Closes a chunk whenever it is full. PGC-BACKUP-USE for anything else.
  absl::Status AddRow(std::string_view row);
  absl::Status EndTable();
  void SetSequences(std::vector<SequenceEntry> sequences);

  // Writes the manifest; returns its SHA-256 in hex. Nothing can be added after it.
  absl::StatusOr<std::string> Seal();
  // Valid after Seal().
  const Manifest& manifest() const;
  // Opens what this writes, see BackupReader::UseKey; empty where nothing is encrypted.
  Secret data_key() const;

 private:
  struct State;
  explicit BackupWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class BackupReader {
 public:
  // Reads the manifest and compares its SHA-256 with `manifest_digest` (from the store), its store id, ref and fence
  // with the arguments. PGC-BACKUP-MISSING, PGC-BACKUP-CORRUPT (PERMANENT).
  static absl::StatusOr<std::unique_ptr<BackupReader>> Open(const std::string& root,
                                                            const std::string& store_id,
                                                            const std::string& ref,
                                                            int64_t fence,
                                                            const std::string& manifest_digest);
  const Manifest& manifest() const { return manifest_; }

  // Before anybody reads: what an encrypted one holds is PGC-BACKUP-LOCKED until its key is known. PGC-KEY-BAD,
  // PGC-KEY-WRONG when the backup is sealed to another key.
  absl::Status Unlock(const Secret& private_key);
  // The key that its writer had.
  void UseKey(Secret data_key) { key_ = std::move(data_key); }

  // The COPY text of one chunk, decompressed whole (bounded by chunk_bytes plus one row). Checks SHA-256, sizes, row
  // count and row digest before it returns a byte: PGC-BACKUP-CORRUPT names the file.
  absl::StatusOr<std::string> ReadChunk(const ChunkEntry& chunk) const;

  // schema.sql, checked in the same way; "" when the backup has none.
  absl::StatusOr<std::string> ReadSchema() const;

  // Reads every file; the first damaged one is the error.
  absl::Status VerifyAll() const;

  // The same, but looks at no more than the SHA-256 of what is stored: that alone says whether a file is the one that
  // was sealed. `between` is asked before every chunk and ends it with its error. Costs one read of the stored bytes.
  absl::Status CheckStored(const std::function<absl::Status()>& between) const;

 private:
  BackupReader(std::string folder, Manifest manifest);
  absl::StatusOr<std::string> ReadStored(const std::string& file, int64_t bytes, const std::string& sha256) const;
  // What `stored` is without its encryption.
  absl::StatusOr<std::string> Decrypted(const std::string& file, std::string stored) const;
  std::string folder_;
  Manifest manifest_;
  Secret key_;
};

// Removes what an unsealed backup left (a folder without manifest). A sealed backup is kept and OK is returned.
absl::Status RemoveUnsealed(const std::string& root,
                            const std::string& store_id,
                            const std::string& ref,
                            int64_t fence);

// Removes a sealed backup: gives its folder a name that marks it as doomed, makes that durable, then deletes. Finishes
// what a removal before it left. OK when there is nothing.
absl::Status RemoveSealed(const std::string& root,
                          const std::string& store_id,
                          const std::string& ref,
                          int64_t fence);

struct FoundFolder {
  std::string ref;
  int64_t fence = 0;
  bool has_manifest = false;
  bool doomed = false;
};
// What the store has below `root`, sorted. What has no name of ours is passed over.
absl::StatusOr<std::vector<FoundFolder>> ListFolders(const std::string& root, const std::string& store_id);

}  // namespace pgconvoy::backup
