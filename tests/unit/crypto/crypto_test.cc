#include "common/crypto/crypto.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <sstream>
#include <utility>

#include "common/base/error.h"

namespace pgconvoy {
namespace {

class CryptoEnvironment : public ::testing::Environment {
 public:
  void SetUp() override { InitCrypto(); }
};
const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new CryptoEnvironment);

constexpr char kLong[] = "a secret that is too long to live inside the string object";

TEST(Secret, IsEmptyAfterItWasMoved) {
  for (const char* const value : {"short", kLong}) {
    Secret first(value);
    Secret second(std::move(first));
    EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
    EXPECT_EQ(second.Reveal(), value);
    Secret third;
    third = std::move(second);
    EXPECT_TRUE(second.empty());  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(third.Reveal(), value);
  }
}

TEST(Secret, LeavesNoShortValueBehindWhenMoved) {
  Secret first("0123456789");
  const char* const bytes = first.Reveal().data();
  const Secret second(std::move(first));
  // NOLINTNEXTLINE(bugprone-use-after-move): a short string lives inside `first`, which is still alive
  EXPECT_EQ(std::string(bytes, 10), std::string(10, '\0'));
}

TEST(Secret, ClonesItsValue) {
  const Secret secret(kLong);
  EXPECT_EQ(secret.Clone().Reveal(), kLong);
}

TEST(Secret, PrintsNoValue) {
  std::ostringstream out;
  out << Secret(kLong);
  EXPECT_EQ(out.str(), "***");
}

TEST(RandomPassword, Has43CharactersThatNeedNoQuoting) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const Secret password = RandomPassword();
    EXPECT_TRUE(std::regex_match(password.Reveal(), std::regex("[A-Za-z0-9_-]{43}")));
    seen.insert(password.Reveal());
  }
  EXPECT_EQ(seen.size(), 100u);
}

TEST(RandomHex, HasTwoDigitsAByte) {
  EXPECT_TRUE(std::regex_match(RandomHex(16), std::regex("[0-9a-f]{32}")));
  EXPECT_NE(RandomHex(16), RandomHex(16));
  EXPECT_EQ(RandomHex(0), "");
}

TEST(RandomUuid, IsOfVersionFour) {
  EXPECT_TRUE(std::regex_match(RandomUuid(),
                               std::regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")));
  EXPECT_NE(RandomUuid(), RandomUuid());
}

TEST(Sha256, MatchesTheVectorOfFips180) {
  constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(Sha256Hex("abc"), kAbc);
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ShortHash("abc", 12), "ba7816bf8f01");
  Sha256 in_parts;
  in_parts.Update("a");
  in_parts.Update("");
  in_parts.Update("bc");
  EXPECT_EQ(in_parts.FinishHex(), kAbc);
}

TEST(SealedBox, OpensWithThePrivateKeyAlone) {
  const KeyPair pair = GenerateKeyPair();
  for (const char* const value : {"", "pencil", kLong}) {
    const auto sealed = SealTo(pair.public_key, Secret(value));
    ASSERT_TRUE(sealed.ok());
    const auto opened = OpenSealed(pair.private_key, *sealed);
    ASSERT_TRUE(opened.ok());
    EXPECT_EQ(opened->Reveal(), value);
    EXPECT_EQ(CodeOf(OpenSealed(GenerateKeyPair().private_key, *sealed).status()), "PGC-KEY-WRONG");
  }
}

TEST(SealedBox, RefusesEveryAlteredByte) {
  const KeyPair pair = GenerateKeyPair();
  const std::string sealed = *SealTo(pair.public_key, Secret("pencil"));
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string altered = sealed;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    EXPECT_EQ(CodeOf(OpenSealed(pair.private_key, altered).status()), "PGC-KEY-WRONG") << i;
  }
}

TEST(SealedBox, RefusesEveryTruncation) {
  const KeyPair pair = GenerateKeyPair();
  const std::string sealed = *SealTo(pair.public_key, Secret("pencil"));
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(CodeOf(OpenSealed(pair.private_key, sealed.substr(0, size)).status()), "PGC-KEY-WRONG") << size;
  }
}

TEST(SealedBox, RefusesMalformedKeys) {
  const std::string good = GenerateKeyPair().public_key;
  const std::string small_order = Base64Encode(std::string(32, '\0'));
  for (const std::string& key :
       {std::string(), std::string("pencil"), good.substr(1), good + "A", " " + good, small_order}) {
    EXPECT_EQ(CodeOf(SealTo(key, Secret("x")).status()), "PGC-KEY-BAD") << key;
  }
  EXPECT_EQ(CodeOf(OpenSealed(Secret("pencil"), "x").status()), "PGC-KEY-BAD");
  EXPECT_EQ(CodeOf(PublicKeyOf(Secret("pencil")).status()), "PGC-KEY-BAD");
}

TEST(SealedBox, NamesNoSecretInItsErrors) {
  EXPECT_EQ(Describe(OpenSealed(Secret("pencil"), "x").status()).find("pencil"), std::string::npos);
}

TEST(PublicKeyOf, FindsThePublicKeyOfAPair) {
  const KeyPair pair = GenerateKeyPair();
  EXPECT_EQ(*PublicKeyOf(pair.private_key), pair.public_key);
}

TEST(Base64, RoundTripsTheVectorsOfRfc4648) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"},
                                                         {std::string("\0\xFF", 2), "AP8="}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(Base64Encode(bytes), text);
    EXPECT_EQ(*Base64Decode(text), bytes);
  }
}

TEST(Base64, RefusesWhatIsNotStrict) {
  for (const char* const text : {"Zg=", "Zg", "Z", "Zm9v\n", " Zm9v", "Zm9v!", "Zm-v", "Zh=="}) {
    EXPECT_EQ(CodeOf(Base64Decode(text).status()), "PGC-BASE64") << text;
  }
}

}  // namespace
}  // namespace pgconvoy
