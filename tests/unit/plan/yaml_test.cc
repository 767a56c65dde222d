#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ParsePlan, FindsNoProblemInTheSample) {
  const ParsedPlan parsed = ParsePlan(kSamplePlan, "plan.yaml");
  EXPECT_EQ(FormatAll(parsed.problems), "");
  EXPECT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.plan.servers().at("shared").registrar().password(), "${file:/run/secrets/registrar}");
  EXPECT_EQ(parsed.plan.tables(1).exclude_columns(0), "cache");
  EXPECT_EQ(parsed.plan.cutover().set().at("database_name"), "{database}");
  EXPECT_EQ(parsed.plan.checks(0).place(), v1::Check::TARGET);
  EXPECT_EQ(parsed.plan.execution().batch_size(), 10);
}

struct BadText {
  const char* what;
  std::string text;
  std::vector<std::string> problems;
};

std::string Repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) {
    out += text;
  }
  return out;
}

TEST(ParsePlan, RefusesTextThatIsNoPlainYaml) {
  const std::string nul = std::string("version: 1\nname: a") + '\0' + "b\n";
  const BadText table[] = {
      {"empty", "", {"PGC-PLAN-EMPTY:0"}},
      {"comments only", "# nothing\n\n", {"PGC-PLAN-EMPTY:0"}},
      {"null", "~\n", {"PGC-PLAN-EMPTY:0"}},
      {"list", "- a\n", {"PGC-PLAN-ROOT:1"}},
      {"scalar", "\nhello\n", {"PGC-PLAN-ROOT:2"}},
      {"open bracket", "version: 1\nservers: [a, b\n", {"PGC-PLAN-SYNTAX:3"}},
      {"colon in a value", "version: 1\nname: a: b\n", {"PGC-PLAN-SYNTAX:2"}},
      {"second document", "version: 1\n---\nname: b\n", {"PGC-PLAN-DOCUMENTS:2"}},
      {"text after the end", "version: 1\n...\nname: b\n", {"PGC-PLAN-DOCUMENTS:3"}},
      {"undefined alias", "version: 1\nname: *a\n", {"PGC-PLAN-ANCHOR:2"}},
      {"tab", "servers:\n\ta:\n", {"PGC-PLAN-TAB:2"}},
      {"tab after spaces", "servers:\n  a:\n  \tb: 1\n", {"PGC-PLAN-TAB:3"}},
      {"tab in a flow list", "servers: [a,\n\tb]\n", {"PGC-PLAN-TAB:2"}},
      {"deep lists", "version: " + Repeat("[", 100'000), {"PGC-PLAN-DEPTH:1"}},
      {"deep mappings", "version: " + Repeat("{", 100'000), {"PGC-PLAN-DEPTH:1"}},
      {"deep dashes", Repeat("- ", 40) + "a\n", {"PGC-PLAN-DEPTH:1"}},
      {"NUL", nul, {"PGC-PLAN-ENCODING:2"}},
      {"invalid UTF-8", "version: 1\n\nname: \xFF\n", {"PGC-PLAN-ENCODING:3"}},
      {"control character", "version: 1\nname: a\x04\n", {"PGC-PLAN-ENCODING:2"}},
      {"UTF-16 with mark", std::string("\xFF\xFEv\0e\0", 6), {"PGC-PLAN-ENCODING:1"}},
      {"UTF-16 without mark", std::string("v\0e\0", 4), {"PGC-PLAN-ENCODING:1"}},
      {"too large", "# " + std::string(kMaxPlanBytes, 'x'), {"PGC-PLAN-TOO-LARGE:0"}},
  };
  for (const BadText& bad : table) {
    const ParsedPlan parsed = ParsePlan(bad.text, "plan.yaml");
    EXPECT_EQ(Brief(parsed.problems), bad.problems) << bad.what << "\n" << FormatAll(parsed.problems);
    EXPECT_FALSE(parsed.ok()) << bad.what;
  }
}

// One change of the sample, and the one problem it must lead to.
struct BadEdit {
  const char* old_text;
  const char* new_text;
  const char* code;
  // Text whose line must be named.
  const char* at;
  const char* field;
};

void ExpectProblem(const BadEdit& bad) {
  const std::string text = SampleWith(bad.old_text, bad.new_text);
  const ParsedPlan parsed = ParsePlan(text, "plan.yaml");
  const std::string field = bad.field[0] == '\0' ? "" : std::string(" ") + bad.field;
  EXPECT_THAT(Brief(parsed.problems), ElementsAre(bad.code + (":" + std::to_string(LineOf(text, bad.at))) + field))
      << bad.new_text << "\n"
      << FormatAll(parsed.problems);
}

TEST(ParsePlan, RefusesYamlThatMeansMoreThanItShows) {
  const BadEdit table[] = {
      {"name: sample", "name: &n sample", "PGC-PLAN-ANCHOR", "&n", ""},
      {"exclude_columns: [cache]", "exclude_columns: &x [cache]", "PGC-PLAN-ANCHOR", "&x", ""},
      {"  batch_size: 10", "  <<: {batch_size: 10}", "PGC-PLAN-ANCHOR", "<<", ""},
      {"name: sample", "name: !!str sample", "PGC-PLAN-TAG", "!!str", ""},
      {"name: sample", "name: ! sample", "PGC-PLAN-TAG", "! sample", ""},
      {"name: sample", "name: !!python/object sample", "PGC-PLAN-TAG", "!!python", ""},
      {"[cache]", "!!seq [cache]", "PGC-PLAN-TAG", "!!seq", ""},
      {"name: sample", "name: sample\n'name': other", "PGC-PLAN-DUPLICATE-KEY", "other", ""},
      {"    conninfo: host=db2", "    conninfo: host=db2\n    \"conninfo\": host=db3", "PGC-PLAN-DUPLICATE-KEY",
       "host=db3", ""},
      {"name: sample", "name: sample\n? [a]\n: b", "PGC-PLAN-KEY", "? [a]", ""},
      {"name: sample", "name: sample\ndescription: \"a\\0b\"", "PGC-PLAN-ENCODING", "a\\0b", ""},
  };
  for (const BadEdit& bad : table) {
    ExpectProblem(bad);
  }
}

TEST(ParsePlan, NamesBothLinesOfADuplicateKey) {
  const ParsedPlan parsed = ParsePlan(SampleWith("name: sample", "name: sample\nname: other"), "p.yaml");
  EXPECT_EQ(FormatAll(parsed.problems),
            "error PGC-PLAN-DUPLICATE-KEY p.yaml:3:1: the key \"name\" of line 2 occurs again in line 3; remove one "
            "of them\n");
  EXPECT_EQ(parsed.plan.name(), "sample");
}

TEST(ParsePlan, RefusesAliasesWithoutFollowingThem) {
  const ParsedPlan self = ParsePlan(SampleWith("[cache]", "&x [*x]"), "plan.yaml");
  EXPECT_THAT(Brief(self.problems), ElementsAre("PGC-PLAN-ANCHOR:44", "PGC-PLAN-ANCHOR:44"))
      << FormatAll(self.problems);

  std::string bomb = "version: 1\na0: &a0 [x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string inner = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + inner;
    for (int j = 1; j < 9; ++j) {
      bomb += ", " + inner;
    }
    bomb += "]\n";
  }
  const ParsedPlan parsed = ParsePlan(bomb, "plan.yaml");
  EXPECT_FALSE(parsed.ok());
  EXPECT_LE(parsed.problems.size(), kMaxProblems);
}

TEST(ParsePlan, RefusesKeysAndTypesThatThePlanDoesNotHave) {
  const BadEdit table[] = {
      {"execution:\n", "parallelizm: 3\nexecution:\n", "PGC-PLAN-UNKNOWN-KEY", "parallelizm", "parallelizm"},
      {"    where: project_ref = {ref}\n", "    wher: project_ref = {ref}\n", "PGC-PLAN-UNKNOWN-KEY",
       "wher:", "tables[0].wher"},
      {"      user: provisioner", "      user: provisioner\n      pass: x", "PGC-PLAN-UNKNOWN-KEY", "pass: x",
       "servers.isolated.provisioner.pass"},
      {"version: 1", "version: one", "PGC-PLAN-TYPE", "one", "version"},
      {"version: 1", "version: \"1\"", "PGC-PLAN-TYPE", "version", "version"},
      {"version: 1", "version: [1]", "PGC-PLAN-TYPE", "[1]", "version"},
      {"version: 1", "version: 01", "PGC-PLAN-TYPE", "01", "version"},
      {"batch_size: 10", "batch_size: many", "PGC-PLAN-TYPE", "many", "execution.batch_size"},
      {"batch_size: 10", "batch_size: no", "PGC-PLAN-TYPE", "batch_size", "execution.batch_size"},
      {"batch_size: 10", "batch_size: 012", "PGC-PLAN-TYPE", "012", "execution.batch_size"},
      {"batch_size: 10", "batch_size: 1_000", "PGC-PLAN-TYPE", "1_000", "execution.batch_size"},
      {"batch_size: 10", "batch_size: 1e3", "PGC-PLAN-TYPE", "1e3", "execution.batch_size"},
      {"batch_size: 10", "batch_size: 12:30", "PGC-PLAN-TYPE", "12:30", "execution.batch_size"},
      {"batch_size: 10", "batch_size: 0x10", "PGC-PLAN-TYPE", "0x10", "execution.batch_size"},
      {"batch_size: 10", "batch_size: 3.5", "PGC-PLAN-TYPE", "3.5", "execution.batch_size"},
      {"batch_size: 10", "batch_size: .nan", "PGC-PLAN-TYPE", ".nan", "execution.batch_size"},
      {"batch_size: 10", "batch_size: .inf", "PGC-PLAN-TYPE", ".inf", "execution.batch_size"},
      {"batch_size: 10", "batch_size: true", "PGC-PLAN-TYPE", "batch_size", "execution.batch_size"},
      {"batch_size: 10", "batch_size: 0", "PGC-PLAN-RANGE", "batch_size", "execution.batch_size"},
      {"batch_size: 10", "batch_size: -1", "PGC-PLAN-RANGE", "batch_size", "execution.batch_size"},
      {"batch_size: 10", "batch_size: 2147483648", "PGC-PLAN-RANGE", "batch_size", "execution.batch_size"},
      {"batch_size: 10", "batch_bytes: 9223372036854775808", "PGC-PLAN-RANGE", "batch_bytes",
       "execution.batch_bytes"},
      {"batch_size: 10", "batch_size:", "PGC-PLAN-NULL", "batch_size", "execution.batch_size"},
      {"batch_size: 10", "batch_size: ~", "PGC-PLAN-NULL", "batch_size", "execution.batch_size"},
      {"execution:\n  batch_size: 10\n", "execution:\n", "PGC-PLAN-NULL", "execution", "execution"},
      {"name: sample", "name: null", "PGC-PLAN-NULL", "name: null", "name"},
      {"name: sample", "name: {a: b}", "PGC-PLAN-TYPE", "{a: b}", "name"},
      {"batch_size: 10", "on_failure: rollback", "PGC-PLAN-ENUM", "on_failure", "execution.on_failure"},
      {"batch_size: 10", "on_failure: ON_FAILURE_UNSPECIFIED", "PGC-PLAN-ENUM", "on_failure", "execution.on_failure"},
      {"stage: POST", "stage: 2", "PGC-PLAN-ENUM", "stage: 2", "checks[0].stage"},
      {"freeze:\n", "freeze:\n  confirmed_by_operator: yes\n", "PGC-PLAN-TYPE", "confirmed",
       "freeze.confirmed_by_operator"},
      {"freeze:\n", "freeze:\n  confirmed_by_operator: True\n", "PGC-PLAN-TYPE", "confirmed",
       "freeze.confirmed_by_operator"},
      {"freeze:\n", "freeze:\n  confirmed_by_operator: \"true\"\n", "PGC-PLAN-TYPE", "confirmed",
       "freeze.confirmed_by_operator"},
      {"freeze:\n", "freeze:\n  confirmed_by_operator: 1\n", "PGC-PLAN-TYPE", "confirmed",
       "freeze.confirmed_by_operator"},
      {"schemas: [auth, storage]", "schemas: auth", "PGC-PLAN-TYPE", "schemas: auth", "target.schemas"},
      {"[cache]", "[cache, ~]", "PGC-PLAN-NULL", "[cache, ~]", "tables[1].exclude_columns[1]"},
      {"  - from: storage.objects.owner\n    to: auth.users.id", "  - storage.objects.owner", "PGC-PLAN-TYPE",
       "  - storage.objects.owner", "links[0]"},
      {"  set:\n    database_name: \"{database}\"\n    password_hash: \"{verifier}\"", "  set: [a]", "PGC-PLAN-TYPE",
       "set: [a]", "cutover.set"},
  };
  for (const BadEdit& bad : table) {
    ExpectProblem(bad);
  }
}

TEST(ParsePlan, SuggestsTheKeyThatWasMeant) {
  const ParsedPlan parsed =
      ParsePlan(SampleWith("    where: project_ref = {ref}\n", "    wher: project_ref = {ref}\n"), "p.yaml");
  EXPECT_THAT(FormatAll(parsed.problems),
              "error PGC-PLAN-UNKNOWN-KEY p.yaml:41:5 tables[0].wher: unknown key; did you mean \"where\"?\n");
}

TEST(ParsePlan, NamesTheAcceptedForms) {
  const auto text = [](const char* old_text, const char* new_text) {
    return FormatAll(ParsePlan(SampleWith(old_text, new_text), "p.yaml").problems);
  };
  EXPECT_THAT(text("batch_size: 10", "batch_size: 1e3"),
              HasSubstr("\"1e3\" is not a plain decimal number; write digits only"));
  EXPECT_THAT(text("stage: POST", "stage: AFTER"), HasSubstr("allowed: PRE, POST"));
  EXPECT_THAT(text("freeze:\n", "freeze:\n  confirmed_by_operator: no\n"), HasSubstr("write true or false"));
}

TEST(ParsePlan, TakesAnyScalarWhereTextIsWanted) {
  const ParsedPlan parsed = ParsePlan(SampleWith("name: sample", "name: 012\ndescription: no"), "plan.yaml");
  EXPECT_EQ(FormatAll(parsed.problems), "");
  EXPECT_EQ(parsed.plan.name(), "012");
  EXPECT_EQ(parsed.plan.description(), "no");
}

TEST(ParsePlan, ReportsAllProblemsInTheOrderOfTheFile) {
  std::string text = SampleWith("batch_size: 10", "batch_size: many\n  bogus: 1");
  text.replace(text.find("name: sample"), 12, "name: Sample");
  text.replace(text.find("host=db2"), 8, "dbname=x");
  EXPECT_THAT(Brief(ParsePlan(text, "plan.yaml").problems),
              ElementsAre("PGC-PLAN-NAME:2 name", "PGC-PLAN-CONNINFO:13 servers.isolated.conninfo",
                          "PGC-PLAN-TYPE:61 execution.batch_size", "PGC-PLAN-UNKNOWN-KEY:62 execution.bogus"));
}

TEST(ParsePlan, StopsAtAHundredProblems) {
  std::string text = kSamplePlan;
  for (int i = 0; i < 300; ++i) {
    text += "  bogus" + std::to_string(i) + ": 1\n";
  }
  EXPECT_EQ(ParsePlan(text, "plan.yaml").problems.size(), kMaxProblems);
}

TEST(ParsePlan, TakesByteOrderMarksAndEveryLineEnding) {
  const std::string sample = kSamplePlan;
  std::string crlf = "\xEF\xBB\xBF";
  std::string cr;
  for (const char c : sample) {
    crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
    cr += c == '\n' ? '\r' : c;
  }
  for (const std::string& text : {crlf, cr, "---\n" + sample, sample + "...\n"}) {
    const ParsedPlan parsed = ParsePlan(text, "plan.yaml");
    EXPECT_EQ(FormatAll(parsed.problems), "");
    EXPECT_EQ(PlanHash(parsed.plan), PlanHash(ParsePlan(sample, "plan.yaml").plan));
  }
}

TEST(ParsePlan, KeepsTabsInsideBlockText) {
  const ParsedPlan parsed =
      ParsePlan(SampleWith("  where: status = 'active'", "  where: |\n    status\n    \t= 'active'"), "plan.yaml");
  EXPECT_EQ(FormatAll(parsed.problems), "");
  EXPECT_EQ(parsed.plan.registry().where(), "status\n\t= 'active'\n");
}

TEST(ParsePlan, NeverShowsAValueThatMayBeASecret) {
  const char* const places[][2] = {{"password: ${env:READER}", "password: hunter2"},
                                   {"password: ${env:READER}", "password: [hunter2]"},
                                   {"password: ${env:READER}", "password: \"hunter2${env:READER}\""},
                                   {"host=db1 port=5432", "host=db1 password=hunter2"},
                                   {"host=db1 port=5432", "postgresql://me:hunter2@db1"},
                                   {"host=db1 port=5432", "host=db1 password='a hunter2"},
                                   {"${env:RECIPIENT}", "hunter2"}};
  for (const auto& [old_text, new_text] : places) {
    const ParsedPlan parsed = ParsePlan(SampleWith(old_text, new_text), "plan.yaml");
    EXPECT_FALSE(parsed.ok()) << new_text;
    EXPECT_THAT(FormatAll(parsed.problems), Not(HasSubstr("hunter2")));
  }
}

TEST(Format, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(Format({"", 0, 0, "", "PGC-X", "bad", "", false}), "error PGC-X: bad");
  EXPECT_EQ(Format({"", 0, 0, "name", "PGC-X", "bad", "fix it", true}), "warning PGC-X name: bad; fix it");
  EXPECT_EQ(Format({"a.csv", 7, 0, "", "PGC-X", "bad", "", false}), "error PGC-X a.csv:7: bad");
}

TEST(Format, EscapesWhatCouldForgeALine) {
  EXPECT_EQ(Format({"a\nb", 1, 2, "f\x1B", "PGC-X", "m\n", "", false}), "error PGC-X a\\x0ab:1:2 f\\x1b: m\\x0a");
}

}  // namespace
}  // namespace pgconvoy::plan
