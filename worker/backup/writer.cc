#include <unistd.h>

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
#include "worker/backup/file_store.h"
#include "worker/backup/files.h"
#include "worker/backup/layout.h"

namespace pgconvoy::backup {
namespace {

absl::Status Misuse(const std::string& what) { return InputError("PGC-BACKUP-USE", what); }

bool AllUtf8(const std::string& name, const std::vector<std::string>& names) {
  return IsUtf8(name) && std::all_of(names.begin(), names.end(), [](const std::string& n) { return IsUtf8(n); });
}

}  // namespace

struct BackupWriter::State {
  WriterOptions options;
  std::string store_folder;
  std::string project_folder;
  std::string folder;
  Manifest manifest;
  // The first error; nothing is written after it.
  absl::Status failed;
  bool table_open = false;
  bool sealed = false;
  // The open chunk, and what its rows sum up to.
  FileToStore chunk;
  RowDigest chunk_digest;
  RowDigest table_digest;
  // Empty: nothing is encrypted.
  Secret key;
  // Set once the folder is there.
  std::unique_ptr<FileStore> files;

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

  absl::Status StoreFile(FileToStore& file, const std::string& name) {
    file.path = folder + "/" + name;
    file.cipher_name = CipherName(manifest, name);
    return files->Add(file);
  }

  absl::Status CloseChunk() {
    if (chunk.contents.empty()) {
      return absl::OkStatus();
    }
    ChunkEntry entry;
    entry.file = FileName(ChunkFileName(table().table, table().chunks.size() + 1));
    entry.rows = chunk_digest.rows();
    entry.raw_bytes = chunk_digest.bytes();
    entry.digest = chunk_digest.Hex();
    PGC_RETURN_IF_ERROR(StoreFile(chunk, entry.file));
    table_digest.Add(chunk_digest);
    table().chunks.push_back(std::move(entry));
    chunk_digest = RowDigest();
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

  // Waits for the files and completes the manifest with what was stored of them.
  absl::Status FinishFiles() {
    PGC_ASSIGN_OR_RETURN(const std::vector<StoredFile> stored, files->Finish());
    auto next = stored.begin();
    if (!manifest.schema.file.empty()) {
      manifest.schema.bytes = next->bytes;
      manifest.schema.sha256 = next++->sha256;
    }
    for (TableEntry& table : manifest.tables) {
      for (ChunkEntry& entry : table.chunks) {
        entry.stored_bytes = next->bytes;
        entry.sha256 = next++->sha256;
      }
    }
    return absl::OkStatus();
  }

  absl::Status WriteManifest(const std::string& json) {
    const std::string temporary = folder + "/" + kManifestTemporary;
    const std::string final_name = folder + "/" + kManifestFile;
    // The files' names, and the folder's own, must be durable before a manifest that promises them.
    PGC_RETURN_IF_ERROR(SyncFolder(folder));
    PGC_RETURN_IF_ERROR(SyncFolder(project_folder));
    PGC_RETURN_IF_ERROR(SyncFolder(store_folder));
    PGC_RETURN_IF_ERROR(SyncFolder(options.root));
    PGC_RETURN_IF_ERROR(WriteNewFile(temporary, json));
    PGC_FAILPOINT("backup.before_manifest");
    if (rename(temporary.c_str(), final_name.c_str()) != 0) {
      return FileError("rename", temporary, errno);
    }
    PGC_RETURN_IF_ERROR(SyncFolder(folder));
    PGC_FAILPOINT("backup.after_manifest");
    return absl::OkStatus();
  }

  // Makes the folder, empty, and those above it up to the root.
  absl::Status PrepareFolder() {
    PGC_RETURN_IF_ERROR(RequireWritableFolder(options.root));
    PGC_ASSIGN_OR_RETURN(folder, BackupFolder(options.root, manifest.store_id, manifest.project_ref, manifest.fence));
    PGC_ASSIGN_OR_RETURN(const bool exists_sealed, Exists(folder + "/" + kManifestFile));
    if (exists_sealed) {
      return MakeError(Verdict::kPermanent, "PGC-BACKUP-EXISTS", folder + " is sealed already");
    }
    store_folder = StoreFolder(options.root, manifest.store_id);
    project_folder = store_folder + "/" + manifest.project_ref;
    PGC_RETURN_IF_ERROR(RemoveFolder(folder));
    PGC_RETURN_IF_ERROR(MakeFolder(store_folder));
    PGC_RETURN_IF_ERROR(MakeFolder(project_folder));
    return MakeFolder(folder);
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
  PGC_RETURN_IF_ERROR(state->PrepareFolder());
  state->chunk.compress = true;
  state->files = std::make_unique<FileStore>(options.compression_level, static_cast<size_t>(options.chunk_bytes),
                                             state->key.Clone());
  return std::unique_ptr<BackupWriter>(new BackupWriter(std::move(state)));
}

absl::Status BackupWriter::WriteSchema(std::string_view sql) {
  PGC_RETURN_IF_ERROR(state_->Usable());
  SchemaEntry& schema = state_->manifest.schema;
  if (!schema.file.empty() || sql.empty() || !state_->manifest.tables.empty()) {
    return Misuse("there is one schema, it is not empty and it comes first");
  }
  FileToStore file;
  file.contents = sql;
  schema.file = state_->FileName(kSchemaFile);
  return state_->Remember(state_->StoreFile(file, schema.file));
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
  state_->chunk.contents += row;
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
  PGC_RETURN_IF_ERROR(state_->Remember(state_->FinishFiles()));
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
