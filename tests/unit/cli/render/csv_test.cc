#include "cli/render/csv.h"

#include <gtest/gtest.h>

namespace pgconvoy::render {
namespace {

TEST(Csv, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(CsvCell("plain text"), "plain text");
  EXPECT_EQ(CsvCell("a,b"), "\"a,b\"");
  EXPECT_EQ(CsvCell("say \"hi\""), "\"say \"\"hi\"\"\"");
  EXPECT_EQ(CsvCell("two\nlines"), "\"two\nlines\"");
  EXPECT_EQ(CsvLine({"a", "", "c"}), "a,,c\n");
}

TEST(Csv, NoCellIsRunByASpreadsheet) {
  EXPECT_EQ(CsvText("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
  EXPECT_EQ(CsvText("@SUM(1,2)"), "\"'@SUM(1,2)\"");
  EXPECT_EQ(CsvText("\tx"), "'\tx");
  EXPECT_EQ(CsvText("-1+cmd"), "'-1+cmd");
  EXPECT_EQ(CsvText("+"), "'+");
}

TEST(Csv, NumbersAndTextStayWhatTheyAre) {
  EXPECT_EQ(CsvText("-12"), "-12");
  EXPECT_EQ(CsvText("+3.5"), "+3.5");
  EXPECT_EQ(CsvText("a=b"), "a=b");
  EXPECT_EQ(CsvText(""), "");
}

}  // namespace
}  // namespace pgconvoy::render
