// Streams between workers and coordinators. Within one stream nothing overtakes; a stream that is cut loses whatever
// was still under way, each end notices in its own time, and a worker's next stream may overtake the leftovers of the
// one before. Messages come late or twice in a row.
//
// Thread safety: none.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "coordinator/core/core.h"
#include "tests/sim/simulation.h"

namespace pgconvoy::sim {

// What a coordinator lets out for one worker, in order.
struct ToWorker {
  core::Message message;
  // With a grant: by position of the project in it.
  std::vector<History> histories;
};

using core::StreamId;

class Network {
 public:
  explicit Network(Simulation& sim) : sim_(sim) {}

  // A new stream from this worker to whoever answers.
  StreamId Connect(int worker, int coordinator);
  void ToCoordinator(StreamId stream, std::vector<core::Event> events);
  void ToWorkerSide(StreamId stream, std::vector<ToWorker> messages);
  // One end has closed it, or died: the other end is told, unless the two are cut off from each other.
  void CloseByWorker(StreamId stream);
  void CloseByCoordinator(StreamId stream);
  // From now on nothing gets through; both ends notice later.
  void Cut(StreamId stream);
  void CutAllOf(int worker);
  // Until `until`, this worker reaches no coordinator.
  void Isolate(int worker, MonotonicMs until);
  bool IsIsolated(int worker) const;

 private:
  struct Stream {
    int worker = 0;
    int coordinator = 0;
    bool cut = false;
    // Once cut: what was to arrive later than this is lost.
    MonotonicMs lost_after = 0;
    // Nothing arrives before what was sent before it.
    MonotonicMs last_up = 0;
    MonotonicMs last_down = 0;
  };
  Stream* Find(StreamId stream);
  // Null when what arrives now on that stream was lost.
  Stream* Arrived(StreamId stream);
  MonotonicMs Arrival(MonotonicMs& last);

  Simulation& sim_;
  // By number of the stream.
  std::map<int64_t, Stream> streams_;
  std::array<MonotonicMs, kWorkers> isolated_until_{};
};

}  // namespace pgconvoy::sim
