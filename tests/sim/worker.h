// A worker process: its link, its lease and the projects that it holds. The lease, the numbered reports, what an
// attempt waits for and how it ends are production code (worker/core); what stands around them is a model of
// worker/runner.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/core/core.h"
#include "tests/sim/network.h"
#include "tests/sim/simulation.h"
#include "worker/core/lease.h"

namespace pgconvoy::sim {

class Attempt;

class Worker {
 public:
  Worker(Simulation& sim, int index);
  ~Worker();

  bool alive() const { return alive_; }
  // It never comes back.
  bool gone = false;
  int index() const { return index_; }
  uint64_t life() const { return life_; }
  void Start();
  // kill -9.
  void Crash();
  // SIGSTOP and, later, SIGCONT: what its servers were told goes on meanwhile.
  void Pause(MonotonicMs until);
  bool Holds(const std::string& ref) const;
  MonotonicMs StoppedFor() const { return Paused() ? paused_until_ - sim_.time.now() : 0; }
  // Takes nothing new, finishes what runs, and starts again as another process.
  void Drain();

  void Receive(StreamId stream, const std::vector<ToWorker>& messages);
  void StreamEnded(StreamId stream);

  // ---- for attempts
  // Sends a report; one that can wait leaves with the next that cannot, or a little later.
  void Send(const core::WorkerReport& report, bool can_wait);
  int64_t Lapses() const { return lease_.Lapses(Mono()); }
  // Continues the attempt of that number, if it is still there, as soon as the process runs.
  void Answer(uint64_t attempt, const struct Reply& reply);
  // Lets the attempt look, once nothing of it is on the stack any more.
  void LookSoon(uint64_t attempt);
  // Removes it likewise, if it has ended.
  void SweepSoon(const Attempt& attempt);

 private:
  MonotonicMs Mono() const { return sim_.time.now() + mono_offset_; }
  bool Paused() const { return sim_.time.now() < paused_until_; }
  template <typename F>
  void Later(MonotonicMs delay, F action);
  void Connect();
  void Reconnect();
  void Pulse();
  void Flush();
  template <typename Body>
  void Push(Body&& body);
  void GiveBack(const core::HeldProject& held);
  void Handle(const ToWorker& message);
  void OnGrant(const core::SendGrant& grant, const std::vector<History>& histories);
  void OnAck(const core::SendAck& ack);
  void OnRevoke(const core::SendRevoke& revoke);
  void FillSlots();
  void Sweep();
  Attempt* Find(const std::string& ref, Fence fence);

  Simulation& sim_;
  const int index_;
  const std::string id_;
  bool alive_ = false;
  bool draining_ = false;
  // Grows with every process; what was planned for an older one is void.
  uint64_t life_ = 0;
  MonotonicMs paused_until_ = 0;
  MonotonicMs mono_offset_ = 0;
  MonotonicMs retry_ms_ = 100;
  worker::Lease lease_{0};
  std::optional<StreamId> stream_;
  std::vector<core::Event> outbox_;
  bool flush_planned_ = false;
  bool sweep_planned_ = false;
  uint64_t attempts_ = 0;
  // In the order in which they were granted.
  std::deque<std::unique_ptr<Attempt>> held_;
};

}  // namespace pgconvoy::sim
