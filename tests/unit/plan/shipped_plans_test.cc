#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

std::filesystem::path PlansFolder() {
  const char* const source = std::getenv("PGCONVOY_SOURCE_DIR");
  return std::filesystem::path(source == nullptr ? "." : source) / "plans";
}

TEST(ShippedPlans, HaveNoProblem) {
  int plans = 0;
  for (const auto& entry : std::filesystem::directory_iterator(PlansFolder())) {
    if (entry.path().extension() == ".yaml") {
      EXPECT_EQ(FormatAll(LoadPlan(entry.path()).problems), "");
      ++plans;
    }
  }
  EXPECT_GE(plans, 3);
}

TEST(ShippedPlans, IsolateProjectsMovesAuthAndStorage) {
  const v1::Plan plan = LoadPlan(PlansFolder() / "isolate-projects.yaml").plan;
  EXPECT_EQ(plan.name(), "isolate-projects");
  EXPECT_EQ(plan.tables_size(), 5);
  EXPECT_EQ(plan.links_size(), 2);
  EXPECT_EQ(plan.target().database(), "project_{ref}");
  EXPECT_EQ(plan.cutover().set().at("database_password_hash"), "{verifier}");
  EXPECT_EQ(plan.registry().where(), "status = 'active'");
  for (const v1::Table& table : plan.tables()) {
    EXPECT_EQ(table.where(), "project_ref = {ref}") << table.table();
  }
}

}  // namespace
}  // namespace pgconvoy::plan
