// How fast something goes, smoothed, and when it will be done. Pure: the caller brings the time.
#pragma once

#include <cstdint>
#include <optional>

namespace pgconvoy::render {

// Thread safety: none.
class RateMeter {
 public:
  // What has been done up to now. A value that falls (retry, rollback) starts the measurement anew.
  void Add(int64_t now_ms, int64_t done);

  // Units a second; nothing before it is meaningful: 30 units, or 2 minutes and at least one unit.
  std::optional<double> PerSecond() const;
  // Milliseconds until `remaining` more units are done; nothing while there is no rate.
  std::optional<int64_t> EtaMs(int64_t remaining) const;

 private:
  bool started_ = false;
  int64_t first_ms_ = 0;
  int64_t first_done_ = 0;
  // The last point that went into the average.
  int64_t last_ms_ = 0;
  int64_t last_done_ = 0;
  std::optional<double> smoothed_;
};

// When a line of progress is due where nothing can be redrawn: at a change, at most once a second, and at least once
// a minute. Thread safety: none.
class LinePacer {
 public:
  bool Due(int64_t now_ms, bool changed);

 private:
  std::optional<int64_t> last_ms_;
  bool pending_ = false;
};

}  // namespace pgconvoy::render
