// References to secrets: ${env:NAME} and ${file:PATH}. Parsed everywhere, resolved only in the worker and, for key
// files, in the CLI.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "common/crypto/crypto.h"

namespace pgconvoy::plan {

// Largest file that a reference may name.
inline constexpr size_t kMaxSecretBytes = 64 * 1024;

// True when the whole of `text` is one reference.
bool IsSecretRef(std::string_view text);

// The value behind a reference; a text that is none is returned as it is when `allow_literal`, else
// PGC-SECRET-LITERAL. Files: at most 64 KiB, exactly one trailing newline is cut, a file readable or writable by
// group or others is refused (PGC-SECRET-MODE) unless `allow_literal`: what may stand in the plan is no secret. Unset
// variables and missing files are PGC-SECRET-MISSING, an empty value is PGC-SECRET-EMPTY, one that is too large or
// not UTF-8 text PGC-SECRET-BAD. Errors name the reference, never the value.
absl::StatusOr<Secret> ResolveSecret(std::string_view text, bool allow_literal);

}  // namespace pgconvoy::plan
