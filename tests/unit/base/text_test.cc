#include "common/base/text.h"

#include <gtest/gtest.h>

#include <array>

namespace pgconvoy {
namespace {

TEST(ToHex, WritesTwoLowerCaseDigitsAByte) {
  const std::array<uint8_t, 3> bytes = {0x00, 0xAF, 0xFF};
  EXPECT_EQ(ToHex(bytes), "00afff");
}

TEST(ParseDecimal, TakesPlainNumbers) {
  EXPECT_EQ(ParseDecimal("0"), 0);
  EXPECT_EQ(ParseDecimal("42"), 42);
  EXPECT_EQ(ParseDecimal("9223372036854775807"), INT64_MAX);
}

TEST(ParseDecimal, RefusesEverythingElse) {
  for (const char* const text : {"", "-1", "+1", " 1", "1 ", "012", "00", "1_000", "1e3", "0x10", "1.0", "12:30",
                                 "9223372036854775808", "99999999999999999999"}) {
    EXPECT_EQ(ParseDecimal(text), std::nullopt) << text;
  }
}

TEST(IsUtf8, TakesEveryLength) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  EXPECT_TRUE(IsUtf8("\xF4\x8F\xBF\xBF"));  // U+10FFFF
}

TEST(IsUtf8, RefusesWhatRfc3629Forbids) {
  for (const std::string& text : {std::string("a\0b", 3), std::string("\x80"), std::string("\xC3"),
                                  std::string("\xC0\xAF"), std::string("\xE0\x80\xAF"), std::string("\xED\xA0\x80"),
                                  std::string("\xF4\x90\x80\x80"), std::string("\xFF"), std::string("\xC3(")}) {
    EXPECT_FALSE(IsUtf8(text)) << Printable(text);
  }
}

TEST(Printable, EscapesWhatSteersATerminal) {
  EXPECT_EQ(Printable("a\x1B[2J\n\x7F"), "a\\x1b[2J\\x0a\\x7f");
  EXPECT_EQ(Printable("\xE2\x80\xAEx"), "\\u{202e}x");
  EXPECT_EQ(Printable("\xC2\x9B"), "\\x9b");
  EXPECT_EQ(Printable("\xFF"), "\\xff");
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, LeavesTextAlone) { EXPECT_EQ(Printable("caf\xC3\xA9 {x}"), "caf\xC3\xA9 {x}"); }

TEST(Join, PutsTheSeparatorBetween) {
  EXPECT_EQ(Join({}, ", "), "");
  EXPECT_EQ(Join({"a"}, ", "), "a");
  EXPECT_EQ(Join({"a", "b", "c"}, ", "), "a, b, c");
}

TEST(Nearest, FindsATypo) {
  const std::vector<std::string> keys = {"where", "table", "exclude_columns", "to"};
  EXPECT_EQ(Nearest("wher", keys), "where");
  EXPECT_EQ(Nearest("tabel", keys), "table");
  EXPECT_EQ(Nearest("exclude_colums", keys), "exclude_columns");
}

TEST(Nearest, FindsNothingThatIsFar) {
  EXPECT_EQ(Nearest("banana", {"where", "table"}), std::nullopt);
  EXPECT_EQ(Nearest("ab", {"to"}), std::nullopt);
  EXPECT_EQ(Nearest("where", {}), std::nullopt);
}

TEST(StringViews, CrossTheBridgeUnchanged) {
  const std::string text("a\0b", 3);
  EXPECT_EQ(sv(av(text)), text);
}

}  // namespace
}  // namespace pgconvoy
