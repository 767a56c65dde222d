#include "common/base/arguments.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace pgconvoy {
namespace {

TEST(WithEnvironment, PutsVariablesBeforeArgumentsAndReversesAll) {
  constexpr EnvironmentFlag kFlags[] = {{"--one", "PGCONVOY_TEST_ONE"}, {"--two", "PGCONVOY_TEST_TWO"}};
  ::setenv("PGCONVOY_TEST_ONE", "1", 1);
  ::setenv("PGCONVOY_TEST_TWO", "", 1);
  const char* const argv[] = {"program", "--one", "2"};
  EXPECT_EQ(WithEnvironment(kFlags, 3, argv), (std::vector<std::string>{"2", "--one", "--one=1"}));
  ::unsetenv("PGCONVOY_TEST_ONE");
  ::unsetenv("PGCONVOY_TEST_TWO");
}

}  // namespace
}  // namespace pgconvoy
