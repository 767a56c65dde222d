// The way that everything goes well, and the ways an operator steers it.
#include <gtest/gtest.h>

#include "tests/integration/fleet.h"

namespace pgconvoy::testing {
namespace {

TEST(Isolate, MovesEveryProjectAndLeavesNothingBehind) {
  Fleet fleet({.projects = 6});
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  fleet.StartWorker("b");
  const std::string migration = fleet.Submit();
  const v1::Migration ended = fleet.WaitEnded(migration);
  EXPECT_EQ(ended.state(), v1::MIGRATION_SUCCEEDED) << ended.ShortDebugString();
  EXPECT_EQ(ended.projects_succeeded(), 6);
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
  }
  EXPECT_EQ(fleet.Leftovers(), "");
}

}  // namespace
}  // namespace pgconvoy::testing
