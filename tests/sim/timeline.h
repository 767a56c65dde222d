// Virtual time: what happens next, and the fingerprint of everything that has happened.
//
// Two things at the same time happen in the order in which they were planned, so a run is a function of its seed.
// Thread safety: none.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/base/clock.h"

namespace pgconvoy::sim {

class Timeline {
 public:
  Timeline() = default;
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;
  ~Timeline() {
    for (const Due& due : heap_) {
      slots_[due.slot]->call(*slots_[due.slot], false);
    }
  }

  MonotonicMs now() const { return now_; }
  uint64_t steps() const { return steps_; }
  // Equal for equal histories.
  uint64_t trace() const { return trace_; }
  // Something worth telling histories apart by.
  void Note(uint64_t value) { trace_ = (trace_ ^ value) * 0x100000001b3ULL + (trace_ >> 47); }

  template <typename F>
  void At(MonotonicMs time, F action) {
    static_assert(sizeof(F) <= kRoom && alignof(F) <= alignof(std::max_align_t), "capture less");
    const uint32_t slot = TakeSlot();
    Slot& taken = *slots_[slot];
    new (taken.room) F(std::move(action));
    taken.call = [](Slot& self, bool run) {
      F* const held = std::launder(reinterpret_cast<F*>(self.room));
      // Out of the slot first: what runs may plan more, and so take it.
      F moved(std::move(*held));
      held->~F();
      if (run) {
        moved();
      }
    };
    heap_.push_back({std::max(time, now_), planned_++, slot});
    std::push_heap(heap_.begin(), heap_.end(), Later());
  }
  template <typename F>
  void After(MonotonicMs delay, F action) {
    At(now_ + delay, std::move(action));
  }

  // Lets the next thing happen; false when there is none.
  bool Step() {
    if (heap_.empty()) {
      return false;
    }
    std::pop_heap(heap_.begin(), heap_.end(), Later());
    const Due due = heap_.back();
    heap_.pop_back();
    now_ = due.time;
    ++steps_;
    Note(static_cast<uint64_t>(due.time) * 0x9e3779b97f4a7c15ULL + due.order);
    free_.push_back(due.slot);
    slots_[due.slot]->call(*slots_[due.slot], true);
    return true;
  }

 private:
  static constexpr size_t kRoom = 152;
  struct Slot {
    alignas(std::max_align_t) std::byte room[kRoom];
    void (*call)(Slot&, bool run) = nullptr;
  };
  struct Due {
    MonotonicMs time;
    uint64_t order;
    uint32_t slot;
  };
  struct Later {
    bool operator()(const Due& a, const Due& b) const {
      return a.time != b.time ? a.time > b.time : a.order > b.order;
    }
  };

  uint32_t TakeSlot() {
    if (free_.empty()) {
      slots_.push_back(std::make_unique<Slot>());
      return static_cast<uint32_t>(slots_.size() - 1);
    }
    const uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }

  MonotonicMs now_ = 0;
  uint64_t planned_ = 0;
  uint64_t steps_ = 0;
  uint64_t trace_ = 0xcbf29ce484222325ULL;
  std::vector<Due> heap_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace pgconvoy::sim
