#include "coordinator/store/array_text.h"

#include <gtest/gtest.h>

namespace pgconvoy::store {
namespace {

TEST(ArrayText, EmptyArrayIsTwoBraces) {
  EXPECT_EQ(ArrayText().Finish(), "{}");
  EXPECT_TRUE(ParseArrayText("{}").empty());
}

TEST(ArrayText, WritesEachKindOfElement) {
  ArrayText array;
  array.Add(int64_t{-5});
  array.Add(true);
  array.AddNull();
  array.AddOrNull("");
  array.AddOrNull(int64_t{0});
  array.Add("x");
  EXPECT_EQ(array.Finish(), R"({-5,t,NULL,NULL,NULL,"x"})");
}

TEST(ArrayText, ReadsBackWhatItHasQuoted) {
  const std::vector<std::string> values = {"", "a,b", "{}", "\"q\"", "back\\slash", "NULL", "new\nline", "ü"};
  EXPECT_EQ(ParseArrayText(ToArrayText(values)), values);
}

TEST(ArrayText, ReadsUnquotedElementsAsTheServerPrintsThem) {
  EXPECT_EQ(ParseArrayText("{1,NULL,abc}"), (std::vector<std::string>{"1", "", "abc"}));
}

}  // namespace
}  // namespace pgconvoy::store
