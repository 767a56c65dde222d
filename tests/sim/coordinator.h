// A coordinator process: the production core inside a model of its runtime (coordinator/runtime/runtime.h). It gathers
// events into groups, applies the next group while one is being committed, and lets nothing out before its group is
// durable; when the store fails or leaves it in doubt, the term ends and the core is built anew under a new epoch.
//
// Thread safety: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "coordinator/core/core.h"
#include "tests/sim/network.h"
#include "tests/sim/simulation.h"

namespace pgconvoy::sim {

// The request of the one submission, which is repeated until it is answered.
inline constexpr int64_t kSubmitRequest = 1;

class Coordinator {
 public:
  Coordinator(Simulation& sim, int index) : sim_(sim), index_(index) {}

  bool alive() const { return alive_; }
  bool leading() const { return core_ != nullptr; }

  // The process starts and takes the lead, whoever has it.
  void Start();
  // kill -9. What the store has been sent may still be carried out.
  void Crash();
  // SIGSTOP and, later, SIGCONT.
  void Pause(MonotonicMs until) {
    paused_until_ = until;
    sim_.last_leftover = std::max(sim_.last_leftover, until);
  }
  // Another leader ends this one's session of the store.
  void LoseStoreSession() { ++session_; }

  void Receive(StreamId stream, int worker, std::vector<core::Event> events);
  void StreamEnded(StreamId stream);
  // From an operator, who gets no answer when this process does not lead.
  void Ask(const core::Event& event);

  // Whether it has answered that the migration exists.
  bool submitted() const { return submitted_; }

 private:
  struct Group {
    // How many events are in it, and the streams that ended in it.
    int64_t events = 0;
    std::vector<StreamId> gone;
    core::Output output;

    // Of a group without writes.
    void Clear() {
      events = 0;
      gone.clear();
      output.messages.clear();
      output.replies.clear();
      output.reconciles.clear();
    }
  };

  core::TimePoint Now() const { return {sim_.time.now() + mono_offset_, sim_.Wall()}; }
  bool Paused() const { return sim_.time.now() < paused_until_; }
  // Calls `action` after `delay`, later if the process is stopped then, never if it has died or lost its term by then.
  template <typename F>
  void Later(MonotonicMs delay, F action);

  void Lead();
  void BeginTerm();
  void EndTerm();
  void WakeSoon();
  // One round of the runtime's loop.
  void Turn();
  bool MustWait(const core::Event& event) const;
  void Apply(const core::Event& event, core::TimePoint now);
  void CloseGroup();
  void PlanTick();
  void Commit();
  void Committed();
  void CommitFailed();
  // Takes the messages out of it.
  void Deliver(Group& group);
  std::vector<History> HistoriesFor(const core::SendGrant& grant) const;
  void CheckCore();

  Simulation& sim_;
  const int index_;
  bool alive_ = false;
  bool submitted_ = false;
  // Grows whenever what was planned for this process no longer concerns it.
  uint64_t life_ = 0;
  MonotonicMs paused_until_ = 0;
  MonotonicMs mono_offset_ = 0;
  MonotonicMs retry_ms_ = 100;

  // The present term. `epoch_` stays, to tell whether somebody else has led since.
  std::unique_ptr<core::Core> core_;
  int64_t epoch_ = 0;
  bool led_before_ = false;
  uint64_t session_ = 0;
  std::set<StreamId> streams_;
  // In the pieces in which they came.
  std::vector<std::vector<core::Event>> queue_;
  Group pending_;
  std::unique_ptr<Group> committing_;
  bool wake_planned_ = false;
  std::optional<MonotonicMs> tick_planned_;
  MonotonicMs lead_proven_ = 0;
};

}  // namespace pgconvoy::sim
