// Files that people hand to us: read whole, bounded, and never a device or pipe that would hang the reader.
//
// Thread safety: pure but for reading the named file.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace pgconvoy::plan {

struct InputFile {
  std::string content;
  // st_mode.
  mode_t mode = 0;
};

// NotFound when there is no such file, ResourceExhausted when it is larger than `max_bytes`, Aborted when it was
// changed while it was read, InvalidArgument for a directory, pipe or device and any other failure. The message is
// a sentence without the path ("is a directory"); callers give it place and code.
absl::StatusOr<InputFile> ReadInputFile(const std::string& path, size_t max_bytes);

// Why `text` is not UTF-8 text, and the line (from 1).
struct EncodingFault {
  int line = 1;
  std::string message;
  std::string remedy;
};

// Refuses UTF-16, NUL, invalid UTF-8 and control characters but tab, CR and LF.
std::optional<EncodingFault> FindEncodingFault(std::string_view text);

// Without a leading UTF-8 byte order mark, which Windows editors write.
std::string_view WithoutBom(std::string_view text);

}  // namespace pgconvoy::plan
