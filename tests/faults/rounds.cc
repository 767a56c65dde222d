#include "tests/faults/rounds.h"

#include <chrono>
#include <thread>
#include <utility>

#include "tests/faults/oracles.h"

namespace pgconvoy::testing {
namespace {

using Clock = std::chrono::steady_clock;

// Of one direction of one round; the rest of it is calm.
constexpr auto kChaosTime = std::chrono::seconds(40);
constexpr auto kTick = std::chrono::milliseconds(20);
constexpr auto kAskInterval = std::chrono::milliseconds(300);
constexpr int kCalmSeconds = 180;

std::string Conninfo(const PgProxy& link) { return "host=127.0.0.1 port=" + std::to_string(link.port()); }

}  // namespace

Rounds::Rounds(std::unique_ptr<World> world, Tally& tally, uint64_t seed)
    : world_(std::move(world)),
      fleet_(world_->fleet()),
      tally_(tally),
      links_{.source = PgProxy(world_->source().port()),
             .target = PgProxy(world_->target().port()),
             .coordinator = PgProxy(fleet_.coordinator_port(), PgProxy::Protocol::kUnread)},
      chaos_(*world_, links_, tally, seed) {
  world_->PlaceServers(Conninfo(links_.source), Conninfo(links_.target));
  fleet_.PlaceWorkersBehind(links_.coordinator.port());
  v1::Execution& execution = *fleet_.plan().mutable_execution();
  execution.set_batch_size(2);
  execution.set_max_attempts(100);
  execution.set_initial_backoff_ms(100);
  execution.set_max_backoff_ms(1'000);
  for (const std::string& ref : fleet_.refs()) {
    before_[ref] = world_->SourceState(ref);
  }
  fleet_.StartCoordinator();
}

void Rounds::PlayOne() {
  ++tally_.rounds;
  tally_.projects += static_cast<int64_t>(fleet_.refs().size());
  const std::string migration = fleet_.Submit();
  UnderFaults(Chaos::Direction::kForward, migration, v1::MIGRATION_SUCCEEDED);
  CountRows(*world_, tally_);
  fleet_.Rollback(migration, "", /*discard_writes=*/false);
  UnderFaults(Chaos::Direction::kBackward, migration, v1::MIGRATION_ROLLED_BACK);
  CompareSource(*world_, before_, tally_);
  CountOrphans(*world_, tally_);
}

void Rounds::UnderFaults(Chaos::Direction direction, const std::string& migration, v1::MigrationState wanted) {
  chaos_.Begin(direction);
  const auto end = Clock::now() + kChaosTime;
  auto ask_at = Clock::now();
  while (Clock::now() < end && tally_.wrong.empty()) {
    chaos_.Tick();
    if (Clock::now() >= ask_at) {
      ask_at = Clock::now() + kAskInterval;
      if (Unended() == 0) {
        break;
      }
    }
    std::this_thread::sleep_for(kTick);
  }
  chaos_.End();
  ExpectEnded(migration, wanted);
}

// Asked of the store, as the coordinator may be dead.
int64_t Rounds::Unended() {
  return std::stoll(
      fleet_.store().QueryValue("postgres",
                                "SELECT count(*) FROM pgconvoy.migration WHERE state IN ('RUNNING', 'PAUSED', "
                                "'CANCELLING', 'ROLLING_BACK')"));
}

void Rounds::ExpectEnded(const std::string& migration, v1::MigrationState wanted) {
  v1::Migration ended = fleet_.WaitEnded(migration, kCalmSeconds);
  if (ended.state() != wanted && RetryWhatLostItsWorkers(migration)) {
    ended = fleet_.WaitEnded(migration, kCalmSeconds);
  }
  if (ended.state() != wanted) {
    tally_.wrong.push_back("ended otherwise than " + v1::MigrationState_Name(wanted) + ": " +
                           ended.ShortDebugString() + Reasons(migration));
  }
}

std::string Rounds::Reasons(const std::string& migration) {
  std::string reasons;
  for (const std::string& ref : fleet_.refs()) {
    reasons += "\n" + fleet_.GetProject(migration, ref).ShortDebugString();
  }
  return reasons;
}

// What the coordinator asks of an operator, when too many workers have died under a project.
bool Rounds::RetryWhatLostItsWorkers(const std::string& migration) {
  bool retried = false;
  for (const std::string& ref : fleet_.refs()) {
    if (fleet_.GetProject(migration, ref).error().code() == "PGC-WORKER-LOSSES") {
      fleet_.Retry(migration, ref);
      ++tally_.retried;
      retried = true;
    }
  }
  return retried;
}

}  // namespace pgconvoy::testing
