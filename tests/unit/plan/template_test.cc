#include "common/plan/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace pgconvoy::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Values kValues = {{"ref", "p1"}, {"evil", "x'; DROP TABLE t; --"}, {"odd", "a\"b"}, {"empty", ""}};

TEST(PlaceholdersIn, ListsEachOnceInOrder) {
  EXPECT_THAT(*PlaceholdersIn("{b} {a:ident} {b} {{c}}"), ElementsAre("b", "a"));
  EXPECT_THAT(*PlaceholdersIn("plain"), IsEmpty());
}

TEST(PlaceholdersIn, RefusesMalformedTemplates) {
  for (const char* const text : {"{", "}", "{}", "{a", "a}", "{{a}", "{a}}", "{A}", "{1a}", "{a b}", "{a:}",
                                 "{a:raw}", "{:ident}", "{a{b}}", "{ a }", "{a:ident:ident}"}) {
    EXPECT_EQ(CodeOf(PlaceholdersIn(text).status()), "PGC-PLAN-TEMPLATE") << text;
  }
}

TEST(RenderSql, QuotesEveryValue) {
  const std::pair<const char*, const char*> table[] = {
      {"ref = {ref}", "ref = 'p1'"},
      {"ref={ref}", "ref='p1'"},
      {"f({ref},{evil})", "f('p1','x''; DROP TABLE t; --')"},
      {"{odd:ident}.t", "\"a\"\"b\".t"},
      {"s.{ref:ident} = {empty}", "s.\"p1\" = ''"},
      {"{ref}::uuid", "'p1'::uuid"},
      {"'{{1,2}}' = {ref}", "'{1,2}' = 'p1'"},
      {"a = 'x' AND b = {ref} AND c = 'y'", "a = 'x' AND b = 'p1' AND c = 'y'"},
      {"a /* it's */ = {ref} -- done", "a /* it's */ = 'p1' -- done"},
      {"\"it's\" = {ref}", "\"it's\" = 'p1'"},
      {"$$it's$$ = {ref}", "$$it's$$ = 'p1'"},
  };
  for (const auto& [text, sql] : table) {
    const auto rendered = RenderSql(text, kValues);
    ASSERT_TRUE(rendered.ok()) << text << ": " << Describe(rendered.status());
    EXPECT_EQ(*rendered, sql);
  }
}

// In each of these the value would reach the server outside its quotes, or merge with its neighbour.
TEST(RenderSql, RefusesPlaceholdersWhereQuotesWouldNotHold) {
  for (const char* const text : {"ref = '{ref}'",
                                 "x = \"{ref:ident}\"",
                                 "x = \"{ref}\"",
                                 "x -- {ref}",
                                 "x /* {ref} */",
                                 "$${ref}$$",
                                 "$a$ {ref} $a$",
                                 "E{ref}",
                                 "e{ref}",
                                 "U&{ref}",
                                 "u&{ref:ident}",
                                 "x{ref}",
                                 "{ref}x",
                                 "'a'{ref}",
                                 "{ref}'a'",
                                 "'a' {ref}",
                                 "'a'\n{ref}",
                                 "E'a'\n{ref}",
                                 "'a' -- c\n{ref}",
                                 "{ref} 'a'",
                                 "{ref}{evil}",
                                 "{ref}\n{evil}",
                                 "{ref:ident}{odd:ident}",
                                 "\"a\"{ref:ident}",
                                 "${ref}",
                                 "E'\\'' || '{ref}'",
                                 "'a' 'b'",
                                 "'open",
                                 "/* open",
                                 "_{ref}",
                                 "\xC3\xA9{ref}"}) {
    EXPECT_EQ(CodeOf(RenderSql(text, kValues).status()), "PGC-PLAN-TEMPLATE") << text;
  }
}

TEST(RenderSql, RefusesMissingAndUnquotableValues) {
  EXPECT_EQ(CodeOf(RenderSql("{nope}", kValues).status()), "PGC-PLAN-PLACEHOLDER");
  EXPECT_EQ(CodeOf(RenderSql("{v}", {{"v", std::string("a\0b", 3)}}).status()), "PGC-SQL-QUOTE");
  EXPECT_EQ(CodeOf(RenderSql("{v}", {{"v", "\xFF"}}).status()), "PGC-SQL-QUOTE");
  EXPECT_EQ(CodeOf(RenderSql("{empty:ident}", kValues).status()), "PGC-SQL-QUOTE");
}

TEST(RenderText, PutsValuesInAsTheyAre) {
  EXPECT_EQ(*RenderText("{{{ref}}}-{evil}", kValues), "{p1}-x'; DROP TABLE t; --");
  EXPECT_EQ(CodeOf(RenderText("{ref:ident}", kValues).status()), "PGC-PLAN-TEMPLATE");
  EXPECT_EQ(CodeOf(RenderText("{nope}", kValues).status()), "PGC-PLAN-PLACEHOLDER");
}

TEST(RenderName, ChecksTheResult) {
  EXPECT_EQ(*RenderName("project_{ref}", kValues), "project_p1");
  EXPECT_EQ(*RenderName("{odd}", kValues), "a\"b");
  EXPECT_EQ(*RenderName(std::string(61, 'x') + "{ref}", kValues), std::string(61, 'x') + "p1");
  for (const std::string& text :
       {std::string("{empty}"), std::string(62, 'x') + "{ref}", std::string("pg_{ref}"), std::string("PG_{ref}"),
        std::string("postgres"), std::string("template0"), std::string("template1"), std::string("public"),
        std::string("none"), std::string("Public"), std::string("pgconvoy"), std::string("a\xFF"),
        std::string("a\0b", 3)}) {
    EXPECT_EQ(CodeOf(RenderName(text, kValues).status()), "PGC-PLAN-NAME") << text;
  }
}

TEST(Quote, DoublesItsQuote) {
  EXPECT_EQ(*QuoteLiteral("it's"), "'it''s'");
  EXPECT_EQ(*QuoteLiteral("a\\b"), "'a\\b'");
  EXPECT_EQ(*QuoteLiteral(""), "''");
  EXPECT_EQ(*QuoteIdent("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(CodeOf(QuoteIdent("").status()), "PGC-SQL-QUOTE");
  EXPECT_EQ(CodeOf(QuoteIdent("\xC3").status()), "PGC-SQL-QUOTE");
}

TEST(SplitQualified, TakesPlainAndQuotedParts) {
  EXPECT_THAT(*SplitQualified("auth.users", 2), ElementsAre("auth", "users"));
  EXPECT_THAT(*SplitQualified("\"a.b\".\"c\"\"d\".E", 3), ElementsAre("a.b", "c\"d", "E"));
  EXPECT_EQ(*QuoteQualified("auth.Users"), "\"auth\".\"Users\"");
  EXPECT_EQ(*QuoteQualified("\"a.b\".c"), "\"a.b\".\"c\"");
}

TEST(SplitQualified, RefusesEverythingElse) {
  for (const std::string& name :
       {std::string(), std::string("users"), std::string("a.b.c"), std::string(".b"), std::string("a."),
        std::string("a..b"), std::string("a. b"), std::string("a\"b.c"), std::string("\"a.b"),
        std::string("\"a\"x.b"), std::string("\"\".b"), "a." + std::string(64, 'x'), std::string("a.\xFF")}) {
    EXPECT_EQ(CodeOf(SplitQualified(name, 2).status()), "PGC-SQL-NAME") << name;
  }
}

TEST(CheckSqlExpression, TakesOneExpression) {
  for (const char* const sql : {"", "a = 1", "(a OR b) AND c = ')'", "a = ';' /* ; ) */", "a -- ;\n = 1"}) {
    EXPECT_TRUE(CheckSqlExpression(sql).ok()) << sql;
  }
}

TEST(CheckSqlExpression, RefusesWhatWouldLeaveItsParentheses) {
  for (const char* const sql : {"a; DROP TABLE t", "true) OR (true", "(a", "a)", "a -- b", "a 'b", "/* a"}) {
    EXPECT_EQ(CodeOf(CheckSqlExpression(sql)), "PGC-PLAN-TEMPLATE") << sql;
  }
}

}  // namespace
}  // namespace pgconvoy::plan
