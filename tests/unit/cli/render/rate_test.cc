#include "cli/render/rate.h"

#include <gtest/gtest.h>

namespace pgconvoy::render {
namespace {

RateMeter Steady(int64_t units_per_second, int64_t seconds) {
  RateMeter meter;
  for (int64_t s = 0; s <= seconds; ++s) {
    meter.Add(s * 1000, 500 + s * units_per_second);
  }
  return meter;
}

TEST(RateMeter, SaysNothingBeforeItIsMeaningful) {
  EXPECT_FALSE(Steady(1, 29).PerSecond());
  EXPECT_TRUE(Steady(1, 30).PerSecond());
  EXPECT_FALSE(Steady(0, 600).PerSecond()) << "nothing was done, so there is no rate";
}

TEST(RateMeter, SlowWorkGetsARateAfterTwoMinutes) {
  RateMeter meter;
  meter.Add(0, 0);
  meter.Add(60'000, 1);
  EXPECT_FALSE(meter.PerSecond());
  meter.Add(120'000, 2);
  EXPECT_TRUE(meter.PerSecond());
}

TEST(RateMeter, MeasuresWhatWasDoneSinceItLooked) { EXPECT_NEAR(*Steady(20, 300).PerSecond(), 20, 0.1); }

TEST(RateMeter, FollowsAChangeOfPaceWithinMinutes) {
  RateMeter meter = Steady(20, 300);
  for (int64_t s = 301; s <= 480; ++s) {
    meter.Add(s * 1000, 500 + 300 * 20 + (s - 300) * 5);
  }
  EXPECT_NEAR(*meter.PerSecond(), 5, 1);
}

TEST(RateMeter, BeginsAnewWhenTheCountFalls) {
  RateMeter meter = Steady(20, 300);
  meter.Add(301'000, 10);
  EXPECT_FALSE(meter.PerSecond());
}

TEST(RateMeter, PredictsFromRateAndRemainder) {
  EXPECT_EQ(Steady(20, 60).EtaMs(200), 10'000);
  EXPECT_EQ(Steady(20, 60).EtaMs(-5), 0);
  EXPECT_FALSE(RateMeter().EtaMs(10));
}

TEST(LinePacer, WritesChangesAtMostOnceASecondButLosesNone) {
  LinePacer pacer;
  EXPECT_TRUE(pacer.Due(0, true));
  EXPECT_FALSE(pacer.Due(400, true));
  EXPECT_FALSE(pacer.Due(800, false));
  EXPECT_TRUE(pacer.Due(1000, false)) << "the change at 400 is still owed";
  EXPECT_FALSE(pacer.Due(2000, false));
}

TEST(LinePacer, WritesOnceAMinuteWithoutAChange) {
  LinePacer pacer;
  EXPECT_TRUE(pacer.Due(0, true));
  EXPECT_FALSE(pacer.Due(59'999, false));
  EXPECT_TRUE(pacer.Due(60'000, false));
}

}  // namespace
}  // namespace pgconvoy::render
