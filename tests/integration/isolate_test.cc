// The way that everything goes well, and the ways an operator steers it.
#include <gtest/gtest.h>

#include "tests/integration/fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

TEST(Isolate, MovesEveryProjectAndLeavesNothingBehind) {
  Fleet fleet({.projects = 6, .lease_ttl = "30s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  fleet.StartWorker("b");
  const std::string migration = fleet.Submit();
  const v1::Migration ended = fleet.WaitEnded(migration);
  EXPECT_EQ(ended.state(), v1::MIGRATION_SUCCEEDED) << ended.ShortDebugString();
  EXPECT_EQ(ended.projects_succeeded(), 6);
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
    EXPECT_EQ(fleet.GetProject(migration, ref).attempts(), 1) << ref << ": workers stood in each other's way";
  }
  EXPECT_EQ(fleet.Leftovers(), "");
}

// Once nothing is under way, the templates are removed; a worker must not rely on what it remembers of them.
TEST(Isolate, ALaterMigrationOnTheSameWorkerLaysTheTemplateAgain) {
  Fleet fleet({.projects = 2, .lease_ttl = "30s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  for (const std::string& ref : fleet.refs()) {
    const std::string migration = fleet.Submit({ref});
    EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
    EXPECT_EQ(fleet.GetProject(migration, ref).attempts(), 1);
    EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
    EXPECT_TRUE(Eventually([&] {
      return fleet.target().QueryValue("postgres", "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pgc_'") == "0";
    }));
  }
}

}  // namespace
}  // namespace pgconvoy::testing
