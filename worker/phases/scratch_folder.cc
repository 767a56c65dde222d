#include "worker/phases/scratch_folder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "pgconvoy-dump-";
// Another worker may take a folder for abandoned before its maker has locked it.
constexpr int kTries = 10;

// The lock of a folder of this user; -1 when somebody else holds it or there is no such folder.
int Lock(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat found {};
  if (fd >= 0 && ::fstat(fd, &found) == 0 && found.st_uid == ::geteuid() && ::flock(fd, LOCK_EX | LOCK_NB) == 0) {
    return fd;
  }
  if (fd >= 0) {
    ::close(fd);
  }
  return -1;
}

void RemoveAbandoned(const fs::path& parent) {
  std::error_code ignored;
  std::error_code error;
  // A range-for would throw when the folder cannot be read on.
  for (fs::directory_iterator entry(parent, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const fs::path path = entry->path();
    const int lock = path.filename().string().starts_with(kPrefix) ? Lock(path) : -1;
    if (lock >= 0) {
      fs::remove_all(path, ignored);
      ::close(lock);
    }
  }
}

}  // namespace

absl::StatusOr<ScratchFolder> ScratchFolder::Create() {
  std::error_code error;
  const fs::path parent = fs::temp_directory_path(error);
  if (error) {
    return MakeError(Verdict::kTransient, "PGC-WORKER-TMP", "temporary folder: " + error.message());
  }
  RemoveAbandoned(parent);
  for (int i = 0; i < kTries; ++i) {
    std::string path = (parent / (std::string(kPrefix) + "XXXXXX")).string();
    if (::mkdtemp(path.data()) == nullptr) {
      break;
    }
    const int lock = Lock(path);
    if (lock >= 0 && fs::exists(path, error)) {
      return ScratchFolder(path, lock);
    }
    if (lock >= 0) {
      ::close(lock);
    }
  }
  return MakeError(Verdict::kTransient, "PGC-WORKER-TMP", std::string("temporary folder: ") + strerror(errno));
}

ScratchFolder::ScratchFolder(ScratchFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

ScratchFolder::~ScratchFolder() {
  if (lock_ >= 0) {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    ::close(lock_);
  }
}

}  // namespace pgconvoy::worker
