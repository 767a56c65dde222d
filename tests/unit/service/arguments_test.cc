#include "coordinator/service/arguments.h"

#include <gtest/gtest.h>

#include "common/plan/plan.h"
#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::service {
namespace {

TEST(ConvertSubmission, TakesFromThePlanWhatTheCoreNeeds) {
  const auto parsed = plan::ParsePlan(plan::kSamplePlan, "sample.yaml");
  ASSERT_TRUE(parsed.ok());
  v1::SubmitHeader header;
  header.set_request_id("r");
  const core::MigrationSpec spec = ToSpec(parsed.plan, header);
  EXPECT_EQ(spec.name, "sample");
  EXPECT_EQ(spec.plan_json, plan::CanonicalJson(parsed.plan));
  EXPECT_EQ(spec.phases.front(), Phase::kFence);
  EXPECT_EQ(spec.phases.back(), Phase::kCleanup);
  ASSERT_EQ(spec.limits.size(), 2u);
  EXPECT_EQ(spec.limits[0].server, "isolated");
  EXPECT_EQ(spec.limits[0].max_projects, 8);
  EXPECT_EQ(spec.batch_size, 10);
  EXPECT_TRUE(spec.rollback_on_failure);
  header.set_batch_size(3);
  EXPECT_EQ(ToSpec(parsed.plan, header).batch_size, 3);

  v1::ProjectSpec project;
  project.set_ref("acme");
  (*project.mutable_attributes())["b"] = "2";
  (*project.mutable_attributes())["a"] = "\"1\"";
  const auto input = ToInput(project, parsed.plan);
  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_EQ(input->attributes_json, R"({"a":"\"1\"","b":"2"})");
  EXPECT_EQ(input->source_server, "shared");
  EXPECT_EQ(input->target_server, "isolated");
}

TEST(ConvertPage, KeepsPagesWithinTheirLimits) {
  EXPECT_EQ(ToPage(0, "")->size, kDefaultPageSize);
  EXPECT_EQ(ToPage(7, "")->size, 7);
  EXPECT_EQ(ToPage(1'000'000, "")->size, kMaxPageSize);
  EXPECT_FALSE(ToPage(-1, "").ok());
}

}  // namespace
}  // namespace pgconvoy::service
