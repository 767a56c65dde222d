// Where the contents of a backup's files go: compressed, encrypted where the backup is, hashed, written, synced.
// Private to worker/backup.
//
// Until the first large file all of that happens in the calling thread: most projects have none, and a thread would
// cost them more than it saves. From then on a thread of its own does it, while the caller reads on. Files are synced
// later than they are written, several together, so that the file system commits them together.
//
// Thread safety: one thread calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/mutex.h"
#include "common/crypto/crypto.h"
#include "worker/backup/files.h"

struct ZSTD_CCtx_s;

namespace pgconvoy::backup {

struct FileToStore {
  std::string path;
  // What encryption binds to the file, see CipherName().
  std::string cipher_name;
  bool compress = false;
  std::string contents;
};

struct StoredFile {
  int64_t bytes = 0;
  // Hex.
  std::string sha256;
};

class FileStore {
 public:
  // `key`: empty where nothing is encrypted. `large_bytes`: contents of so many bytes are large.
  FileStore(int compression_level, size_t large_bytes, Secret key);
  // Whatever Finish() has not returned may be there, in part, or not.
  ~FileStore();

  // Waits while two large files wait; then `file.contents` is empty. Errors are those of files.h and of EncryptFile,
  // and TRANSIENT PGC-BACKUP-ZSTD; it may be that of an earlier file, and every call after an error returns it again.
  absl::Status Add(FileToStore& file);

  // What was added, in this order, all of it on disk.
  absl::StatusOr<std::vector<StoredFile>> Finish();

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx_s* context) const;
  };

  absl::Status Store(const FileToStore& file);
  absl::StatusOr<std::string> Compressed(const std::string& contents);
  // Syncs the oldest until so many are left.
  absl::Status SyncAllBut(size_t files);
  absl::Status Enqueue(FileToStore& file);
  void WorkOff();
  void EndThread();

  const int compression_level_;
  const size_t large_bytes_;
  const Secret key_;

  // Of the thread, while there is one.
  std::unique_ptr<ZSTD_CCtx_s, FreeContext> context_;
  std::deque<NewFile> unsynced_;
  std::vector<StoredFile> stored_;
  absl::Status failed_;

  std::thread thread_;
  Mutex mutex_;
  Condition changed_;
  std::deque<FileToStore> waiting_ ABSL_GUARDED_BY(mutex_);
  // The memory of contents that are stored, for those that are read next.
  std::string spare_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  // The thread's.
  absl::Status thread_failed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pgconvoy::backup
