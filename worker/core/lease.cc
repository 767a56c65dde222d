#include "worker/core/lease.h"

namespace pgconvoy::worker {

void Lease::Heard(MonotonicMs now) {
  if (Silent(now)) {
    ++lapses_;
  }
  heard_ = now;
}

int64_t Lease::Lapses(MonotonicMs now) const { return lapses_ + (Silent(now) ? 1 : 0); }

bool Lease::Silent(MonotonicMs now) const {
  // A tenth is the margin for what is on its way.
  return now - heard_ > ttl_ms_ - ttl_ms_ / 10;
}

}  // namespace pgconvoy::worker
