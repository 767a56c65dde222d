// A coordinator against clients that do not keep to the protocol. The tables are in hostile_client_test.py, because
// Debian's Python sends bytes that no C++ client can be made to send.
#include <gtest/gtest.h>

#include "tests/integration/installation.h"

namespace pgconvoy::testing {
namespace {

TEST(HostileClient, IsRefusedWithACodeAndHarmsNobody) {
  Installation installation("3s");
  installation.StartCoordinator();
  const Finished done = RunToEnd({.argv = {"/usr/bin/python3", SourceFile("tests/integration/hostile_client_test.py"),
                                           installation.address(), std::to_string(installation.coordinator().pid())}},
                                 std::chrono::seconds(300));
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_TRUE(installation.coordinator().Running());
}

}  // namespace
}  // namespace pgconvoy::testing
