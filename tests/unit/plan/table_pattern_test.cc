#include "common/plan/table_pattern.h"

#include <gtest/gtest.h>

#include "common/plan/template.h"

namespace pgconvoy::plan {
namespace {

TEST(TablePattern, AStarStandsForAnyPartOfAName) {
  EXPECT_TRUE(MatchesTable("*.*", "auth", "users"));
  EXPECT_TRUE(MatchesTable("auth.*", "auth", "users"));
  EXPECT_TRUE(MatchesTable("public.log_*", "public", "log_"));
  EXPECT_TRUE(MatchesTable("public.*_log_*", "public", "a_log_b_log_c"));
  EXPECT_TRUE(MatchesTable("public.*a*ab", "public", "aaab"));
  EXPECT_FALSE(MatchesTable("public.log_*", "public", "logs"));
  EXPECT_FALSE(MatchesTable("auth.*", "author", "users"));
  EXPECT_FALSE(MatchesTable("public.*_log", "public", "log_x"));
  EXPECT_FALSE(MatchesTable("*", "auth", "users"));
}

TEST(TablePattern, TakesNothingThatIsExcepted) {
  v1::Table entry;
  entry.set_table("app.*");
  entry.add_except("app.tmp_*");
  entry.add_except("*.cache");
  EXPECT_TRUE(TakesTable(entry, "app", "users"));
  EXPECT_FALSE(TakesTable(entry, "app", "tmp_1"));
  EXPECT_FALSE(TakesTable(entry, "app", "cache"));
  EXPECT_FALSE(TakesTable(entry, "auth", "users"));
}

TEST(TablePattern, AWrittenNameIsReadBackAsTheSameName) {
  for (const char* const name : {"users", "a.b", "with \"quotes\"", "a b", "Grüße"}) {
    const auto parts = SplitQualified(WrittenName(name, name), 2);
    ASSERT_TRUE(parts.ok()) << name;
    EXPECT_EQ((*parts)[0], name);
    EXPECT_EQ((*parts)[1], name);
  }
  EXPECT_EQ(WrittenName("auth", "users"), "auth.users");
}

}  // namespace
}  // namespace pgconvoy::plan
