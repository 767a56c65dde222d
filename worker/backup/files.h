// Durable files of a backup: the one place where errno becomes our errors. Private to worker/backup.
//
// Errors: ENOSPC, EDQUOT and EFBIG are PERMANENT PGC-BACKUP-DISK-FULL, EIO and the like TRANSIENT PGC-BACKUP-IO, what
// only an operator can change (permissions, a read-only or missing root) PERMANENT PGC-BACKUP-DIR.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pgconvoy::backup {

// `what` says what was tried: "write", "fsync", …
absl::Status FileError(std::string_view what, const std::string& path, int error);

// A new file, mode 0600, that is written bit by bit. An existing file is an error. Its folder is not synced.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  absl::Status Open();
  absl::Status Append(std::string_view contents);
  // Lets the system begin to write out what Finish() waits for; a hint, so without an error.
  void StartSync() const;
  // On disk when this returns OK.
  absl::Status Finish();

 private:
  const std::string path_;
  int fd_ = -1;
};

// A NewFile with these contents, on disk.
absl::Status WriteNewFile(const std::string& path, std::string_view contents);

// The whole of a regular file. NotFound when there is none; PGC-BACKUP-CORRUPT when it is no regular file (a link, say)
// or larger than `max_bytes`.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t max_bytes);

absl::Status SyncFolder(const std::string& path);
// Mode 0700; an existing folder is fine.
absl::Status MakeFolder(const std::string& path);
// PGC-BACKUP-DIR unless `path` is a folder in which files can be made.
absl::Status RequireWritableFolder(const std::string& path);
absl::StatusOr<bool> Exists(const std::string& path);
// Removes the folder with everything in it; fine when there is none.
absl::Status RemoveFolder(const std::string& path);

}  // namespace pgconvoy::backup
