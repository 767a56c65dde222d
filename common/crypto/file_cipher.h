// Encryption of whole files under a key of their own: XChaCha20-Poly1305 as libsodium's crypto_secretstream has it, one
// stream with one final message for each file. What was altered, cut, lengthened or given another name does not open.
//
// Layout of an encrypted file: the stream's header (24 bytes, random), then the text and its tag (17 bytes more).
// Thread safety: all functions may be called from any thread; InitCrypto() first.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/crypto/crypto.h"

namespace pgconvoy {

// How much longer an encrypted file is.
inline constexpr size_t kFileCipherOverhead = 24 + 17;

// 32 random bytes, as they are.
Secret NewFileKey();

// `name` says what the file is and whose; it is not in the result, and whoever opens that must say the same. The same
// key is good for any number of files. InvalidArgument PGC-KEY-BAD for a key that NewFileKey did not make.
absl::StatusOr<std::string> EncryptFile(const Secret& key, std::string_view name, std::string_view text);

// InvalidArgument PGC-KEY-WRONG when it was altered, or encrypted under another key or name; PGC-KEY-BAD as above.
absl::StatusOr<std::string> DecryptFile(const Secret& key, std::string_view name, std::string_view stored);

}  // namespace pgconvoy
