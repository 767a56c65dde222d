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

TEST(WhyNoNumber, TakesPlainDecimalsWithinTheRangeAlone) {
  for (const char* const good : {"0", "1", "64"}) {
    EXPECT_EQ(WhyNoNumber(good, 0, 64), "") << good;
  }
  for (const char* const bad : {"", "-1", "65", "1000000000", "99999999999999999999", "3.5", "0x10", "010", "+1",
                                "1e1", " 1", "1 ", "1_0", "one", "\xD9\xA1"}) {
    EXPECT_NE(WhyNoNumber(bad, 0, 64), "") << bad;
  }
  EXPECT_EQ(WhyNoNumber("0x10", 1, 64), "\"0x10\" is not a whole number from 1 to 64");
}

TEST(HoldsPassword, FindsItInEveryFormThatLibpqTakes) {
  for (const char* const bad : {"--store=host=db1 password=x", "host=db1 password = x", "host=db1 password\t='a b'",
                                "sslpassword=x", "postgresql://me:x@db1/store", "postgres://db1/store?password=x"}) {
    EXPECT_TRUE(HoldsPassword(bad)) << bad;
  }
  for (const char* const good : {"", "host=db1 user=me passfile=/run/pass", "postgresql://me@db1:5432/store",
                                 "postgresql://db1:5432/store", "embedded:/var/lib/me@here", "127.0.0.1:7070"}) {
    EXPECT_FALSE(HoldsPassword(good)) << good;
  }
}

}  // namespace
}  // namespace pgconvoy
