#include "cli/commands/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "common/base/error.h"

namespace pgconvoy::cli {
namespace {

absl::Status CannotWrite(const std::string& path, int error) {
  if (error == EEXIST) {
    return MakeError(Verdict::kPermanent, "PGC-KEY-EXISTS", path + " exists already",
                     "a key that is overwritten is lost for ever; choose another name");
  }
  return absl::InternalError("cannot write " + path + ": " + std::strerror(error));
}

}  // namespace

absl::Status WriteNewFile(const std::string& path, const std::string& content, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (fd < 0) {
    return CannotWrite(path, errno);
  }
  const bool written =
      write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()) && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  if (!written) {
    unlink(path.c_str());
    return CannotWrite(path, error);
  }
  return absl::OkStatus();
}

absl::Status ReplaceFile(const std::string& path, const std::string& content, mode_t mode) {
  const std::string temporary = path + ".new";
  unlink(temporary.c_str());
  PGC_RETURN_IF_ERROR(WriteNewFile(temporary, content, mode));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return CannotWrite(path, error);
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::cli
