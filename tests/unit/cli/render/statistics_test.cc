#include "cli/render/statistics.h"

#include <gtest/gtest.h>

namespace pgconvoy::render {
namespace {

TEST(Statistics, PercentilesAreSamples) {
  std::vector<int64_t> samples;
  for (int64_t i = 100; i > 0; --i) {
    samples.push_back(i * 10);
  }
  const Summary summary = Summarize(samples);
  EXPECT_EQ(summary.count, 100);
  EXPECT_EQ(summary.mean, 505);
  EXPECT_EQ(summary.p50, 500);
  EXPECT_EQ(summary.p95, 950);
  EXPECT_EQ(summary.max, 1000);
}

TEST(Statistics, FewSamplesAreEnough) {
  EXPECT_EQ(Summarize({}).count, 0);
  EXPECT_EQ(Summarize({7}).p50, 7);
  EXPECT_EQ(Summarize({7}).p95, 7);
  EXPECT_EQ(Summarize({1, 9}).p50, 1);
  EXPECT_EQ(Summarize({1, 9}).p95, 9);
}

TEST(Statistics, NoShareOfNothing) {
  EXPECT_EQ(Percent(2, 3), "66.7 %");
  EXPECT_EQ(Percent(0, 3), "0.0 %");
  EXPECT_EQ(Percent(0, 0), "-");
}

}  // namespace
}  // namespace pgconvoy::render
