#include "common/base/clock.h"

#include <chrono>

namespace pgconvoy {
namespace {

class SystemClock : public Clock {
 public:
  MonotonicMs NowMonotonic() override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  WallMs NowWall() override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace

Clock& Clock::System() {
  static SystemClock* const clock = new SystemClock;
  return *clock;
}

}  // namespace pgconvoy
