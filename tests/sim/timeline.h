// Virtual time: what happens next, and the fingerprint of everything that has happened.
//
// Two things at the same time happen in the order in which they were planned, so a run is a function of its seed.
// Thread safety: none.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
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
    for (const Due& due : far_) {
      Call(due.slot, false);
    }
    for (size_t i = 0; i < kNear; ++i) {
      for (size_t j = i == IndexOf(now_) ? done_ : 0; j < near_[i].size(); ++j) {
        Call(near_[i][j].slot, false);
      }
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
      if (run) {
        (*held)();
      }
      held->~F();
    };
    const Due due{std::max(time, now_), planned_++, slot};
    if (due.time < now_ + static_cast<MonotonicMs>(kNear)) {
      PutNear(due);
    } else {
      far_.push_back(due);
      std::push_heap(far_.begin(), far_.end(), Later());
    }
  }
  template <typename F>
  void After(MonotonicMs delay, F action) {
    At(now_ + delay, std::move(action));
  }

  // Lets the next thing happen; false when there is none.
  bool Step() {
    if (done_ == near_[IndexOf(now_)].size() && !Advance()) {
      return false;
    }
    const Due due = near_[IndexOf(now_)][done_++];
    ++steps_;
    Note(static_cast<uint64_t>(due.time) * 0x9e3779b97f4a7c15ULL + due.order);
    // What runs may plan more: its slot is taken until it has run.
    Call(due.slot, true);
    free_.push_back(due.slot);
    return true;
  }

 private:
  static constexpr size_t kRoom = 152;
  static constexpr size_t kNear = 64;
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

  static size_t IndexOf(MonotonicMs time) { return static_cast<size_t>(time) % kNear; }
  void Call(uint32_t slot, bool run) { slots_[slot]->call(*slots_[slot], run); }
  void PutNear(const Due& due) {
    near_[IndexOf(due.time)].push_back(due);
    occupied_ |= uint64_t{1} << IndexOf(due.time);
  }

  // To the next moment at which something is due; false when there is none.
  bool Advance() {
    near_[IndexOf(now_)].clear();
    occupied_ &= ~(uint64_t{1} << IndexOf(now_));
    done_ = 0;
    if (occupied_ != 0) {
      now_ += std::countr_zero(std::rotr(occupied_, static_cast<int>(IndexOf(now_))));
    } else if (!far_.empty()) {
      now_ = far_.front().time;
    } else {
      return false;
    }
    while (!far_.empty() && far_.front().time < now_ + static_cast<MonotonicMs>(kNear)) {
      std::pop_heap(far_.begin(), far_.end(), Later());
      PutNear(far_.back());
      far_.pop_back();
    }
    return true;
  }

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
  // What is due in the next milliseconds, a list for each, in the order in which it was planned: what waits in `far_`
  // gets here before anything later can be put beside it.
  std::array<std::vector<Due>, kNear> near_;
  // Bit i: near_[i] is not empty.
  uint64_t occupied_ = 0;
  // How much of the present list has happened.
  size_t done_ = 0;
  // The rest: a heap with the next on top.
  std::vector<Due> far_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace pgconvoy::sim
