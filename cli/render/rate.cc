#include "cli/render/rate.h"

#include <algorithm>
#include <cmath>

namespace pgconvoy::render {
namespace {

constexpr int64_t kSampleMs = 1'000;
// Time constant of the average: bursts of a batch are smoothed, a change of pace shows within two minutes.
constexpr double kSmoothingMs = 60'000;
constexpr int64_t kMeaningfulUnits = 30;
constexpr int64_t kMeaningfulMs = 120'000;
constexpr int64_t kLeastLineMs = 1'000;
constexpr int64_t kMostLineMs = 60'000;

}  // namespace

void RateMeter::Add(int64_t now_ms, int64_t done) {
  if (!started_ || done < last_done_) {
    *this = RateMeter();
    started_ = true;
    first_ms_ = last_ms_ = now_ms;
    first_done_ = last_done_ = done;
    return;
  }
  const int64_t passed = now_ms - last_ms_;
  if (passed < kSampleMs) {
    return;
  }
  const double rate = static_cast<double>(done - last_done_) * 1000 / static_cast<double>(passed);
  const double weight = 1 - std::exp(-static_cast<double>(passed) / kSmoothingMs);
  // The plain mean until the average has seen one time constant, or the first sample would rule it.
  const double mean = static_cast<double>(done - first_done_) * 1000 / static_cast<double>(now_ms - first_ms_);
  const bool young = static_cast<double>(now_ms - first_ms_) < kSmoothingMs;
  smoothed_ = young || !smoothed_ ? mean : *smoothed_ + weight * (rate - *smoothed_);
  last_ms_ = now_ms;
  last_done_ = done;
}

std::optional<double> RateMeter::PerSecond() const {
  const int64_t units = last_done_ - first_done_;
  const bool meaningful = units >= kMeaningfulUnits || (units > 0 && last_ms_ - first_ms_ >= kMeaningfulMs);
  return meaningful ? smoothed_ : std::nullopt;
}

std::optional<int64_t> RateMeter::EtaMs(int64_t remaining) const {
  const std::optional<double> rate = PerSecond();
  if (!rate || *rate <= 0) {
    return std::nullopt;
  }
  const double ms = static_cast<double>(std::max<int64_t>(remaining, 0)) / *rate * 1000;
  // Beyond a century it is no prediction.
  return ms > 3.2e12 ? std::nullopt : std::optional(static_cast<int64_t>(ms));
}

bool LinePacer::Due(int64_t now_ms, bool changed) {
  pending_ = pending_ || changed;
  const int64_t passed = last_ms_ ? now_ms - *last_ms_ : kMostLineMs;
  if (passed < kLeastLineMs || (!pending_ && passed < kMostLineMs)) {
    return false;
  }
  last_ms_ = now_ms;
  pending_ = false;
  return true;
}

}  // namespace pgconvoy::render
