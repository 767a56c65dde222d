#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ApplyDefaults, FillsEveryDocumentedDefault) {
  v1::Plan plan;
  (*plan.mutable_servers())["a"];
  plan.mutable_backup();
  plan.add_checks();
  ApplyDefaults(plan);
  EXPECT_EQ(plan.servers().at("a").max_projects(), 8);
  EXPECT_EQ(plan.servers().at("a").control_database(), "pgconvoy");
  EXPECT_EQ(plan.backup().compression_level(), 1);
  EXPECT_EQ(plan.backup().chunk_bytes(), 8'388'608);
  EXPECT_EQ(plan.backup().retention_days(), 30);
  EXPECT_EQ(plan.checks(0).severity(), v1::Check::ERROR);
  EXPECT_EQ(plan.execution().batch_size(), 20);
  EXPECT_EQ(plan.execution().batch_bytes(), 1'073'741'824);
  EXPECT_EQ(plan.execution().max_attempts(), 8);
  EXPECT_EQ(plan.execution().initial_backoff_ms(), 500);
  EXPECT_EQ(plan.execution().max_backoff_ms(), 30'000);
  EXPECT_EQ(plan.execution().phase_timeout_ms(), 300'000);
  EXPECT_EQ(plan.execution().jobs(), 4);
  EXPECT_EQ(plan.execution().on_failure(), v1::Execution::ROLLBACK);
}

TEST(ApplyDefaults, MakesNoSectionThatDecidesOnAPhase) {
  v1::Plan plan;
  ApplyDefaults(plan);
  EXPECT_FALSE(plan.has_backup());
  EXPECT_FALSE(plan.has_target());
  EXPECT_FALSE(plan.has_freeze());
}

TEST(ApplyDefaults, KeepsWhatIsSetAndIsIdempotent) {
  v1::Plan plan;
  plan.mutable_execution()->set_batch_size(3);
  ApplyDefaults(plan);
  EXPECT_EQ(plan.execution().batch_size(), 3);
  v1::Plan again = plan;
  ApplyDefaults(again);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(plan, again));
}

TEST(CanonicalJson, HasFieldOrderSortedKeysAndNoSpaces) {
  v1::Plan plan;
  plan.set_name("x");
  plan.set_version(1);
  for (const char* const key : {"zeta", "alpha", "mid"}) {
    (*plan.mutable_cutover()->mutable_set())[key] = "1";
  }
  EXPECT_EQ(CanonicalJson(plan),
            "{\"version\":1,\"name\":\"x\",\"cutover\":{\"set\":{\"alpha\":\"1\",\"mid\":\"1\",\"zeta\":\"1\"}},"
            "\"execution\":{\"batch_size\":20,\"batch_bytes\":\"1073741824\",\"max_attempts\":8,"
            "\"initial_backoff_ms\":\"500\",\"max_backoff_ms\":\"30000\",\"on_failure\":\"ROLLBACK\","
            "\"phase_timeout_ms\":\"300000\",\"jobs\":4}}");
}

TEST(CanonicalJson, ComesBackAsTheSamePlan) {
  const v1::Plan plan = ParsePlan(kSamplePlan, "p.yaml").plan;
  const auto back = PlanFromJson(CanonicalJson(plan));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(plan, *back));
  EXPECT_EQ(CanonicalJson(*back), CanonicalJson(plan));
}

TEST(PlanHash, DependsOnContentAlone) {
  const v1::Plan sample = ParsePlan(kSamplePlan, "p.yaml").plan;
  EXPECT_EQ(PlanHash(sample).size(), 64u);
  const std::string reordered = "name: sample\n" + SampleWith("name: sample\n", "# a comment\n");
  EXPECT_EQ(PlanHash(ParsePlan(reordered, "q.yaml").plan), PlanHash(sample));
  EXPECT_NE(PlanHash(ParsePlan(SampleWith("batch_size: 10", "batch_size: 11"), "p.yaml").plan), PlanHash(sample));
}

TEST(PlanHash, IsTheSameWithAndWithoutDefaults) {
  v1::Plan plan;
  const std::string before = PlanHash(plan);
  ApplyDefaults(plan);
  EXPECT_EQ(PlanHash(plan), before);
}

TEST(PlanFromJson, RefusesWhatIsNoPlan) {
  for (const char* const json : {"", "[]", "7", "{", "{\"bogus\":1}", "{\"version\":\"x\"}", "{\"version\":1}x",
                                 "{\"execution\":{\"on_failure\":\"MAYBE\"}}"}) {
    EXPECT_EQ(CodeOf(PlanFromJson(json).status()), "PGC-PLAN-JSON") << json;
  }
  EXPECT_EQ(CodeOf(PlanFromJson(std::string(4 * kMaxPlanBytes + 1, ' ')).status()), "PGC-PLAN-TOO-LARGE");
}

TEST(PlanFromJson, ShowsNoValue) {
  for (const char* const json : {"{\"servers\":{\"a\":{\"reader\":{\"password\":{\"hunter2\":\"hunter2\"}}}}}",
                                 "{\"version\":\"hunter2\"}", "{\"name\":\"hunter2\" x}", "{\"name\":hunter2}"}) {
    EXPECT_THAT(Describe(PlanFromJson(json).status()), Not(HasSubstr("hunter2"))) << json;
  }
  EXPECT_THAT(Describe(PlanFromJson("{\"bogus\":1}").status()), HasSubstr("bogus"));
}

}  // namespace
}  // namespace pgconvoy::plan
