// A third-party program against a live fleet: gRPC of another language, which learns everything by reflection.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/integration/fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// What the program has printed under `key`, in order.
std::vector<Json> Printed(const std::string& path, const std::string& key) {
  std::vector<Json> values;
  std::istringstream lines(ReadFile(path));
  for (std::string line; std::getline(lines, line) && !lines.eof();) {
    if (const Json object = Json::parse(line); object.contains(key)) {
      values.push_back(object[key]);
    }
  }
  return values;
}

TEST(PythonClient, FollowsAMigrationToItsEndKnowingOnlyTheAddress) {
  Fleet fleet({.projects = 4});
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  const std::string out = fleet.folder() + "/client.out";
  const std::string err = fleet.folder() + "/client.err";
  Process client(
      {.argv = {"/usr/bin/python3",
                std::string(std::getenv("PGCONVOY_SOURCE_DIR")) + "/tests/integration/python_client_test.py",
                fleet.address()},
       .stdout_path = out,
       .stderr_path = err});
  // Nothing moves before it watches, so that it sees the beginning, too.
  ASSERT_TRUE(Eventually([&] { return !Printed(out, "watched").empty() || !client.Running(); }));
  ASSERT_TRUE(client.Running()) << ReadFile(err);
  fleet.StartWorker("a");
  ASSERT_EQ(client.Wait(std::chrono::seconds(120)), 0) << ReadFile(err);

  const Json services = Printed(out, "services").at(0);
  EXPECT_THAT(services, Contains("pgconvoy.v1.MigrationService"));
  EXPECT_THAT(services, Contains("pgconvoy.v1.WorkerService"));
  EXPECT_EQ(Printed(out, "migrations").at(0), Json({migration}));

  const std::vector<Json> watched = Printed(out, "watched");
  EXPECT_EQ(watched.front()["projects_pending"], "4");
  EXPECT_EQ(watched.front()["state"], "MIGRATION_RUNNING");
  EXPECT_EQ(watched.back()["projects_succeeded"], "4");
  EXPECT_EQ(watched.back()["state"], "MIGRATION_SUCCEEDED");

  const Json projects = Printed(out, "projects").at(0);
  std::vector<std::string> refs;
  for (const Json& project : projects) {
    EXPECT_EQ(project["state"], "SUCCEEDED");
    refs.push_back(project["ref"]);
  }
  EXPECT_EQ(refs, fleet.refs());
  EXPECT_EQ(Printed(out, "workers").at(0).at(0)["id"], "a");

  const Json error = Printed(out, "error").at(0);
  EXPECT_EQ(error["status"], "NOT_FOUND");
  EXPECT_THAT(error["details"].get<std::string>(), HasSubstr("PGC-"));
}

}  // namespace
}  // namespace pgconvoy::testing
