#include "cli/render/statistics.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace pgconvoy::render {
namespace {

int64_t Percentile(const std::vector<int64_t>& sorted, size_t percent) {
  const size_t rank = (sorted.size() * percent + 99) / 100;
  return sorted[rank - 1];
}

}  // namespace

Summary Summarize(std::vector<int64_t> samples) {
  if (samples.empty()) {
    return {};
  }
  std::sort(samples.begin(), samples.end());
  const auto count = static_cast<int64_t>(samples.size());
  const int64_t sum = std::accumulate(samples.begin(), samples.end(), int64_t{0});
  return {count, sum / count, Percentile(samples, 50), Percentile(samples, 95), samples.back()};
}

std::string Percent(int64_t part, int64_t whole) {
  if (whole == 0) {
    return "-";
  }
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return buffer;
}

}  // namespace pgconvoy::render
