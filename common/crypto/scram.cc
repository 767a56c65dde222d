#include "common/crypto/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <sodium.h>

#include <array>
#include <cstdlib>

#include "common/crypto/crypto.h"

namespace pgconvoy {
namespace {

using Key = std::array<uint8_t, SHA256_DIGEST_LENGTH>;

// PostgreSQL's own length (SCRAM_DEFAULT_SALT_LEN).
constexpr size_t kSaltBytes = 16;

const uint8_t* Bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

Key SaltedPassword(std::string_view password, std::string_view salt, int iterations) {
  Key key{};
  if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), Bytes(salt),
                        static_cast<int>(salt.size()), iterations, EVP_sha256(), static_cast<int>(key.size()),
                        key.data()) != 1) {
    std::abort();
  }
  return key;
}

Key Hmac(const Key& key, std::string_view text) {
  Key out{};
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), Bytes(text), text.size(), out.data(), nullptr) ==
      nullptr) {
    std::abort();
  }
  return out;
}

std::string Base64OfKey(const Key& key) {
  return Base64Encode(std::string_view(reinterpret_cast<const char*>(key.data()), key.size()));
}

}  // namespace

namespace crypto_internal {

std::string ScramVerifierWithSalt(std::string_view password, std::string_view salt, int iterations) {
  Key salted = SaltedPassword(password, salt, iterations);
  Key client_key = Hmac(salted, "Client Key");
  Key stored_key{};
  SHA256(client_key.data(), client_key.size(), stored_key.data());
  const Key server_key = Hmac(salted, "Server Key");
  sodium_memzero(salted.data(), salted.size());
  sodium_memzero(client_key.data(), client_key.size());
  return "SCRAM-SHA-256$" + std::to_string(iterations) + ":" + Base64Encode(salt) + "$" + Base64OfKey(stored_key) +
         ":" + Base64OfKey(server_key);
}

}  // namespace crypto_internal

std::string ScramVerifier(const Secret& password, int iterations) {
  std::array<char, kSaltBytes> salt{};
  randombytes_buf(salt.data(), salt.size());
  return crypto_internal::ScramVerifierWithSalt(password.Reveal(), std::string_view(salt.data(), salt.size()),
                                                iterations);
}

}  // namespace pgconvoy
