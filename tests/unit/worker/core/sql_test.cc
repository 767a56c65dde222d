#include "worker/core/sql.h"

#include <gtest/gtest.h>

namespace pgconvoy::worker {
namespace {

TEST(Quoting, LeavesNoWayOutOfAName) {
  EXPECT_EQ(Ident("users"), R"("users")");
  EXPECT_EQ(Ident("Select"), R"("Select")");
  EXPECT_EQ(Ident(R"(a"; DROP ROLE b; --)"), R"("a""; DROP ROLE b; --")");
  EXPECT_EQ(Ident("it's \\"), R"("it's \")");
}

TEST(Quoting, LeavesNoWayOutOfALiteral) {
  EXPECT_EQ(Literal(""), "''");
  EXPECT_EQ(Literal("it's"), "'it''s'");
  // With standard_conforming_strings a backslash is itself.
  EXPECT_EQ(Literal(R"(\' "x")"), R"('\'' "x"')");
}

TEST(Quoting, KeepsTheDotsOfANameApartFromTheOneOfItsSchema) {
  EXPECT_EQ(Qualified("auth", "users"), R"("auth"."users")");
  EXPECT_EQ(Qualified("a.b", "c\"d"), R"("a.b"."c""d")");
}

TEST(Quoting, ListsNames) {
  EXPECT_EQ(IdentList({}), "");
  EXPECT_EQ(IdentList({"a"}), R"("a")");
  EXPECT_EQ(IdentList({"a", "b,c"}), R"("a", "b,c")");
}

TEST(TextArray, QuotesEveryValue) {
  EXPECT_EQ(TextArray({}), "{}");
  EXPECT_EQ(TextArray({"a", "NULL", ""}), R"({"a","NULL",""})");
  EXPECT_EQ(TextArray({R"(a"b)", R"(c\d)", "e,f}"}), R"({"a\"b","c\\d","e,f}"})");
}

TEST(SplitName, SplitsAtDotsOutsideQuotes) {
  using Parts = std::vector<std::string>;
  EXPECT_EQ(SplitName("users"), Parts({"users"}));
  EXPECT_EQ(SplitName("auth.Users"), Parts({"auth", "Users"}));
  EXPECT_EQ(SplitName(R"("we ird"."a.b")"), Parts({"we ird", "a.b"}));
  EXPECT_EQ(SplitName(R"(auth."a""b".c)"), Parts({"auth", "a\"b", "c"}));
}

TEST(SplitTable, SplitsAtTheDot) {
  const TableName name = SplitTable("auth.users");
  EXPECT_EQ(name.schema, "auth");
  EXPECT_EQ(name.table, "users");
  EXPECT_EQ(name.Quoted(), R"("auth"."users")");
}

}  // namespace
}  // namespace pgconvoy::worker
