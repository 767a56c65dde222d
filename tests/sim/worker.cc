#include "tests/sim/worker.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/base/planted.h"
#include "tests/sim/attempt.h"
#include "tests/sim/coordinator.h"

namespace pgconvoy::sim {
namespace {

constexpr MonotonicMs kFirstBackoffMs = 100;
constexpr MonotonicMs kMaxBackoffMs = 2'000;
constexpr MonotonicMs kHeartbeatMs = 1'000;
constexpr MonotonicMs kGatherMs = 20;
// That leave at once.
constexpr size_t kUsualEvents = 4;

}  // namespace

Worker::Worker(Simulation& sim, int index) : sim_(sim), index_(index), id_("w" + std::to_string(index)) {}

Worker::~Worker() = default;

template <typename F>
void Worker::Later(MonotonicMs delay, F action) {
  sim_.time.After(delay, [this, life = life_, action = std::move(action)]() mutable {
    if (life != life_) {
      return;
    }
    if (Paused()) {
      Later(StoppedFor(), std::move(action));
      return;
    }
    action();
  });
}

template <typename Body>
void Worker::Push(Body&& body) {
  if (stream_.has_value()) {
    using Plain = std::remove_cvref_t<Body>;
    outbox_.reserve(kUsualEvents);
    core::Event& event = outbox_.emplace_back(std::in_place_type<Plain>, std::forward<Body>(body));
    std::get<Plain>(event).stream = *stream_;
  }
}

// ---- the process -----------------------------------------------------------------------------------------------

void Worker::Start() {
  sim_.judge.Tell(sim_.time.now(), id_, "starts");
  ++life_;
  alive_ = true;
  draining_ = false;
  paused_until_ = 0;
  mono_offset_ = sim_.rng.Between(0, 1'000'000);
  lease_ = worker::Lease(Mono());
  retry_ms_ = kFirstBackoffMs;
  Connect();
  Later(sim_.rng.Between(1, kHeartbeatMs), [this] { Pulse(); });
}

void Worker::Crash() {
  sim_.judge.Tell(sim_.time.now(), id_, "dies");
  ++life_;
  alive_ = false;
  held_.clear();
  outbox_.clear();
  flush_planned_ = false;
  sweep_planned_ = false;
  if (stream_.has_value()) {
    sim_.network->CloseByWorker(*std::exchange(stream_, std::nullopt));
  }
}

void Worker::Pause(MonotonicMs until) {
  sim_.judge.Tell(sim_.time.now(), id_, "stops until", until);
  paused_until_ = until;
  sim_.last_leftover = std::max(sim_.last_leftover, until);
}

void Worker::Drain() {
  sim_.judge.Tell(sim_.time.now(), id_, "drains");
  draining_ = true;
  Push(core::WorkerHeartbeat{{}, true});
  core::WorkerRelease release;
  for (const auto& attempt : held_) {
    if (!attempt->running()) {
      release.projects.push_back(attempt->Held());
    }
  }
  std::erase_if(held_, [](const auto& attempt) { return !attempt->running(); });
  Push(std::move(release));
  Flush();
}

// ---- the link --------------------------------------------------------------------------------------------------

void Worker::Connect() {
  const int coordinator = static_cast<int>(sim_.rng.Below(kCoordinators));
  if (sim_.network->IsIsolated(index_) || !sim_.coordinators[static_cast<size_t>(coordinator)]->leading()) {
    Reconnect();
    return;
  }
  stream_ = sim_.network->Connect(index_, coordinator);
  sim_.judge.Tell(sim_.time.now(), id_, "connects by", stream_->value);
  core::WorkerHello hello;
  hello.stream = *stream_;
  hello.worker_id = id_;
  hello.incarnation = std::to_string(life_);
  hello.version = "1";
  hello.slots = sim_.config.slots;
  hello.draining = draining_;
  std::vector<core::Event> events;
  for (const auto& attempt : held_) {
    hello.held.push_back(attempt->Held());
  }
  events.emplace_back(std::move(hello));
  sim_.network->ToCoordinator(*stream_, std::exchange(events, {}));
  for (const auto& attempt : held_) {
    if (PGC_PLANTED(kUnacknowledgedForgotten)) {
      break;
    }
    for (core::Event& event : attempt->Unacknowledged()) {
      std::get<core::WorkerReport>(event).stream = *stream_;
      events.push_back(std::move(event));
    }
  }
  outbox_.clear();
  if (!events.empty()) {
    sim_.network->ToCoordinator(*stream_, std::move(events));
  }
}

void Worker::Reconnect() {
  Later(retry_ms_, [this] { Connect(); });
  retry_ms_ = std::min(retry_ms_ * 2, kMaxBackoffMs);
}

void Worker::StreamEnded(StreamId stream) {
  if (!alive_ || stream_ != stream) {
    return;
  }
  stream_.reset();
  Reconnect();
}

void Worker::Flush() {
  if (stream_.has_value() && !outbox_.empty()) {
    sim_.network->ToCoordinator(*stream_, std::exchange(outbox_, {}));
  }
}

void Worker::Send(const core::WorkerReport& report, bool can_wait) {
  Push(report);
  if (!can_wait) {
    Flush();
  } else if (!flush_planned_) {
    flush_planned_ = true;
    Later(kGatherMs, [this] {
      flush_planned_ = false;
      Flush();
    });
  }
}

void Worker::GiveBack(const core::HeldProject& held) {
  Push(core::WorkerRelease{{}, {held}});
  Flush();
}

// A heartbeat; and whoever waits looks whether it must stop.
void Worker::Pulse() {
  Push(core::WorkerHeartbeat{{}, draining_});
  Flush();
  for (size_t i = 0; i < held_.size(); ++i) {
    held_[i]->Look();
  }
  if (draining_ && held_.empty()) {
    Crash();
    sim_.time.After(kHeartbeatMs, [this, life = life_] {
      if (life == life_) {
        Start();
      }
    });
    return;
  }
  Later(kHeartbeatMs, [this] { Pulse(); });
}

// ---- what the coordinator says -----------------------------------------------------------------------------------

void Worker::Receive(StreamId stream, const std::vector<ToWorker>& messages) {
  if (!alive_ || stream_ != stream) {
    return;
  }
  if (Paused()) {
    Later(StoppedFor(), [this, stream, messages] { Receive(stream, messages); });
    return;
  }
  retry_ms_ = kFirstBackoffMs;
  for (const ToWorker& message : messages) {
    lease_.Heard(Mono());
    Handle(message);
  }
}

void Worker::Handle(const ToWorker& message) {
  if (const auto* const grant = std::get_if<core::SendGrant>(&message.message)) {
    OnGrant(*grant, message.histories);
  } else if (const auto* const ack = std::get_if<core::SendAck>(&message.message)) {
    OnAck(*ack);
  } else if (const auto* const revoke = std::get_if<core::SendRevoke>(&message.message)) {
    OnRevoke(*revoke);
  } else {
    lease_.SetTtl(sim_.config.lease_ttl_ms);
  }
}

Attempt* Worker::Find(const std::string& ref, Fence fence) {
  for (const auto& attempt : held_) {
    if (attempt->Is(ref, fence)) {
      return attempt.get();
    }
  }
  return nullptr;
}

bool Worker::Holds(const std::string& ref) const {
  return std::any_of(held_.begin(), held_.end(), [&ref](const auto& attempt) { return attempt->ref() == ref; });
}

void Worker::OnGrant(const core::SendGrant& grant, const std::vector<History>& histories) {
  for (size_t i = 0; i < grant.projects.size(); ++i) {
    const core::GrantedProject& project = grant.projects[i];
    if (Find(project.ref, project.fence) == nullptr) {
      held_.push_back(std::make_unique<Attempt>(sim_, *this, grant.migration, project, histories[i], ++attempts_));
    }
  }
  FillSlots();
}

void Worker::FillSlots() {
  auto running = std::count_if(held_.begin(), held_.end(), [](const auto& attempt) { return attempt->running(); });
  for (size_t i = 0; i < held_.size() && running < sim_.config.slots; ++i) {
    if (!held_[i]->running()) {
      held_[i]->Start();
      ++running;
    }
  }
}

void Worker::OnAck(const core::SendAck& ack) {
  if (Attempt* const attempt = Find(ack.ref, ack.fence)) {
    attempt->Acknowledge(ack);
  }
}

void Worker::OnRevoke(const core::SendRevoke& revoke) {
  for (const core::HeldProject& held : revoke.projects) {
    if (Attempt* const attempt = Find(held.ref, held.fence)) {
      attempt->Revoke(revoke.reason);
    }
  }
}

// ---- attempts --------------------------------------------------------------------------------------------------

void Worker::Answer(uint64_t attempt, const Reply& reply) {
  if (Paused()) {
    Later(StoppedFor(), [this, attempt, reply] { Answer(attempt, reply); });
    return;
  }
  for (const auto& held : held_) {
    if (held->number() == attempt) {
      held->Resume(reply);
      return;
    }
  }
}

void Worker::LookSoon(uint64_t attempt) {
  Later(0, [this, attempt] {
    for (const auto& held : held_) {
      if (held->number() == attempt) {
        held->Look();
        return;
      }
    }
  });
}

void Worker::Sweep() {
  std::vector<core::HeldProject> unrecorded;
  for (const auto& attempt : held_) {
    if (attempt->ended() && !attempt->recorded()) {
      unrecorded.push_back(attempt->Held());
    }
  }
  std::erase_if(held_, [](const auto& held) { return held->ended(); });
  for (const core::HeldProject& held : unrecorded) {
    GiveBack(held);
  }
  FillSlots();
}

void Worker::SweepSoon(const Attempt& attempt) {
  if (attempt.ended() && !sweep_planned_) {
    sweep_planned_ = true;
    Later(0, [this] {
      sweep_planned_ = false;
      Sweep();
    });
  }
}

}  // namespace pgconvoy::sim
