// Breaks things at random while a migration runs: workers and the coordinator die at failpoints and anywhere, workers
// are stopped past their leases, servers crash, connections between workers and whatever they talk to break. Everything
// that dies is started again.
//
// One thread owns it and calls Tick often; servers restart within Tick.
// Errors: std::runtime_error when a process or a server cannot be started.
#pragma once

#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "tests/faults/places.h"
#include "tests/faults/tally.h"
#include "tests/faults/world.h"
#include "tests/support/pg_proxy.h"

namespace pgconvoy::testing {

class Chaos {
 public:
  using Clock = std::chrono::steady_clock;

  // What stands between the workers and whatever they talk to.
  struct Links {
    PgProxy source;
    PgProxy target;
    PgProxy coordinator;
  };
  Chaos(World& world, Links& links, Tally& tally, uint64_t seed);

  enum class Direction { kForward, kBackward };
  // Starts the workers with their faults.
  void Begin(Direction direction);
  void Tick();
  // No more faults: all processes are started afresh, and what still lies in wait is taken back.
  void End();

 private:
  struct Slot {
    std::string id;
    // When it is killed, had it not come to its failpoint.
    Clock::time_point kill_at;
    // When it is stopped; max: never.
    Clock::time_point stop_at = Clock::time_point::max();
    // When a stopped one is woken.
    Clock::time_point wake_at = Clock::time_point::max();
    bool killed_by_us = false;
    // Whether it held a project when it was killed or stopped; a fault that meets nobody at work does not count.
    bool kill_lands = false;
    bool stop_lands = false;
    // It held a project when the link to the coordinator was stalled, and has lived since then.
    bool cut_off = false;
  };

  // A fault of a link, and how often it had landed when it was counted last.
  struct LinkFault {
    const PgProxy* link;
    PgProxy::Fault fault;
    Kind kind;
    int seen = 0;
  };

  void StartWorker(Slot& slot);
  // "name=action@n" for its next life; may set stop_at.
  std::string DrawWorkerFault(Slot& slot);
  // Of two, the one that has killed less often.
  const std::string& DrawPlace(const std::vector<std::string>& places);
  void TickWorker(Slot& slot);
  // As the store has it.
  bool HoldsAProject(const Slot& slot);
  void WakeWhenDue(Slot& slot);
  void WorkerEnded(Slot& slot, int exit_code);
  void TickCoordinator();
  void StartCoordinator(bool armed);
  void Disturb();
  void CutCoordinatorLink();
  void StallCoordinatorLink();
  void EndStall();
  void Crash(PgCluster& server, Kind kind);
  void ReadFailpointLog();
  void CountLinkFaults();
  void Land(Kind kind) { ++tally_.landed[kind]; }
  int Draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  std::chrono::milliseconds DrawMs(int low, int high) { return std::chrono::milliseconds(Draw(low, high)); }

  World& world_;
  Installation& fleet_;
  Links& links_;
  Tally& tally_;
  std::mt19937_64 random_;
  const Places places_;
  Direction direction_ = Direction::kForward;
  std::vector<Slot> slots_;
  // Faults of servers and connections, in random order; filled again when it is empty, so that none is left out.
  std::vector<Kind> deck_;
  Clock::time_point next_disturbance_;
  Clock::time_point undelay_at_ = Clock::time_point::max();
  Clock::time_point unstall_at_ = Clock::time_point::max();
  bool coordinator_killed_by_us_ = false;
  // Of the failpoints' log.
  size_t log_read_ = 0;
  std::vector<LinkFault> link_faults_;
};

}  // namespace pgconvoy::testing
