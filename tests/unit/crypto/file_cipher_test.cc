#include "common/crypto/file_cipher.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace pgconvoy {
namespace {

constexpr char kName[] = "store-1 acme 7 auth.users.00001";

TEST(FileCipher, GivesBackWhatItTook) {
  const Secret key = NewFileKey();
  for (const std::string& text : {std::string(), std::string("x"), std::string(1 << 20, '\0')}) {
    const auto stored = EncryptFile(key, kName, text);
    ASSERT_TRUE(stored.ok()) << Describe(stored.status());
    EXPECT_EQ(stored->size(), text.size() + kFileCipherOverhead);
    EXPECT_EQ(DecryptFile(key, kName, *stored).value_or("?"), text);
  }
}

TEST(FileCipher, NeverStoresTheSameTwice) {
  const Secret key = NewFileKey();
  EXPECT_NE(EncryptFile(key, kName, "same").value_or(""), EncryptFile(key, kName, "same").value_or(""));
  EXPECT_NE(key.Reveal(), NewFileKey().Reveal());
}

TEST(FileCipher, SeesEveryFlippedBitAndEveryOtherLength) {
  const Secret key = NewFileKey();
  const std::string good = EncryptFile(key, kName, "rows of a tenant").value_or("");
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_EQ(CodeOf(DecryptFile(key, kName, bad).status()), "PGC-KEY-WRONG") << bit;
  }
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_EQ(CodeOf(DecryptFile(key, kName, good.substr(0, size)).status()), "PGC-KEY-WRONG") << size;
  }
  EXPECT_EQ(CodeOf(DecryptFile(key, kName, good + "x").status()), "PGC-KEY-WRONG");
  EXPECT_EQ(CodeOf(DecryptFile(key, kName, good + good).status()), "PGC-KEY-WRONG");
}

TEST(FileCipher, OpensUnderNoOtherKeyOrName) {
  const Secret key = NewFileKey();
  const std::string stored = EncryptFile(key, kName, "rows of a tenant").value_or("");
  EXPECT_EQ(CodeOf(DecryptFile(NewFileKey(), kName, stored).status()), "PGC-KEY-WRONG");
  EXPECT_EQ(CodeOf(DecryptFile(key, "store-1 acme 7 auth.users.00002", stored).status()), "PGC-KEY-WRONG");
  EXPECT_EQ(CodeOf(DecryptFile(Secret("short"), kName, stored).status()), "PGC-KEY-BAD");
  EXPECT_EQ(CodeOf(EncryptFile(Secret(""), kName, "x").status()), "PGC-KEY-BAD");
}

}  // namespace
}  // namespace pgconvoy
