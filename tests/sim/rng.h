// The only source of chance in a schedule. The same seed gives the same numbers, whatever the platform.
//
// Thread safety: none.
#pragma once

#include <cstdint>

namespace pgconvoy::sim {

// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    uint64_t value = state_;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
  }
  // From 0 up to, but without, `limit`, which is above 0.
  int64_t Below(int64_t limit) {
    // 32 bits of chance are plenty, and their product is taken apart without a division.
    return static_cast<int64_t>(((Next() >> 32) * static_cast<uint64_t>(limit)) >> 32);
  }
  int64_t Between(int64_t from, int64_t to) { return from + Below(to - from + 1); }
  // With this chance in a thousand.
  bool PerMille(int64_t chance) { return chance > 0 && Below(1000) < chance; }

 private:
  uint64_t state_;
};

}  // namespace pgconvoy::sim
