#include "worker/copy/digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace pgconvoy {
namespace {

RowDigest DigestOf(const std::vector<std::string>& rows) {
  RowDigest digest;
  for (const std::string& row : rows) {
    digest.Add(row);
  }
  return digest;
}

TEST(RowDigest, IsTheHashThatXxhashPublishes) {
  // XXH3-128 of no bytes with seed 0, as "xxh128sum /dev/null" prints it.
  EXPECT_EQ(DigestOf({"\n"}).Hex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(RowDigest().Hex(), std::string(32, '0'));
}

TEST(RowDigest, DoesNotDependOnTheOrderOfRows) {
  std::vector<std::string> rows = {"1\ta\n", "2\tb\n", "3\tc\n"};
  const RowDigest ordered = DigestOf(rows);
  while (std::next_permutation(rows.begin(), rows.end())) {
    EXPECT_EQ(DigestOf(rows), ordered);
  }
}

TEST(RowDigest, SeesADoubledRowInPlaceOfAnother) {
  EXPECT_NE(DigestOf({"a\n", "a\n", "b\n"}).Hex(), DigestOf({"a\n", "b\n", "b\n"}).Hex());
  // A sum, unlike an exclusive or, does not lose pairs.
  EXPECT_NE(DigestOf({"a\n", "a\n"}).Hex(), DigestOf({"b\n", "b\n"}).Hex());
}

TEST(RowDigest, SeesAFieldThatMovedToTheNextRow) {
  EXPECT_NE(DigestOf({"a\tb\n", "c\n"}).Hex(), DigestOf({"a\n", "b\tc\n"}).Hex());
}

TEST(RowDigest, CountsTheSameWithAndWithoutTheNewline) {
  EXPECT_EQ(DigestOf({"1\ta"}), DigestOf({"1\ta\n"}));
  EXPECT_EQ(DigestOf({"1\ta"}).bytes(), 4);
}

TEST(RowDigest, AddsUpFromParts) {
  RowDigest sum = DigestOf({"a\n", "b\n"});
  sum.Add(DigestOf({"c\n"}));
  EXPECT_EQ(sum, DigestOf({"a\n", "b\n", "c\n"}));
}

TEST(RowDigest, ReadsBackWhatItWrote) {
  RowDigest digest;
  for (int i = 0; i < 1000; ++i) {
    digest.Add(std::to_string(i));
    EXPECT_EQ(RowDigest::FromParts(digest.rows(), digest.bytes(), digest.Hex()), digest);
  }
}

TEST(RowDigest, RefusesWhatIsNoDigest) {
  const std::string good(32, 'a');
  EXPECT_TRUE(RowDigest::FromParts(0, 0, good).has_value());
  EXPECT_FALSE(RowDigest::FromParts(-1, 0, good).has_value());
  EXPECT_FALSE(RowDigest::FromParts(0, -1, good).has_value());
  EXPECT_FALSE(RowDigest::FromParts(0, 0, good.substr(1)).has_value());
  EXPECT_FALSE(RowDigest::FromParts(0, 0, "A" + good.substr(1)).has_value());
  EXPECT_FALSE(RowDigest::FromParts(0, 0, "").has_value());
}

}  // namespace
}  // namespace pgconvoy
