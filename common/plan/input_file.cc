#include "common/plan/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "absl/status/status.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::plan {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status ErrnoStatus(int error) {
  if (error == ENOENT || error == ENOTDIR) {
    return absl::NotFoundError("there is no such file");
  }
  return absl::InvalidArgumentError("cannot be read: " + std::generic_category().message(error));
}

absl::StatusOr<struct stat> StatRegular(const Fd& fd) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    return ErrnoStatus(errno);
  }
  if (S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError("is a directory");
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError("is a pipe, socket or device, not a regular file");
  }
  return info;
}

// Reads straight into the result: a file may hold a secret, and a buffer would be one more copy of it.
absl::StatusOr<std::string> ReadAll(const Fd& fd, size_t size) {
  std::string content(size, '\0');
  size_t filled = 0;
  while (filled < size) {
    const ssize_t got = ::read(fd.get(), content.data() + filled, size - filled);
    if (got < 0 && errno != EINTR) {
      return ErrnoStatus(errno);
    }
    if (got == 0) {
      break;  // cut short by somebody else; the second fstat sees it
    }
    filled += got > 0 ? static_cast<size_t>(got) : 0;
  }
  return content;
}

bool SameVersion(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

bool IsForbiddenControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t' && c != '\n' && c != '\r') || byte == 0x7F;
}

bool LooksLikeUtf16(std::string_view text) {
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    return true;
  }
  return text.size() >= 2 && ((text[0] == '\0') != (text[1] == '\0'));
}

std::string FaultIn(std::string_view line) {
  if (line.find('\0') != std::string_view::npos) {
    return "the file holds a NUL byte";
  }
  if (!IsUtf8(line)) {
    return "the text is not valid UTF-8";
  }
  return std::any_of(line.begin(), line.end(), IsForbiddenControl) ? "the text holds a control character" : "";
}

}  // namespace

absl::StatusOr<InputFile> ReadInputFile(const std::string& path, size_t max_bytes) {
  // O_NONBLOCK: opening a pipe without a writer would wait for ever.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (fd.get() < 0) {
    return ErrnoStatus(errno);
  }
  PGC_ASSIGN_OR_RETURN(const struct stat before, StatRegular(fd));
  const auto size = static_cast<size_t>(before.st_size);
  if (size > max_bytes) {
    return absl::ResourceExhaustedError("is larger than " + std::to_string(max_bytes) + " bytes");
  }
  PGC_ASSIGN_OR_RETURN(std::string content, ReadAll(fd, size));
  PGC_ASSIGN_OR_RETURN(const struct stat after, StatRegular(fd));
  if (!SameVersion(before, after)) {
    return absl::AbortedError("was changed while it was read");
  }
  return InputFile{std::move(content), before.st_mode};
}

std::optional<EncodingFault> FindEncodingFault(std::string_view text) {
  constexpr char kRemedy[] = "save the file as UTF-8 text";
  if (LooksLikeUtf16(text)) {
    return EncodingFault{1, "the file is UTF-16, not UTF-8", kRemedy};
  }
  for (int line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size() - 1);
    if (std::string fault = FaultIn(text.substr(0, end + 1)); !fault.empty()) {
      return EncodingFault{line, std::move(fault), kRemedy};
    }
    text.remove_prefix(end + 1);
  }
  return std::nullopt;
}

std::string_view WithoutBom(std::string_view text) {
  constexpr std::string_view kBom = "\xEF\xBB\xBF";
  return text.starts_with(kBom) ? text.substr(kBom.size()) : text;
}

}  // namespace pgconvoy::plan
