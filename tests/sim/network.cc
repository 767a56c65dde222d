#include "tests/sim/network.h"

#include <algorithm>

#include "tests/sim/coordinator.h"
#include "tests/sim/worker.h"

namespace pgconvoy::sim {
namespace {

constexpr MonotonicMs kNoticeMs = 6'000;

}  // namespace

Network::Stream* Network::Find(StreamId stream) {
  const auto found = streams_.find(stream.value);
  return found == streams_.end() ? nullptr : &found->second;
}

Network::Stream* Network::Arrived(StreamId stream) {
  Stream* const found = Find(stream);
  return found == nullptr || (found->cut && sim_.time.now() > found->lost_after) ? nullptr : found;
}

MonotonicMs Network::Arrival(MonotonicMs& last) {
  MonotonicMs delay = sim_.rng.Between(1, 4);
  if (sim_.Faulty(sim_.config.faults.late)) {
    delay += sim_.rng.Between(50, 3'000);
  }
  last = std::max(last, sim_.time.now() + delay);
  return last;
}

StreamId Network::Connect(int worker, int coordinator) {
  const StreamId stream{sim_.NextStream()};
  streams_[stream.value] = {worker, coordinator, IsIsolated(worker), 0, 0, 0};
  return stream;
}

void Network::ToCoordinator(StreamId stream, std::vector<core::Event> events) {
  Stream* const found = Find(stream);
  if (found == nullptr || found->cut) {
    return;
  }
  const MonotonicMs at = Arrival(found->last_up);
  sim_.time.At(at, [this, stream, events = std::move(events)]() mutable {
    const Stream* const now = Arrived(stream);
    if (now == nullptr) {
      return;
    }
    if (sim_.Faulty(sim_.config.faults.duplicated)) {
      sim_.coordinators[static_cast<size_t>(now->coordinator)]->Receive(stream, now->worker, events);
    }
    sim_.coordinators[static_cast<size_t>(now->coordinator)]->Receive(stream, now->worker, std::move(events));
  });
}

void Network::ToWorkerSide(StreamId stream, std::vector<ToWorker> messages) {
  Stream* const found = Find(stream);
  if (found == nullptr || found->cut || messages.empty()) {
    return;
  }
  const MonotonicMs at = Arrival(found->last_down);
  sim_.time.At(at, [this, stream, messages = std::move(messages)]() mutable {
    const Stream* const now = Arrived(stream);
    if (now == nullptr) {
      return;
    }
    Worker& worker = *sim_.workers[static_cast<size_t>(now->worker)];
    if (sim_.Faulty(sim_.config.faults.duplicated)) {
      worker.Receive(stream, messages);
    }
    worker.Receive(stream, messages);
  });
}

void Network::CloseByWorker(StreamId stream) {
  Stream* const found = Find(stream);
  if (found == nullptr || found->cut) {
    return;
  }
  const int coordinator = found->coordinator;
  sim_.time.At(Arrival(found->last_up), [this, stream, coordinator] {
    sim_.coordinators[static_cast<size_t>(coordinator)]->StreamEnded(stream);
    streams_.erase(stream.value);
  });
}

void Network::CloseByCoordinator(StreamId stream) {
  Stream* const found = Find(stream);
  if (found == nullptr || found->cut) {
    return;
  }
  const int worker = found->worker;
  sim_.time.At(Arrival(found->last_down), [this, stream, worker] {
    sim_.workers[static_cast<size_t>(worker)]->StreamEnded(stream);
    streams_.erase(stream.value);
  });
}

void Network::Cut(StreamId stream) {
  Stream* const found = Find(stream);
  if (found == nullptr || found->cut) {
    return;
  }
  found->cut = true;
  found->lost_after = sim_.time.now() + sim_.rng.Between(-1, 5);
  const int worker = found->worker;
  const int coordinator = found->coordinator;
  sim_.time.After(sim_.rng.Between(1, kNoticeMs),
                  [this, stream, worker] { sim_.workers[static_cast<size_t>(worker)]->StreamEnded(stream); });
  sim_.time.After(sim_.rng.Between(1, kNoticeMs), [this, stream, coordinator] {
    sim_.coordinators[static_cast<size_t>(coordinator)]->StreamEnded(stream);
  });
}

void Network::CutAllOf(int worker) {
  for (const auto& [id, stream] : streams_) {
    if (stream.worker == worker) {
      Cut(StreamId{id});
    }
  }
}

void Network::Isolate(int worker, MonotonicMs until) {
  isolated_until_[static_cast<size_t>(worker)] = until;
  CutAllOf(worker);
}

bool Network::IsIsolated(int worker) const { return sim_.time.now() < isolated_until_[static_cast<size_t>(worker)]; }

}  // namespace pgconvoy::sim
