#include "cli/render/table.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "cli/render/marks.h"

namespace pgconvoy::render {
namespace {

Table Sample() {
  return {
      {{"PROJECT", false, false, true},
       {"STATE"},
       {"TRIES", true},
       {"NOTE", false, false, true},
       {"BATCH", true, true}},
      {{{"acme-1"}, {Text(MarkOf(ProjectState::kSucceeded), {}), Tone::kGood}, {"1"}, {""}, {"3"}},
       {{"globex-22"}, {Text(MarkOf(ProjectState::kFailed), {}), Tone::kBad}, {"12"}, {"PGC-COPY-DENIED"}, {"14"}}}};
}

TEST(Table, AlignsColumnsAndLeavesNoTrailingSpaces) {
  EXPECT_EQ(Draw(Sample(), false, {}),
            "PROJECT    STATE        TRIES  NOTE\n"
            "acme-1     ✔ SUCCEEDED      1\n"
            "globex-22  ✖ FAILED        12  PGC-COPY-DENIED\n");
}

TEST(Table, ShowsWideColumnsOnlyWhenAskedTo) {
  EXPECT_EQ(Draw(Sample(), true, {}),
            "PROJECT    STATE        TRIES  NOTE             BATCH\n"
            "acme-1     ✔ SUCCEEDED      1                       3\n"
            "globex-22  ✖ FAILED        12  PGC-COPY-DENIED     14\n");
}

TEST(Table, ClipsTheLastColumnsThatMayShrinkToFitTheTerminal) {
  EXPECT_EQ(Draw(Sample(), false, {.width = 40}),
            "PROJECT    STATE        TRIES  NOTE\n"
            "acme-1     ✔ SUCCEEDED      1\n"
            "globex-22  ✖ FAILED        12  PGC-COPY…\n");
}

TEST(Table, PaintsCellsWithoutMovingColumns) {
  const std::string text = Draw(Sample(), false, {.color = true});
  EXPECT_NE(text.find("\x1b[32m✔ SUCCEEDED\x1b[0m      1\n"), std::string::npos) << text;
}

TEST(Table, EscapesWhatWouldSteerATerminal) {
  const Table table{{{"NAME"}}, {{{"a\x1b[2Jb\n"}}}};
  const std::string text = Draw(table, false, {});
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
}

TEST(Marks, EveryProjectStateHasAGlyphOfItsOwnAndItsName) {
  for (const bool ascii : {false, true}) {
    std::set<std::string> seen;
    for (int i = 1; i <= kProjectStateCount; ++i) {
      const auto state = static_cast<ProjectState>(i);
      const std::string text = Text(MarkOf(state), {.ascii = ascii});
      EXPECT_NE(text.find(Name(state)), std::string::npos) << text;
      EXPECT_TRUE(seen.insert(text.substr(0, text.find(' '))).second) << text;
    }
  }
}

TEST(Marks, AStateOfANewerCoordinatorIsShownAsUnknown) {
  EXPECT_EQ(MarkOf(static_cast<ProjectState>(99)).word, "UNKNOWN");
  EXPECT_EQ(MarkOf(static_cast<MigrationState>(0)).word, "UNKNOWN");
}

}  // namespace
}  // namespace pgconvoy::render
