// Files that the CLI makes.
//
// Thread safety: any thread. Errors: PGC-KEY-EXISTS (FailedPrecondition) when the file exists, Internal otherwise.
#pragma once

#include <string>

#include <sys/types.h>

#include "absl/status/status.h"

namespace pgconvoy::cli {

// Makes the file and writes it through to the disk; never touches one that exists.
absl::Status WriteNewFile(const std::string& path, const std::string& content, mode_t mode);

// The same with a file that may exist: it holds either the old or the new content, whatever happens.
absl::Status ReplaceFile(const std::string& path, const std::string& content, mode_t mode);

}  // namespace pgconvoy::cli
