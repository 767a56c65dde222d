#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "common/crypto/file_cipher.h"
#include "worker/backup/backup.h"
#include "worker/backup/files.h"
#include "worker/backup/layout.h"

namespace pgconvoy::backup {
namespace {

absl::Status Misuse(const std::string& what) { return InputError("PGC-BACKUP-USE", what); }

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

bool AllUtf8(const std::string& name, const std::vector<std::string>& names) {
  return IsUtf8(name) && std::all_of(names.begin(), names.end(), [](const std::string& n) { return IsUtf8(n); });
}

}  // namespace

struct BackupWriter::State {
  WriterOptions options;
  std::string folder;
  Manifest manifest;
  // The first error; nothing is written after it.
  absl::Status failed;
  bool table_open = false;
  bool sealed = false;
  std::unique_ptr<ZSTD_CCtx, FreeContext> context;
  // Rows of the open chunk, and what they sum up to.
  std::string raw;
  RowDigest chunk_digest;
  RowDigest table_digest;
  std::string compressed;
  // Empty: nothing is encrypted.
  Secret key;

  TableEntry& table() { return manifest.tables.back(); }

  absl::Status Usable() const { return sealed ? Misuse("the backup is sealed") : failed; }

  absl::Status Remember(absl::Status status) {
    failed.Update(status);
    return status;
  }

  absl::Status MakeKey() {
    if (options.encrypt_to.empty()) {
      return absl::OkStatus();
    }
    key = NewFileKey();
    PGC_ASSIGN_OR_RETURN(const std::string box, SealTo(options.encrypt_to, key));
    manifest.encryption = {options.encrypt_to, Base64Encode(box)};
    manifest.format = kEncryptedFormat;
    return absl::OkStatus();
  }

  std::string FileName(const std::string& plain) const { return key.empty() ? plain : plain + kEncryptedSuffix; }

  // What is stored of `text` under this name.
  absl::StatusOr<std::string> Stored(const std::string& file, std::string text) const {
    return key.empty() ? std::move(text) : EncryptFile(key, CipherName(manifest, file), text);
  }

  absl::Status Compress() {
    compressed.resize(ZSTD_compressBound(raw.size()));
    const size_t size = ZSTD_compress2(context.get(), compressed.data(), compressed.size(), raw.data(), raw.size());
    if (ZSTD_isError(size) != 0) {
      return MakeError(Verdict::kTransient, "PGC-BACKUP-ZSTD", ZSTD_getErrorName(size));
    }
    compressed.resize(size);
    return absl::OkStatus();
  }

  absl::Status CloseChunk() {
    if (raw.empty()) {
      return absl::OkStatus();
    }
    PGC_RETURN_IF_ERROR(Compress());
    ChunkEntry chunk;
    chunk.file = FileName(ChunkFileName(table().table, table().chunks.size() + 1));
    PGC_ASSIGN_OR_RETURN(compressed, Stored(chunk.file, std::move(compressed)));
    chunk.rows = chunk_digest.rows();
    chunk.raw_bytes = chunk_digest.bytes();
    chunk.stored_bytes = static_cast<int64_t>(compressed.size());
    chunk.sha256 = Sha256Hex(compressed);
    chunk.digest = chunk_digest.Hex();
    PGC_RETURN_IF_ERROR(WriteNewFile(folder + "/" + chunk.file, compressed));
    PGC_FAILPOINT("backup.chunk_written");
    table_digest.Add(chunk_digest);
    table().chunks.push_back(std::move(chunk));
    chunk_digest = RowDigest();
    raw.clear();
    return absl::OkStatus();
  }

  absl::Status FinishTable() {
    PGC_RETURN_IF_ERROR(CloseChunk());
    table().rows = table_digest.rows();
    table().bytes = table_digest.bytes();
    table().digest = table_digest.Hex();
    table_open = false;
    return absl::OkStatus();
  }

  absl::Status WriteManifest(const std::string& json) {
    const std::string temporary = folder + "/" + kManifestTemporary;
    const std::string final_name = folder + "/" + kManifestFile;
    // The chunks' names must be durable before a manifest that promises them.
    PGC_RETURN_IF_ERROR(SyncFolder(folder));
    PGC_RETURN_IF_ERROR(WriteNewFile(temporary, json));
    PGC_FAILPOINT("backup.before_manifest");
    if (rename(temporary.c_str(), final_name.c_str()) != 0) {
      return FileError("rename", temporary, errno);
    }
    PGC_RETURN_IF_ERROR(SyncFolder(folder));
    PGC_FAILPOINT("backup.after_manifest");
    return absl::OkStatus();
  }

  // Makes the folder durable up to the root, empty.
  absl::Status PrepareFolder() {
    PGC_RETURN_IF_ERROR(RequireWritableFolder(options.root));
    PGC_ASSIGN_OR_RETURN(folder, BackupFolder(options.root, manifest.store_id, manifest.project_ref, manifest.fence));
    PGC_ASSIGN_OR_RETURN(const bool exists_sealed, Exists(folder + "/" + kManifestFile));
    if (exists_sealed) {
      return MakeError(Verdict::kPermanent, "PGC-BACKUP-EXISTS", folder + " is sealed already");
    }
    const std::string store_folder = StoreFolder(options.root, manifest.store_id);
    const std::string project_folder = store_folder + "/" + manifest.project_ref;
    PGC_RETURN_IF_ERROR(RemoveFolder(folder));
    PGC_RETURN_IF_ERROR(MakeFolder(store_folder));
    PGC_RETURN_IF_ERROR(MakeFolder(project_folder));
    PGC_RETURN_IF_ERROR(MakeFolder(folder));
    PGC_RETURN_IF_ERROR(SyncFolder(project_folder));
    PGC_RETURN_IF_ERROR(SyncFolder(store_folder));
    return SyncFolder(options.root);
  }
};

BackupWriter::BackupWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}

BackupWriter::~BackupWriter() = default;

absl::StatusOr<std::unique_ptr<BackupWriter>> BackupWriter::Create(const WriterOptions& options, Manifest header) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->manifest = std::move(header);
  state->manifest.tables.clear();
  state->manifest.schema = {};
  state->manifest.encryption = {};
  state->manifest.format = kPlainFormat;
  PGC_RETURN_IF_ERROR(state->MakeKey());
  state->context.reset(ZSTD_createCCtx());
  if (state->context == nullptr) {
    return MakeError(Verdict::kTransient, "PGC-BACKUP-ZSTD", "no memory for compression");
  }
  ZSTD_CCtx_setParameter(state->context.get(), ZSTD_c_compressionLevel, options.compression_level);
  ZSTD_CCtx_setParameter(state->context.get(), ZSTD_c_checksumFlag, 1);
  PGC_RETURN_IF_ERROR(state->PrepareFolder());
  return std::unique_ptr<BackupWriter>(new BackupWriter(std::move(state)));
}

absl::Status BackupWriter::WriteSchema(std::string_view sql) {
  PGC_RETURN_IF_ERROR(state_->Usable());
  SchemaEntry& schema = state_->manifest.schema;
  if (!schema.file.empty() || sql.empty()) {
    return Misuse("there is one schema and it is not empty");
  }
  const std::string file = state_->FileName(kSchemaFile);
  PGC_ASSIGN_OR_RETURN(const std::string stored, state_->Stored(file, std::string(sql)));
  PGC_RETURN_IF_ERROR(state_->Remember(WriteNewFile(state_->folder + "/" + file, stored)));
  schema = {file, static_cast<int64_t>(stored.size()), Sha256Hex(stored)};
  return absl::OkStatus();
}

absl::Status BackupWriter::BeginTable(const std::string& table,
                                      const std::vector<std::string>& columns,
                                      const std::vector<std::string>& types) {
  PGC_RETURN_IF_ERROR(state_->Usable());
  if (state_->table_open || table.empty() || types.size() != columns.size() || !AllUtf8(table, columns) ||
      !AllUtf8(table, types)) {
    return Misuse("table " + Printable(table) + " cannot begin");
  }
  TableEntry entry;
  entry.table = table;
  entry.columns = columns;
  entry.types = types;
  state_->manifest.tables.push_back(std::move(entry));
  state_->table_digest = RowDigest();
  state_->table_open = true;
  return absl::OkStatus();
}

absl::Status BackupWriter::AddRow(std::string_view row) {
  PGC_RETURN_IF_ERROR(state_->Usable());
  if (!state_->table_open || row.empty() || row.find('\n') != row.size() - 1) {
    return Misuse("a row is one line of an open table");
  }
  state_->raw += row;
  state_->chunk_digest.Add(row);
  if (state_->chunk_digest.bytes() < state_->options.chunk_bytes) {
    return absl::OkStatus();
  }
  return state_->Remember(state_->CloseChunk());
}

absl::Status BackupWriter::EndTable() {
  PGC_RETURN_IF_ERROR(state_->Usable());
  return state_->table_open ? state_->Remember(state_->FinishTable()) : Misuse("no table is open");
}

void BackupWriter::SetSequences(std::vector<SequenceEntry> sequences) {
  state_->manifest.sequences = std::move(sequences);
}

absl::StatusOr<std::string> BackupWriter::Seal() {
  PGC_RETURN_IF_ERROR(state_->Usable());
  if (state_->table_open) {
    return Misuse("a table is still open");
  }
  const std::string json = ToJson(state_->manifest);
  // What this version would refuse to read is not sealed.
  PGC_RETURN_IF_ERROR(state_->Remember(FromJson(json).status()));
  PGC_RETURN_IF_ERROR(state_->Remember(state_->WriteManifest(json)));
  state_->sealed = true;
  return Sha256Hex(json);
}

const Manifest& BackupWriter::manifest() const { return state_->manifest; }

Secret BackupWriter::data_key() const { return state_->key.Clone(); }

}  // namespace pgconvoy::backup
