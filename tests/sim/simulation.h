// Everything that one schedule consists of, and what its parts share.
//
// Thread safety: none; schedules share nothing.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/rng.h"
#include "tests/sim/store.h"
#include "tests/sim/timeline.h"
#include "tests/sim/world.h"

namespace pgconvoy::sim {

class Coordinator;
class Worker;
class Network;

inline constexpr int kCoordinators = 2;

// What may go wrong in a schedule. Every schedule has some of it (Groce et al.: Swarm testing, 2012). Rates are per
// thousand and end when the faults heal; counts are spread over the time until then.
struct Faults {
  // Until then there are faults.
  MonotonicMs heal_time = 0;
  // Of each statement: its reply is lost though it is done; it never arrives; the server refuses it; it takes long.
  int64_t reply_lost = 0;
  int64_t request_lost = 0;
  int64_t server_error = 0;
  int64_t slow_statement = 0;
  // Of each message: it comes twice; it is late.
  int64_t duplicated = 0;
  int64_t late = 0;
  // Of each commit of the store.
  int64_t commit_failed = 0;
  int64_t commit_in_doubt = 0;
  int64_t commit_slow = 0;
  int streams_cut = 0;
  int partitions = 0;
  int worker_crashes = 0;
  int worker_pauses = 0;
  int worker_drains = 0;
  // Workers stopped just before they send a statement.
  int awkward_stops = 0;
  int coordinator_crashes = 0;
  int coordinator_pauses = 0;
  // Another coordinator is started while the first one lives.
  int takeovers = 0;
  int server_restarts = 0;
  int clock_jumps = 0;
  int commands = 0;
};

struct Config {
  uint64_t seed = 0;
  Faults faults;
  core::MigrationSpec spec;
  MonotonicMs lease_ttl_ms = 15'000;
  int slots = 2;
  bool has_freeze = true;
  bool has_credentials = true;
  bool has_target = true;
  bool has_cutover = true;
  // Rows are changed where they are.
  bool has_transform = false;
  // The login that the project used until now is kept out after the cutover.
  bool has_fallback = false;
  // Some of the projects are to be migrated once more.
  bool migrates_twice = false;
};
Config MakeConfig(uint64_t seed);

class Simulation {
 public:
  explicit Simulation(const Config& plan);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  // Until everything has ended, the oracles have spoken, or nothing goes on any more.
  void Run();

  bool Faulty(int64_t per_mille) { return time.now() < config.faults.heal_time && rng.PerMille(per_mille); }
  int64_t NextStream() { return ++streams_; }
  int64_t NextPassword() { return ++passwords_; }
  // The wall clocks of the coordinators jump.
  WallMs Wall() const { return kWallStart + time.now() + wall_offset; }

  const Config config;
  Timeline time;
  Rng rng;
  Judge judge;
  Store store;
  std::vector<Project> projects;
  std::unique_ptr<Network> network;
  std::array<std::unique_ptr<Coordinator>, kCoordinators> coordinators;
  std::array<std::unique_ptr<Worker>, kWorkers> workers;
  WallMs wall_offset = 0;
  // When the last zombie wakes and the last late statement arrives.
  MonotonicMs last_leftover = 0;
  // Of operators, to come.
  int commands_left = 0;
  // Of Faults::awkward_stops.
  int stops_left = 0;
  // Whether the core's own invariants are checked after every group; they cost as much as all the rest.
  bool check_core = false;

 private:
  void Heal();
  // Whether everything has ended, and nobody will ask for more.
  bool Calm() const { return store.AllEnded() && commands_left == 0; }
  // False when there is nothing more to do before.
  bool RunUntil(MonotonicMs until);
  std::string Unended() const;

  static constexpr WallMs kWallStart = 1'700'000'000'000;

  int64_t streams_ = 0;
  int64_t passwords_ = 0;
};

}  // namespace pgconvoy::sim
