#include "common/crypto/crypto.h"

#include <sodium.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy {
namespace {

constexpr size_t kPasswordBytes = 32;

using PublicKey = std::array<uint8_t, crypto_box_PUBLICKEYBYTES>;

// Zeroed when it goes out of scope.
struct PrivateKey {
  PrivateKey() = default;
  PrivateKey(const PrivateKey&) = default;
  PrivateKey& operator=(const PrivateKey&) = default;
  ~PrivateKey() { sodium_memzero(bytes.data(), bytes.size()); }
  std::array<uint8_t, crypto_box_SECRETKEYBYTES> bytes{};
};

const uint8_t* Bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }
uint8_t* Bytes(std::string& text) { return reinterpret_cast<uint8_t*>(text.data()); }

std::string Encode(const uint8_t* data, size_t size, int variant) {
  std::string text(sodium_base64_encoded_len(size, variant), '\0');
  sodium_bin2base64(text.data(), text.size(), data, size, variant);
  text.pop_back();  // the terminating NUL that libsodium counts
  return text;
}

// True when `text` is base64 of exactly `size` bytes, which are then in `out`.
bool DecodeExactly(std::string_view text, uint8_t* out, size_t size) {
  size_t decoded = 0;
  return sodium_base642bin(out, size, text.data(), text.size(), nullptr, &decoded, nullptr,
                           sodium_base64_VARIANT_ORIGINAL) == 0 &&
         decoded == size;
}

absl::Status BadKey(std::string_view which) {
  return InputError("PGC-KEY-BAD", "the " + std::string(which) + " key is not base64 of 32 bytes",
                    "make a pair with `pgconvoy credentials keygen` and use it unchanged");
}

absl::StatusOr<PublicKey> ParsePublicKey(std::string_view text) {
  PublicKey key{};
  if (!DecodeExactly(text, key.data(), key.size())) {
    return BadKey("public");
  }
  return key;
}

absl::StatusOr<PrivateKey> ParsePrivateKey(const Secret& text) {
  PrivateKey key;
  if (!DecodeExactly(text.Reveal(), key.bytes.data(), key.bytes.size())) {
    return BadKey("private");
  }
  return key;
}

}  // namespace

void InitCrypto() {
  if (sodium_init() < 0) {
    std::abort();
  }
}

Secret RandomPassword() {
  std::array<uint8_t, kPasswordBytes> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  Secret password(Encode(bytes.data(), bytes.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING));
  sodium_memzero(bytes.data(), bytes.size());
  return password;
}

std::string RandomHex(size_t bytes) {
  if (bytes == 0) {
    return "";
  }
  std::vector<uint8_t> random(bytes);
  randombytes_buf(random.data(), random.size());
  return ToHex(random);
}

std::string RandomUuid() {
  std::array<uint8_t, 16> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0F) | 0x40);  // version 4
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3F) | 0x80);  // variant of RFC 4122
  std::string text = ToHex(bytes);
  for (const size_t position : {8u, 13u, 18u, 23u}) {
    text.insert(position, "-");
  }
  return text;
}

KeyPair GenerateKeyPair() {
  PublicKey public_key{};
  PrivateKey private_key;
  crypto_box_keypair(public_key.data(), private_key.bytes.data());
  return {Encode(public_key.data(), public_key.size(), sodium_base64_VARIANT_ORIGINAL),
          Secret(Encode(private_key.bytes.data(), private_key.bytes.size(), sodium_base64_VARIANT_ORIGINAL))};
}

absl::StatusOr<std::string> PublicKeyOf(const Secret& private_key) {
  PGC_ASSIGN_OR_RETURN(const PrivateKey key, ParsePrivateKey(private_key));
  PublicKey public_key{};
  crypto_scalarmult_base(public_key.data(), key.bytes.data());
  return Encode(public_key.data(), public_key.size(), sodium_base64_VARIANT_ORIGINAL);
}

absl::StatusOr<std::string> SealTo(std::string_view public_key, const Secret& plaintext) {
  PGC_ASSIGN_OR_RETURN(const PublicKey key, ParsePublicKey(public_key));
  std::string sealed(plaintext.Reveal().size() + crypto_box_SEALBYTES, '\0');
  // Fails for a key of small order, to which anybody could open the box.
  if (crypto_box_seal(Bytes(sealed), Bytes(plaintext.Reveal()), plaintext.Reveal().size(), key.data()) != 0) {
    return BadKey("public");
  }
  return sealed;
}

absl::StatusOr<Secret> OpenSealed(const Secret& private_key, std::string_view sealed) {
  PGC_ASSIGN_OR_RETURN(const PrivateKey key, ParsePrivateKey(private_key));
  PublicKey public_key{};
  crypto_scalarmult_base(public_key.data(), key.bytes.data());
  if (sealed.size() < crypto_box_SEALBYTES) {
    return InputError("PGC-KEY-WRONG", "the sealed secret is cut short");
  }
  std::string plaintext(sealed.size() - crypto_box_SEALBYTES, '\0');
  if (crypto_box_seal_open(Bytes(plaintext), Bytes(sealed), sealed.size(), public_key.data(), key.bytes.data()) !=
      0) {
    return InputError("PGC-KEY-WRONG", "the private key does not open this secret",
                      "use the private key that belongs to the plan's recipient");
  }
  return Secret(std::move(plaintext));
}

std::string Base64Encode(std::string_view bytes) {
  return Encode(Bytes(bytes), bytes.size(), sodium_base64_VARIANT_ORIGINAL);
}

absl::StatusOr<std::string> Base64Decode(std::string_view text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  size_t decoded = 0;
  if (sodium_base642bin(Bytes(bytes), bytes.size(), text.data(), text.size(), nullptr, &decoded, nullptr,
                        sodium_base64_VARIANT_ORIGINAL) != 0) {
    return InputError("PGC-BASE64", "not valid base64");
  }
  bytes.resize(decoded);
  return bytes;
}

}  // namespace pgconvoy
