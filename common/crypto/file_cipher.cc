#include "common/crypto/file_cipher.h"

#include <sodium.h>

#include "common/base/error.h"

namespace pgconvoy {
namespace {

constexpr size_t kHeaderBytes = crypto_secretstream_xchacha20poly1305_HEADERBYTES;
static_assert(kFileCipherOverhead == kHeaderBytes + crypto_secretstream_xchacha20poly1305_ABYTES);

// Zeroed when it goes out of scope: it holds a key.
struct Stream {
  Stream() = default;
  ~Stream() { sodium_memzero(&state, sizeof(state)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  crypto_secretstream_xchacha20poly1305_state state{};
};

const uint8_t* Bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }
uint8_t* Bytes(std::string& text) { return reinterpret_cast<uint8_t*>(text.data()); }

absl::Status CheckKey(const Secret& key) {
  return key.Reveal().size() == crypto_secretstream_xchacha20poly1305_KEYBYTES
             ? absl::OkStatus()
             : InputError("PGC-KEY-BAD", "the key of a file has not 32 bytes");
}

absl::Status Wrong() {
  return InputError("PGC-KEY-WRONG", "the file was altered, or belongs to another key or name");
}

}  // namespace

Secret NewFileKey() {
  std::string key(crypto_secretstream_xchacha20poly1305_KEYBYTES, '\0');
  crypto_secretstream_xchacha20poly1305_keygen(Bytes(key));
  return Secret(std::move(key));
}

absl::StatusOr<std::string> EncryptFile(const Secret& key, std::string_view name, std::string_view text) {
  PGC_RETURN_IF_ERROR(CheckKey(key));
  Stream stream;
  std::string stored(kFileCipherOverhead + text.size(), '\0');
  crypto_secretstream_xchacha20poly1305_init_push(&stream.state, Bytes(stored), Bytes(key.Reveal()));
  crypto_secretstream_xchacha20poly1305_push(&stream.state, Bytes(stored) + kHeaderBytes, nullptr, Bytes(text),
                                             text.size(), Bytes(name), name.size(),
                                             crypto_secretstream_xchacha20poly1305_TAG_FINAL);
  return stored;
}

absl::StatusOr<std::string> DecryptFile(const Secret& key, std::string_view name, std::string_view stored) {
  PGC_RETURN_IF_ERROR(CheckKey(key));
  if (stored.size() < kFileCipherOverhead) {
    return Wrong();
  }
  Stream stream;
  if (crypto_secretstream_xchacha20poly1305_init_pull(&stream.state, Bytes(stored), Bytes(key.Reveal())) != 0) {
    return Wrong();
  }
  std::string text(stored.size() - kFileCipherOverhead, '\0');
  uint8_t tag = 0;
  const int opened = crypto_secretstream_xchacha20poly1305_pull(
      &stream.state, Bytes(text), nullptr, &tag, Bytes(stored) + kHeaderBytes, stored.size() - kHeaderBytes,
      Bytes(name), name.size());
  // Without the tag of the end, more of the file would follow.
  if (opened != 0 || tag != crypto_secretstream_xchacha20poly1305_TAG_FINAL) {
    return Wrong();
  }
  return text;
}

}  // namespace pgconvoy
