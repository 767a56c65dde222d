#include "common/plan/project_check.h"

#include "common/base/error.h"
#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

ProjectCheck CheckFor(const std::string& yaml = kSamplePlan) {
  const ParsedPlan parsed = ParsePlan(yaml, "sample.yaml");
  EXPECT_TRUE(parsed.ok()) << FormatAll(parsed.problems);
  return ProjectCheck(parsed.plan);
}

TEST(ProjectCheck, TakesProjectsThatFit) {
  ProjectCheck check = CheckFor();
  EXPECT_EQ(check.Add("a", {{"owner_id", "7"}}), absl::OkStatus());
  EXPECT_EQ(check.Add("b", {{"owner_id", "7"}, {"unused", ""}}), absl::OkStatus());
}

TEST(ProjectCheck, NamesTheProjectTheAttributeAndTheFieldThatUsesIt) {
  ProjectCheck check = CheckFor();
  EXPECT_EQ(
      Describe(check.Add("a", {{"owner", "7"}})),
      "PGC-PLAN-PLACEHOLDER: project a has no attribute owner_id, which tables[1].where uses; give every project "
      "an attribute of this name, in the registry or in the CSV");
}

TEST(ProjectCheck, LooksIntoEveryTemplateOfThePlan) {
  const std::pair<const char*, const char*> uses[] = {
      {"database: platform\nregistry", "database: \"{x}\"\nregistry"},
      {"database: project_{ref}", "database: project_{ref}_{x}"},
      {"user: project_{ref}", "user: project_{ref}_{x}"},
      {"SET frozen = true", "SET frozen = {x}"},
      {"SET frozen = false", "SET frozen = {x}"},
      {"where: project_ref = {ref}", "where: project_ref = {x}"},
      {"\"{database}\"", "\"{database}{x}\""},
      {"SELECT count(*) > 0", "SELECT count(*) > {x}"},
  };
  for (const auto& [old, with_attribute] : uses) {
    ProjectCheck check = CheckFor(SampleWith(old, with_attribute));
    EXPECT_EQ(CodeOf(check.Add("a", {{"owner_id", "7"}})), "PGC-PLAN-PLACEHOLDER") << with_attribute;
    EXPECT_EQ(check.Add("b", {{"owner_id", "7"}, {"x", "1"}}), absl::OkStatus()) << with_attribute;
  }
}

TEST(ProjectCheck, RefusesTwoProjectsThatWouldShareADatabase) {
  ProjectCheck check = CheckFor(SampleWith("database: project_{ref}", "database: tenant_{owner_id}"));
  EXPECT_EQ(check.Add("a", {{"owner_id", "7"}}), absl::OkStatus());
  EXPECT_EQ(check.Add("b", {{"owner_id", "8"}}), absl::OkStatus());
  EXPECT_EQ(Describe(check.Add("c", {{"owner_id", "7"}})),
            "PGC-PLAN-COLLISION: projects a and c would both get the database \"tenant_7\"; put {ref} into "
            "target.database, or give the projects different attributes");
}

TEST(ProjectCheck, RefusesTwoProjectsThatWouldShareALogin) {
  ProjectCheck check = CheckFor(SampleWith("user: project_{ref}", "user: \"{ref}{owner_id}\""));
  EXPECT_EQ(check.Add("a1", {{"owner_id", "2"}}), absl::OkStatus());
  const absl::Status status = check.Add("a", {{"owner_id", "12"}});
  EXPECT_EQ(CodeOf(status), "PGC-PLAN-COLLISION");
  EXPECT_NE(MessageOf(status).find("projects a1 and a would both get the login \"a12\""), std::string::npos);
}

TEST(ProjectCheck, LetsProjectsShareTheirSource) {
  ProjectCheck check = CheckFor(SampleWith("database: platform\nregistry", "database: \"{owner_id}\"\nregistry"));
  EXPECT_EQ(check.Add("a", {{"owner_id", "7"}}), absl::OkStatus());
  EXPECT_EQ(check.Add("b", {{"owner_id", "7"}}), absl::OkStatus());
}

TEST(ProjectCheck, RefusesANameThatPostgresqlWouldCut) {
  ProjectCheck check = CheckFor(SampleWith("database: project_{ref}", "database: \"{owner_id}_{ref}\""));
  const absl::Status status = check.Add("a", {{"owner_id", std::string(62, 'x')}});
  EXPECT_EQ(CodeOf(status), "PGC-PLAN-NAME");
  EXPECT_NE(MessageOf(status).find("project a, target.database"), std::string::npos) << MessageOf(status);
}

TEST(ProjectCheck, RefusesAnAttributeThatWouldHideAPlaceholderOfThePlan) {
  for (const std::string name : {"ref", "database", "user", "verifier"}) {
    EXPECT_EQ(CodeOf(CheckFor().Add("a", {{"owner_id", "7"}, {name, "x"}})), "PGC-PLAN-ATTRIBUTE") << name;
  }
}

TEST(ProjectCheck, RefusesAServerThatThePlanDoesNotHave) {
  ProjectCheck check = CheckFor(SampleWith("target:\n  server: isolated", "target:\n  server: \"{owner_id}\""));
  EXPECT_EQ(check.Add("a", {{"owner_id", "isolated"}}), absl::OkStatus());
  const absl::Status unknown = check.Add("b", {{"owner_id", "isolate"}});
  EXPECT_EQ(CodeOf(unknown), "PGC-PLAN-SERVER");
  EXPECT_EQ(RemedyOf(unknown), "did you mean \"isolated\"?");
  EXPECT_EQ(CodeOf(check.Add("c", {{"owner_id", "shared"}})), "PGC-PLAN-LOGIN");
}

TEST(ProjectCheck, KeepsApartWhatIsOnDifferentServers) {
  const std::string two =
      SampleWith("  isolated:\n", "  other:\n    conninfo: host=db3\n    provisioner:\n      user: p\n  isolated:\n");
  std::string text = two;
  const auto replace = [&text](const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
  };
  replace("target:\n  server: isolated\n  database: project_{ref}",
          "target:\n  server: \"{owner_id}\"\n  database: \"t{x}\"");
  ProjectCheck check = CheckFor(text);
  EXPECT_EQ(check.Add("a", {{"owner_id", "isolated"}, {"x", "1"}}), absl::OkStatus());
  EXPECT_EQ(check.Add("b", {{"owner_id", "other"}, {"x", "1"}}), absl::OkStatus());
  EXPECT_EQ(CodeOf(check.Add("c", {{"owner_id", "other"}, {"x", "1"}})), "PGC-PLAN-COLLISION");
}

TEST(ProjectCheck, RefusesTwoProjectsThatWouldMoveTheSameWholeDatabase) {
  std::string text = SampleWith("    where: project_ref = {ref}\n", "");
  text.replace(text.find("database: platform"), 18, "database: \"{x}\"");
  ProjectCheck check = CheckFor(text);
  EXPECT_EQ(check.Add("a", {{"owner_id", "7"}, {"x", "one"}}), absl::OkStatus());
  EXPECT_EQ(CodeOf(check.Add("b", {{"owner_id", "7"}, {"x", "one"}})), "PGC-PLAN-COLLISION");
}

}  // namespace
}  // namespace pgconvoy::plan
