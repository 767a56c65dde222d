// Figures about many durations. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pgconvoy::render {

struct Summary {
  int64_t count = 0;
  int64_t mean = 0;
  int64_t p50 = 0;
  int64_t p95 = 0;
  int64_t max = 0;
};

// All 0 for no samples. Percentiles are samples: the smallest that at least so many per cent do not exceed.
Summary Summarize(std::vector<int64_t> samples);

// "98.0 %", "-" when `whole` is 0.
std::string Percent(int64_t part, int64_t whole);

}  // namespace pgconvoy::render
