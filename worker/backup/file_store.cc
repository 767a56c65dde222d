#include "worker/backup/file_store.h"

#include <zstd.h>

#include <utility>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/crypto/file_cipher.h"

namespace pgconvoy::backup {
namespace {

// Each takes as much memory as its contents.
constexpr size_t kMostWaiting = 2;
// Each is an open file.
constexpr size_t kMostUnsynced = 16;

absl::Status CompressionError(const char* why) { return MakeError(Verdict::kTransient, "PGC-BACKUP-ZSTD", why); }

}  // namespace

void FileStore::FreeContext::operator()(ZSTD_CCtx_s* context) const { ZSTD_freeCCtx(context); }

FileStore::FileStore(int compression_level, size_t large_bytes, Secret key)
    : compression_level_(compression_level), large_bytes_(large_bytes), key_(std::move(key)) {}

FileStore::~FileStore() { EndThread(); }

absl::Status FileStore::Add(FileToStore& file) {
  if (!thread_.joinable() && file.contents.size() >= large_bytes_) {
    thread_ = std::thread([this] { WorkOff(); });
  }
  if (thread_.joinable()) {
    return Enqueue(file);
  }
  if (failed_.ok()) {
    failed_ = Store(file);
  }
  file.contents.clear();
  return failed_;
}

absl::StatusOr<std::vector<StoredFile>> FileStore::Finish() {
  EndThread();
  if (failed_.ok()) {
    failed_ = SyncAllBut(0);
  }
  PGC_RETURN_IF_ERROR(failed_);
  return stored_;
}

absl::Status FileStore::Enqueue(FileToStore& file) {
  MutexLock lock(mutex_);
  changed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return waiting_.size() < kMostWaiting || !thread_failed_.ok();
  });
  PGC_RETURN_IF_ERROR(thread_failed_);
  waiting_.push_back(std::move(file));
  file.contents = std::exchange(spare_, {});
  changed_.NotifyAll();
  return absl::OkStatus();
}

void FileStore::WorkOff() {
  MutexLock lock(mutex_);
  for (;;) {
    changed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) {
      return;
    }
    FileToStore file = std::move(waiting_.front());
    waiting_.pop_front();
    changed_.NotifyAll();
    lock.Unlock();
    const absl::Status stored = Store(file);
    file.contents.clear();
    lock.Lock();
    spare_ = std::move(file.contents);
    if (!stored.ok()) {
      thread_failed_ = stored;
      changed_.NotifyAll();
      return;
    }
  }
}

void FileStore::EndThread() {
  if (!thread_.joinable()) {
    return;
  }
  {
    const MutexLock lock(mutex_);
    ending_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
  const MutexLock lock(mutex_);
  failed_.Update(thread_failed_);
}

absl::Status FileStore::Store(const FileToStore& file) {
  std::string contents;
  if (file.compress) {
    PGC_ASSIGN_OR_RETURN(contents, Compressed(file.contents));
  } else {
    contents = file.contents;
  }
  if (!key_.empty()) {
    PGC_ASSIGN_OR_RETURN(contents, EncryptFile(key_, file.cipher_name, contents));
  }
  PGC_RETURN_IF_ERROR(SyncAllBut(kMostUnsynced - 1));
  NewFile& written = unsynced_.emplace_back(file.path);
  PGC_RETURN_IF_ERROR(written.Open());
  PGC_RETURN_IF_ERROR(written.Append(contents));
  written.StartSync();
  PGC_FAILPOINT("backup.file_written");
  stored_.push_back({static_cast<int64_t>(contents.size()), Sha256Hex(contents)});
  return absl::OkStatus();
}

absl::StatusOr<std::string> FileStore::Compressed(const std::string& contents) {
  if (context_ == nullptr) {
    context_.reset(ZSTD_createCCtx());
    if (context_ == nullptr) {
      return CompressionError("no memory for compression");
    }
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, compression_level_);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }
  std::string compressed(ZSTD_compressBound(contents.size()), '\0');
  const size_t size =
      ZSTD_compress2(context_.get(), compressed.data(), compressed.size(), contents.data(), contents.size());
  if (ZSTD_isError(size) != 0) {
    return CompressionError(ZSTD_getErrorName(size));
  }
  compressed.resize(size);
  return compressed;
}

absl::Status FileStore::SyncAllBut(size_t files) {
  while (unsynced_.size() > files) {
    PGC_RETURN_IF_ERROR(unsynced_.front().Finish());
    unsynced_.pop_front();
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::backup
