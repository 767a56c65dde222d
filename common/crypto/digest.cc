#include <openssl/evp.h>

#include <array>
#include <cstdlib>
#include <span>

#include "common/base/text.h"
#include "common/crypto/crypto.h"

namespace pgconvoy {
namespace {

// OpenSSL's digest calls fail only for want of memory or a broken installation; there is no way on from either.
void Require(bool ok) {
  if (!ok) {
    std::abort();
  }
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  Require(context_ != nullptr);
  Require(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256::Update(std::string_view data) {
  Require(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), data.data(), data.size()) == 1);
}

std::string Sha256::FinishHex() {
  std::array<uint8_t, 32> digest{};
  Require(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest.data(), nullptr) == 1);
  return ToHex(digest);
}

std::string Sha256Hex(std::string_view data) {
  Sha256 hash;
  hash.Update(data);
  return hash.FinishHex();
}

std::string ShortHash(std::string_view data, size_t chars) { return Sha256Hex(data).substr(0, chars); }

}  // namespace pgconvoy
