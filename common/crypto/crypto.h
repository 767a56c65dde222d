// Randomness, passwords, SCRAM verifiers, sealed boxes and digests. libsodium and OpenSSL stay behind this header.
//
// Secrets: Secret zeroes its memory on destruction and prints as "***". Nothing here logs.
// Thread safety: all functions may be called from any thread; InitCrypto() first, once, in main().
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pgconvoy {

// Wraps sodium_init(). Aborts the process when it fails: without a CSPRNG nothing here may run.
void InitCrypto();

// A string that is wiped on destruction. Movable, not copyable; `Reveal` is the only way to the value. A moved-from
// Secret is empty.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value);
  ~Secret();
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret Clone() const;
  const std::string& Reveal() const { return value_; }
  bool empty() const { return value_.empty(); }
  // "***", so that no log line and no failed assertion shows a value.
  friend std::ostream& operator<<(std::ostream& out, const Secret& secret);

 private:
  void Wipe();
  std::string value_;
};

// 256 bits from the system's CSPRNG as 43 characters of base64url: no character needs quoting anywhere.
Secret RandomPassword();
// `bytes` random bytes as lower-case hex.
std::string RandomHex(size_t bytes);
// Random UUID (RFC 4122 version 4).
std::string RandomUuid();

// SCRAM-SHA-256 verifier in PostgreSQL's form "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"
// (RFC 5803, RFC 7677). PostgreSQL's default is 4096 iterations; 1 is enough for a password of 256 random bits.
// `password` must be ASCII (SASLprep is not applied).
std::string ScramVerifier(const Secret& password, int iterations);

// SHA-256, lower-case hex.
std::string Sha256Hex(std::string_view data);
// First `chars` hex digits of SHA-256; for names.
std::string ShortHash(std::string_view data, size_t chars);

// Incremental SHA-256.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(std::string_view data);
  // Lower-case hex; the object is spent.
  std::string FinishHex();

 private:
  void* context_;
};

// X25519 key pair for crypto_box_seal; both base64 (standard alphabet, padded).
struct KeyPair {
  std::string public_key;
  Secret private_key;
};
KeyPair GenerateKeyPair();
// The public key that belongs to a private key. PGC-KEY-BAD.
absl::StatusOr<std::string> PublicKeyOf(const Secret& private_key);

// Seals `plaintext` so that only the holder of the private key can open it. InvalidArgument PGC-KEY-BAD for a
// malformed key.
absl::StatusOr<std::string> SealTo(std::string_view public_key, const Secret& plaintext);
// PGC-KEY-BAD; PGC-KEY-WRONG when the box was sealed to another key or was altered.
absl::StatusOr<Secret> OpenSealed(const Secret& private_key, std::string_view sealed);

// Standard alphabet, padded. Decoding is strict: no spaces, no missing padding; else PGC-BASE64.
std::string Base64Encode(std::string_view bytes);
absl::StatusOr<std::string> Base64Decode(std::string_view text);

}  // namespace pgconvoy
