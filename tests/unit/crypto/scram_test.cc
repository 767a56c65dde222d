#include "common/crypto/scram.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <regex>

#include "common/crypto/crypto.h"

namespace pgconvoy {
namespace {

// The exchange of RFC 7677, section 3: user "user", password "pencil".
constexpr char kSalt[] = "W22ZaJ0SNY7soEsUEjb6gQ==";
constexpr char kAuthMessage[] =
    "n=user,r=rOprNGfwEbeRWgbNEkqO,"
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr char kClientProof[] = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr char kServerSignature[] = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

struct Verifier {
  std::string iterations;
  std::string salt;
  std::string stored_key;
  std::string server_key;
};

Verifier Split(const std::string& text) {
  static const std::regex kForm(R"(SCRAM-SHA-256\$([0-9]+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+))");
  std::smatch match;
  EXPECT_TRUE(std::regex_match(text, match, kForm)) << text;
  return {match[1], match[2], match[3], match[4]};
}

std::string HmacOf(const std::string& key, const std::string& text) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const uint8_t*>(text.data()),
       text.size(), reinterpret_cast<uint8_t*>(out.data()), nullptr);
  return out;
}

std::string Sha256Of(const std::string& text) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), reinterpret_cast<uint8_t*>(out.data()));
  return out;
}

std::string Xor(std::string a, const std::string& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<char>(a[i] ^ b[i]);
  }
  return a;
}

TEST(ScramVerifier, AcceptsTheClientProofOfTheRfc) {
  const Verifier verifier = Split(crypto_internal::ScramVerifierWithSalt("pencil", *Base64Decode(kSalt), 4096));
  EXPECT_EQ(verifier.iterations, "4096");
  EXPECT_EQ(verifier.salt, kSalt);
  const std::string stored_key = *Base64Decode(verifier.stored_key);
  const std::string client_key = Xor(*Base64Decode(kClientProof), HmacOf(stored_key, kAuthMessage));
  EXPECT_EQ(Base64Encode(Sha256Of(client_key)), verifier.stored_key);
}

TEST(ScramVerifier, MakesTheServerSignatureOfTheRfc) {
  const Verifier verifier = Split(crypto_internal::ScramVerifierWithSalt("pencil", *Base64Decode(kSalt), 4096));
  EXPECT_EQ(Base64Encode(HmacOf(*Base64Decode(verifier.server_key), kAuthMessage)), kServerSignature);
}

TEST(ScramVerifier, SaltsEveryVerifierAnew) {
  const Secret password("pencil");
  const Verifier first = Split(ScramVerifier(password, 1));
  const Verifier second = Split(ScramVerifier(password, 1));
  EXPECT_EQ(first.iterations, "1");
  EXPECT_EQ(Base64Decode(first.salt)->size(), 16u);
  EXPECT_NE(first.salt, second.salt);
  EXPECT_NE(first.stored_key, second.stored_key);
}

TEST(ScramVerifier, DiffersFromThatOfAnotherPassword) {
  const std::string salt = *Base64Decode(kSalt);
  EXPECT_NE(crypto_internal::ScramVerifierWithSalt("pencil", salt, 1),
            crypto_internal::ScramVerifierWithSalt("Pencil", salt, 1));
}

}  // namespace
}  // namespace pgconvoy
