// Plans that change a database in place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

using ::testing::ElementsAre;

constexpr char kInPlace[] = R"(version: 1
name: in-place
servers:
  apps:
    conninfo: host=db1
    reader:
      user: reader
    transformer:
      user: owner
      settings:
        storage.allow_delete_query: "true"
source:
  server: apps
  database: app_{ref}
tables:
  - table: public.users
    columns:
      - name: role
        values:
          boss: admin
        on_unmapped: KEEP
      - name: email
        expression: lower(email)
  - table: public.sessions
    unchanged: true
transform:
  prepare:
    - apply: ALTER TABLE public.users DROP CONSTRAINT c
      undo: ALTER TABLE public.users ADD CONSTRAINT c CHECK (true)
  changes:
    - DELETE FROM public.users WHERE name = {ref}
  policies:
    - table: public.users
      create:
        - CREATE POLICY all_of_them ON public.users USING (true)
backup:
  directory: /var/backups/pgconvoy
)";

struct Case {
  const char* old_text;
  const char* new_text;
  // "PGC-X field" of each problem.
  std::vector<std::string> problems;
};

std::vector<std::string> ProblemsOf(const std::string& text) {
  std::vector<std::string> found;
  for (const Problem& problem : ParsePlan(text, "plan.yaml").problems) {
    found.push_back(problem.code + " " + problem.field);
  }
  return found;
}

TEST(ValidateTransform, AcceptsAPlanInPlace) { EXPECT_EQ(FormatAll(ParsePlan(kInPlace, "plan.yaml").problems), ""); }

TEST(ValidateTransform, NamesWhatIsWrong) {
  const Case table[] = {
      {"    transformer:\n      user: owner\n      settings:\n        storage.allow_delete_query: \"true\"\n",
       "",
       {"PGC-PLAN-LOGIN servers.apps.transformer"}},
      {"storage.allow_delete_query",
       "search_path",
       {"PGC-PLAN-SETTING servers.apps.transformer.settings.search_path"}},
      {"backup:\n  directory: /var/backups/pgconvoy\n", "", {"PGC-PLAN-REQUIRED backup"}},
      {"        expression: lower(email)\n", "", {"PGC-PLAN-COLUMN tables[0].columns[1]"}},
      {"        expression: lower(email)\n",
       "        expression: lower(email\n",
       {"PGC-PLAN-TEMPLATE tables[0].columns[1].expression"}},
      {"      - name: email\n", "      - name: role\n", {"PGC-PLAN-DUPLICATE tables[0].columns[1].name"}},
      {"        expression: lower(email)\n",
       "        expression: lower(email)\n        on_unmapped: FAIL\n",
       {"PGC-PLAN-COLUMN tables[0].columns[1].on_unmapped"}},
      {"        on_unmapped: KEEP\n",
       "        on_unmapped: MAYBE\n",
       {"PGC-PLAN-ENUM tables[0].columns[0].on_unmapped"}},
      {"      undo: ALTER TABLE public.users ADD CONSTRAINT c CHECK (true)\n",
       "",
       {"PGC-PLAN-REQUIRED transform.prepare[0].undo"}},
      {"        - CREATE POLICY all_of_them ON public.users USING (true)\n",
       "        - DROP TABLE public.users\n",
       {"PGC-PLAN-POLICY transform.policies[0].create[0]"}},
      {"    - DELETE FROM public.users WHERE name = {ref}\n",
       "    - DELETE FROM public.users WHERE name = '{ref}'\n",
       {"PGC-PLAN-TEMPLATE transform.changes[0]"}},
  };
  for (const Case& bad : table) {
    std::string text = kInPlace;
    const size_t at = text.find(bad.old_text);
    ASSERT_NE(at, std::string::npos) << bad.old_text;
    text.replace(at, std::string(bad.old_text).size(), bad.new_text);
    EXPECT_EQ(ProblemsOf(text), bad.problems) << bad.new_text;
  }
}

TEST(ValidateTransform, RefusesATargetBesideIt) {
  const std::string text = SampleWith("links:\n", "transform:\n  changes:\n    - SELECT 1\nlinks:\n");
  EXPECT_THAT(ProblemsOf(text), ::testing::Contains("PGC-PLAN-TRANSFORM transform"));
}

TEST(ValidateTransform, KeepsSkipBackupForPlansThatDoNotCopy) {
  EXPECT_THAT(ProblemsOf(SampleWith("execution:\n", "execution:\n  skip_backup: true\n")),
              ElementsAre("PGC-PLAN-RANGE execution.skip_backup"));
}

}  // namespace
}  // namespace pgconvoy::plan
