// When a worker last heard from the coordinator, and what that says about its right to go on. Correctness does not
// depend on it (the fences in the databases see to that); it only stops useless work early.
//
// Thread safety: none.
#pragma once

#include <cstdint>

#include "common/base/clock.h"

namespace pgconvoy::worker {

class Lease {
 public:
  explicit Lease(MonotonicMs now) : heard_(now) {}

  void Heard(MonotonicMs now);
  void SetTtl(MonotonicMs ttl_ms) { ttl_ms_ = ttl_ms; }
  // How often nothing was heard for so long that the coordinator may have given the work to somebody else. Work that
  // was granted before such a silence is lost, even if the coordinator was heard again since.
  int64_t Lapses(MonotonicMs now) const;

 private:
  bool Silent(MonotonicMs now) const;

  MonotonicMs heard_;
  MonotonicMs ttl_ms_ = 15'000;
  int64_t lapses_ = 0;
};

}  // namespace pgconvoy::worker
