// Time as an argument. The pure libraries take times; only the shells ask a Clock.
#pragma once

#include <cstdint>

namespace pgconvoy {

// Milliseconds. Monotonic times come from Clock::MonotonicMs and mean nothing outside the process; wall times are
// milliseconds since 1970-01-01 UTC and are for people and records only, never for decisions.
using MonotonicMs = int64_t;
using WallMs = int64_t;

// Thread safety: implementations may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicMs NowMonotonic() = 0;
  virtual WallMs NowWall() = 0;

  // The machine's clocks. Never destroyed.
  static Clock& System();
};

}  // namespace pgconvoy
