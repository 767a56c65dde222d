#include "common/base/clock.h"

#include <gtest/gtest.h>

namespace pgconvoy {
namespace {

TEST(SystemClock, NeverRunsBackwards) {
  MonotonicMs last = Clock::System().NowMonotonic();
  for (int i = 0; i < 1000; ++i) {
    const MonotonicMs now = Clock::System().NowMonotonic();
    EXPECT_GE(now, last);
    last = now;
  }
}

TEST(SystemClock, CountsWallTimeInMillisecondsOfUnixTime) {
  constexpr WallMs kStartOf2020 = 1'577'836'800'000;
  constexpr WallMs kStartOf2200 = 7'258'118'400'000;
  EXPECT_GT(Clock::System().NowWall(), kStartOf2020);
  EXPECT_LT(Clock::System().NowWall(), kStartOf2200);
}

}  // namespace
}  // namespace pgconvoy
