#include "worker/backup/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/base/error.h"

namespace pgconvoy::backup {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::Status WriteAll(int fd, const std::string& path, std::string_view contents) {
  while (!contents.empty()) {
    const ssize_t written = write(fd, contents.data(), contents.size());
    if (written < 0 && errno != EINTR) {
      return FileError("write", path, errno);
    }
    contents.remove_prefix(written > 0 ? static_cast<size_t>(written) : 0);
  }
  return absl::OkStatus();
}

absl::Status Corrupt(const std::string& path, std::string_view why) {
  return MakeError(Verdict::kPermanent, "PGC-BACKUP-CORRUPT", path + " " + std::string(why),
                   "this backup must not be used");
}

}  // namespace

absl::Status FileError(std::string_view what, const std::string& path, int error) {
  const std::string message = std::string(what) + " " + path + ": " + std::strerror(error);
  switch (error) {
    // Not tried again: the project's writes would stay stopped for as long as nobody makes room.
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return MakeError(Verdict::kPermanent, "PGC-BACKUP-DISK-FULL", message,
                       "make room in the backup directory, or raise the limit, then retry the project");
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case EEXIST:
      return MakeError(Verdict::kPermanent, "PGC-BACKUP-DIR", message, "check backup.directory of the plan");
    default: return MakeError(Verdict::kTransient, "PGC-BACKUP-IO", message, "check the backup storage");
  }
}

NewFile::~NewFile() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

absl::Status NewFile::Open() {
  fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  return fd_ < 0 ? FileError("create", path_, errno) : absl::OkStatus();
}

absl::Status NewFile::Append(std::string_view contents) { return WriteAll(fd_, path_, contents); }

void NewFile::StartSync() const { (void)sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE); }

absl::Status NewFile::Finish() {
  if (fsync(fd_) != 0) {
    return FileError("fsync", path_, errno);
  }
  return close(std::exchange(fd_, -1)) == 0 ? absl::OkStatus() : FileError("close", path_, errno);
}

absl::Status WriteNewFile(const std::string& path, std::string_view contents) {
  NewFile file(path);
  PGC_RETURN_IF_ERROR(file.Open());
  PGC_RETURN_IF_ERROR(file.Append(contents));
  return file.Finish();
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t max_bytes) {
  // Without O_NONBLOCK a FIFO under this name would hang the worker.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ELOOP) {
      return Corrupt(path, "is a link");
    }
    return errno == ENOENT ? absl::NotFoundError(path) : FileError("open", path, errno);
  }
  struct stat entry = {};
  if (fstat(file.get(), &entry) != 0) {
    return FileError("stat", path, errno);
  }
  if (!S_ISREG(entry.st_mode) || entry.st_size > max_bytes) {
    return Corrupt(path, "is no regular file of the expected size");
  }
  std::string contents(static_cast<size_t>(entry.st_size), '\0');
  for (size_t at = 0; at < contents.size();) {
    const ssize_t n = read(file.get(), contents.data() + at, contents.size() - at);
    if (n < 0 && errno != EINTR) {
      return FileError("read", path, errno);
    }
    if (n == 0) {
      return Corrupt(path, "became shorter while it was read");
    }
    at += n > 0 ? static_cast<size_t>(n) : 0;
  }
  return contents;
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) {
    return FileError("open", path, errno);
  }
  return fsync(folder.get()) == 0 ? absl::OkStatus() : FileError("fsync", path, errno);
}

absl::Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return FileError("make folder", path, errno);
  }
  return absl::OkStatus();
}

absl::Status RequireWritableFolder(const std::string& path) {
  struct stat entry = {};
  if (stat(path.c_str(), &entry) != 0) {
    return FileError("use folder", path, errno);
  }
  if (!S_ISDIR(entry.st_mode)) {
    return FileError("use folder", path, ENOTDIR);
  }
  return access(path.c_str(), W_OK | X_OK) == 0 ? absl::OkStatus() : FileError("use folder", path, errno);
}

absl::StatusOr<bool> Exists(const std::string& path) {
  struct stat entry = {};
  if (lstat(path.c_str(), &entry) == 0) {
    return true;
  }
  if (errno == ENOENT) {
    return false;
  }
  return FileError("stat", path, errno);
}

absl::Status RemoveFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error ? FileError("remove", path, error.value()) : absl::OkStatus();
}

}  // namespace pgconvoy::backup
