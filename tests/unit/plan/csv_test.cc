#include "common/plan/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/temp_dir.h"
#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

TEST(ParseProjects, ReadsRefsAttributesAndBytes) {
  const ParsedProjects parsed = ParseProjects("ref,owner_id,estimated_bytes\na,o1,100\nb,,\n", "p.csv");
  ASSERT_TRUE(parsed.ok()) << FormatAll(parsed.problems);
  ASSERT_EQ(parsed.projects.size(), 2u);
  EXPECT_EQ(parsed.projects[0].ref, "a");
  EXPECT_EQ(parsed.projects[0].estimated_bytes, 100);
  EXPECT_EQ(parsed.projects[0].line, 2);
  EXPECT_THAT(parsed.projects[0].attributes, ElementsAre(Pair("owner_id", "o1")));
  EXPECT_EQ(parsed.projects[1].ref, "b");
  EXPECT_EQ(parsed.projects[1].estimated_bytes, 0);
  EXPECT_THAT(parsed.projects[1].attributes, ElementsAre(Pair("owner_id", "")));
}

TEST(ParseProjects, TakesQuotedFieldsOverSeveralLines) {
  const ParsedProjects parsed = ParseProjects("ref,note\na,\"x, \"\"y\"\"\nz\"\n\"b\",\"\"\n", "p.csv");
  ASSERT_TRUE(parsed.ok()) << FormatAll(parsed.problems);
  EXPECT_EQ(parsed.projects[0].attributes.at("note"), "x, \"y\"\nz");
  EXPECT_EQ(parsed.projects[1].ref, "b");
  EXPECT_EQ(parsed.projects[1].line, 4);
}

TEST(ParseProjects, TakesEveryLineEndingAndAMark) {
  for (const char* const csv : {"ref\na\nb\n", "ref\r\na\r\nb\r\n", "ref\ra\rb\r", "ref\na\r\nb\r", "ref\na\nb",
                                "\xEF\xBB\xBFref\na\nb\n", "ref\n\na\n\n\nb\n\n"}) {
    const ParsedProjects parsed = ParseProjects(csv, "p.csv");
    EXPECT_EQ(FormatAll(parsed.problems), "");
    ASSERT_EQ(parsed.projects.size(), 2u) << csv;
    EXPECT_EQ(parsed.projects[1].ref, "b");
  }
}

TEST(ParseProjects, TakesAFormulaAsData) {
  const ParsedProjects parsed = ParseProjects("ref,note\na,=HYPERLINK(x)\n", "p.csv");
  EXPECT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.projects[0].attributes.at("note"), "=HYPERLINK(x)");
}

struct BadCsv {
  const char* what;
  std::string csv;
  std::vector<std::string> problems;
};

TEST(ParseProjects, NamesLineAndCodeOfEveryFault) {
  const std::string wide(64 * 1024 + 1, 'x');
  std::string long_row = "ref";
  std::string long_values = "a";
  for (int i = 0; i < 20; ++i) {
    long_row += ",c" + std::to_string(i);
    long_values += "," + std::string(60 * 1024, 'x');
  }
  std::string many_columns = "ref";
  for (int i = 0; i < 64; ++i) {
    many_columns += ",c" + std::to_string(i);
  }
  const BadCsv table[] = {
      {"empty", "", {"PGC-CSV-EMPTY:0"}},
      {"blank lines only", "\n\n", {"PGC-CSV-EMPTY:0"}},
      {"header only", "ref\n", {"PGC-CSV-EMPTY:0"}},
      {"no header", "p1,5\np2,6\n", {"PGC-CSV-HEADER:1 5", "PGC-CSV-HEADER:1"}},
      {"wrong header", "project\na\n", {"PGC-CSV-HEADER:1"}},
      {"header in capitals", "Ref\na\n", {"PGC-CSV-HEADER:1 Ref", "PGC-CSV-HEADER:1"}},
      {"duplicate column", "ref,a,a\nx,1,2\n", {"PGC-CSV-HEADER:1 a", "PGC-CSV-HEADER:1 a"}},
      {"unnamed column", "ref,\nx,1\n", {"PGC-CSV-HEADER:1"}},
      {"reserved column", "ref,verifier\nx,1\n", {"PGC-CSV-HEADER:1 verifier"}},
      {"semicolons", "ref;a\nx;1\n", {"PGC-CSV-HEADER:1"}},
      {"too many columns", many_columns + "\n", {"PGC-CSV-HEADER:1"}},
      {"too few fields", "ref,a\nx,1\ny\nz,1\n", {"PGC-CSV-FIELDS:3"}},
      {"too many fields", "ref,a\nx,1\ny,1,2\n", {"PGC-CSV-FIELDS:3"}},
      {"open quote", "ref,a\nx,1\ny,\"abc\nz,1\n", {"PGC-CSV-QUOTE:3"}},
      {"bare quote", "ref,a\nx,a\"b\ny,1\n", {"PGC-CSV-QUOTE:2"}},
      {"text after a quote", "ref,a\nx,\"a\"b\ny,1\n", {"PGC-CSV-QUOTE:2"}},
      {"NUL", std::string("ref\nab\nc\0d\n", 11), {"PGC-CSV-ENCODING:3"}},
      {"invalid UTF-8", "ref,a\nx,\xC3\n", {"PGC-CSV-ENCODING:2"}},
      {"UTF-16", std::string("\xFF\xFEr\0e\0f\0", 8), {"PGC-CSV-ENCODING:1"}},
      {"gzip", "\x1F\x8B\x08rest", {"PGC-CSV-COMPRESSED:0"}},
      {"spreadsheet", "PK\x03\x04rest", {"PGC-CSV-COMPRESSED:0"}},
      {"wide field", "ref,a\nx," + wide + "\ny,1\n", {"PGC-CSV-TOO-LARGE:2"}},
      {"wide quoted field", "ref,a\nx,\"" + wide + "\"\ny,1\n", {"PGC-CSV-TOO-LARGE:2"}},
      {"long row", long_row + "\n" + long_values + "\n", {"PGC-CSV-TOO-LARGE:2"}},
      {"duplicate", "ref\na\nb\na\n", {"PGC-CSV-DUPLICATE:4 ref"}},
      {"duplicate after folding", "ref\nabc\nAbc\n", {"PGC-CSV-REF:3 ref", "PGC-CSV-DUPLICATE:3 ref"}},
      {"duplicate after trimming", "ref\nabc\nabc \n", {"PGC-CSV-REF:3 ref", "PGC-CSV-DUPLICATE:3 ref"}},
      {"empty ref", "ref,a\n,1\n", {"PGC-CSV-REF:2 ref"}},
      {"long ref", "ref\n" + std::string(41, 'x') + "\n", {"PGC-CSV-REF:2 ref"}},
      {"bytes",
       "ref,estimated_bytes\na,1e3\nb,-1\nc,9223372036854775808\n",
       {"PGC-CSV-VALUE:2 estimated_bytes", "PGC-CSV-VALUE:3 estimated_bytes", "PGC-CSV-VALUE:4 estimated_bytes"}},
      {"several", "ref,a\nx,1\nX!,1\ny\nx,2\n", {"PGC-CSV-REF:3 ref", "PGC-CSV-FIELDS:4", "PGC-CSV-DUPLICATE:5 ref"}},
  };
  for (const BadCsv& bad : table) {
    const ParsedProjects parsed = ParseProjects(bad.csv, "p.csv");
    EXPECT_EQ(Brief(parsed.problems), bad.problems) << bad.what << "\n" << FormatAll(parsed.problems);
    EXPECT_FALSE(parsed.ok()) << bad.what;
  }
}

TEST(ParseProjects, RefusesHostileRefsAndShowsThemSafely) {
  for (const char* const ref :
       {"a';--", "a$$", "../a", "a%00", "a/b", "\xF0\x9F\x98\x80", "a\xE2\x80\xAE", "\xD0\xB0", "-a", "_a"}) {
    const ParsedProjects parsed = ParseProjects(std::string("ref\n") + ref + "\n", "p.csv");
    EXPECT_THAT(Brief(parsed.problems), ElementsAre("PGC-CSV-REF:2 ref")) << ref;
    EXPECT_THAT(FormatAll(parsed.problems), HasSubstr("allowed: [a-z0-9][a-z0-9_-]{0,39}"));
    EXPECT_THAT(FormatAll(parsed.problems), Not(HasSubstr("\xE2\x80\xAE")));
  }
  EXPECT_THAT(Brief(ParseProjects("ref\n\"a\nb\"\n", "p.csv").problems), ElementsAre("PGC-CSV-REF:2 ref"));
}

TEST(ParseProjects, NamesBothLinesOfADuplicate) {
  EXPECT_EQ(
      FormatAll(ParseProjects("ref\na\nb\na\n", "p.csv").problems),
      "error PGC-CSV-DUPLICATE p.csv:4 ref: the ref of line 2 occurs again in line 4; refs must differ by more than "
      "case and spaces\n");
}

TEST(ParseProjects, StopsAtAHundredProblems) {
  std::string csv = "ref\n";
  for (int i = 0; i < 300; ++i) {
    csv += "!" + std::to_string(i) + "\n";
  }
  EXPECT_EQ(ParseProjects(csv, "p.csv").problems.size(), kMaxProblems);
}

TEST(ParseProjects, TakesAMillionProjectsAndNoMore) {
  std::string csv = "ref\n";
  for (size_t i = 0; i < kMaxProjects; ++i) {
    csv += std::to_string(i) + "\n";
  }
  const ParsedProjects parsed = ParseProjects(csv + "one-more\n", "p.csv");
  EXPECT_EQ(parsed.projects.size(), kMaxProjects);
  EXPECT_THAT(Brief(parsed.problems), ElementsAre("PGC-CSV-TOO-MANY:1000002"));
}

TEST(LoadProjects, RefusesWhatIsNoReadableFile) {
  const testing::TempDir folder;
  EXPECT_THAT(Brief(LoadProjects(folder.path() + "/none").problems), ElementsAre("PGC-CSV-FILE:0"));
  EXPECT_THAT(Brief(LoadProjects(folder.path()).problems), ElementsAre("PGC-CSV-FILE:0"));
  EXPECT_THAT(Brief(LoadProjects("/dev/zero").problems), ElementsAre("PGC-CSV-FILE:0"));
  const std::string huge = folder.path() + "/huge.csv";
  std::FILE* const file = std::fopen(huge.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fclose(file);
  std::filesystem::resize_file(huge, (256u << 20) + 1);  // sparse
  EXPECT_THAT(Brief(LoadProjects(huge).problems), ElementsAre("PGC-CSV-TOO-LARGE:0"));
}

}  // namespace
}  // namespace pgconvoy::plan
