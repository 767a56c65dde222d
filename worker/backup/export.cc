#include "worker/backup/export.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cerrno>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/base/text.h"
#include "worker/backup/files.h"
#include "worker/backup/json_row.h"
#include "worker/backup/layout.h"
#include "worker/core/sql.h"

namespace pgconvoy::backup {
namespace {

constexpr size_t kFlushBytes = 1 << 20;

// "2026-01-02T03:04:05.678Z"
absl::StatusOr<int64_t> UnixTime(const std::string& rfc3339) {
  std::tm utc{};
  if (strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%S", &utc) == nullptr) {
    return MakeError(Verdict::kPermanent, "PGC-BACKUP-MANIFEST", "the manifest has no time of its snapshot");
  }
  return static_cast<int64_t>(timegm(&utc));
}

absl::Status ExistsAlready(const std::string& folder) {
  return InputError("PGC-EXPORT-EXISTS", folder + " exists already", "name another --out, or remove that folder");
}

class Exporter {
 public:
  Exporter(const BackupReader& reader, std::string name, const std::string& directory)
      : reader_(reader), name_(std::move(name)), folder_(directory + "/" + name_), partial_(folder_ + ".partial") {}

  absl::StatusOr<Exported> Run(const std::string& directory) {
    PGC_ASSIGN_OR_RETURN(const bool exists, Exists(folder_));
    if (exists) {
      return ExistsAlready(folder_);
    }
    // A new folder is ours alone, so that what is in it was made here.
    if (mkdir(partial_.c_str(), 0700) != 0) {
      return errno == EEXIST ? ExistsAlready(partial_) : FileError("make folder", partial_, errno);
    }
    if (const absl::Status written = WriteAll(directory); !written.ok()) {
      RemoveFolder(partial_).IgnoreError();
      return written;
    }
    return exported_;
  }

 private:
  absl::Status WriteAll(const std::string& directory) {
    for (const TableEntry& table : reader_.manifest().tables) {
      PGC_RETURN_IF_ERROR(WriteTable(table));
    }
    PGC_ASSIGN_OR_RETURN(const std::string schema, reader_.ReadSchema());
    if (!schema.empty()) {
      PGC_RETURN_IF_ERROR(WriteNewFile(partial_ + "/" + kSchemaFile, schema));
      ++exported_.files;
    }
    PGC_RETURN_IF_ERROR(WriteNewFile(partial_ + "/metadata.json", Metadata()));
    ++exported_.files;
    PGC_RETURN_IF_ERROR(SyncFolder(partial_));
    PGC_FAILPOINT("backup.export.before_rename");
    if (renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, folder_.c_str(), RENAME_NOREPLACE) != 0) {
      return errno == EEXIST ? ExistsAlready(folder_) : FileError("rename", partial_, errno);
    }
    exported_.folder = folder_;
    return SyncFolder(directory);
  }

  // a."b_c" and "a_b".c are two tables with one name.
  std::string FileName(const TableEntry& table) {
    const worker::TableName name = worker::SplitTable(table.table);
    const std::string base = EncodeName(name.schema + "_" + name.table);
    std::string file = base + ".json";
    for (int n = 2; !names_.insert(file).second; ++n) {
      file = base + "-" + std::to_string(n) + ".json";
    }
    return file;
  }

  absl::Status WriteTable(const TableEntry& table) {
    NewFile file(partial_ + "/" + FileName(table));
    PGC_RETURN_IF_ERROR(file.Open());
    std::string text = "[";
    for (const ChunkEntry& chunk : table.chunks) {
      PGC_ASSIGN_OR_RETURN(const std::string rows, reader_.ReadChunk(chunk));
      if (const absl::Status written = WriteRows(table, rows, file, text); !written.ok()) {
        return Annotate(written, table.table);
      }
    }
    PGC_RETURN_IF_ERROR(file.Append(text + "\n]\n"));
    ++exported_.files;
    exported_.rows += table.rows;
    return file.Finish();
  }

  // `text` is what has not been written yet; it begins with the bracket of the array.
  static absl::Status WriteRows(const TableEntry& table, std::string_view rows, NewFile& file, std::string& text) {
    while (!rows.empty()) {
      const size_t end = rows.find('\n') + 1;
      text += text == "[" ? "\n" : ",\n";
      PGC_RETURN_IF_ERROR(AppendJsonRow(table.columns, table.types, rows.substr(0, end), text));
      rows.remove_prefix(end);
      if (text.size() >= kFlushBytes) {
        PGC_RETURN_IF_ERROR(file.Append(text));
        text.clear();
      }
    }
    return absl::OkStatus();
  }

  std::string Metadata() const {
    const Manifest& manifest = reader_.manifest();
    nlohmann::ordered_json metadata;
    metadata["backupId"] = name_;
    metadata["projectRef"] = manifest.project_ref;
    metadata["databaseName"] = manifest.source.substr(manifest.source.find('/') + 1);
    metadata["timestamp"] = manifest.snapshot_time;
    metadata["backupPath"] = folder_;
    metadata["tables"] = nlohmann::ordered_json::array();
    metadata["rowCounts"] = nlohmann::ordered_json::object();
    for (const TableEntry& table : manifest.tables) {
      metadata["tables"].push_back(table.table);
      metadata["rowCounts"][table.table] = table.rows;
    }
    return metadata.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

  const BackupReader& reader_;
  const std::string name_;
  const std::string folder_;
  const std::string partial_;
  std::set<std::string> names_;
  Exported exported_;
};

}  // namespace

absl::StatusOr<Exported> ExportJson(const BackupReader& reader, const std::string& directory) {
  if (!directory.starts_with('/')) {
    return InputError("PGC-EXPORT-DIR", "\"" + Printable(directory) + "\" is not an absolute path");
  }
  PGC_RETURN_IF_ERROR(RequireWritableFolder(directory));
  PGC_ASSIGN_OR_RETURN(const int64_t time, UnixTime(reader.manifest().snapshot_time));
  return Exporter(reader, "backup_" + reader.manifest().project_ref + "_" + std::to_string(time), directory)
      .Run(directory);
}

}  // namespace pgconvoy::backup
