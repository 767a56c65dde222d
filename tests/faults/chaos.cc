#include "tests/faults/chaos.h"

#include <signal.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using std::chrono::milliseconds;

constexpr int kWorkers = 5;
const char* const kCalmWorkers[] = {"calm-1", "calm-2"};
constexpr int kKilled = 128 + SIGKILL;
constexpr int kUnreachable = 69;
// Twice the lease.
constexpr milliseconds kStopped{7'000};
constexpr milliseconds kDelayed{1'000};
constexpr int kDelayMs = 20;
constexpr char kLogVariable[] = "PGCONVOY_FAILPOINTS_LOG";

}  // namespace

Chaos::Chaos(World& world, Links& links, Tally& tally, uint64_t seed)
    : world_(world),
      fleet_(world.fleet()),
      links_(links),
      tally_(tally),
      random_(seed),
      places_(ReadPlaces(world.HasLargeTables())),
      link_faults_{{&links.target, PgProxy::kClosedAtMessage, Kind::kTargetClosedAtMessage},
                   {&links.target, PgProxy::kClosedAtStatement, Kind::kTargetClosedAtCommit},
                   {&links.target, PgProxy::kDroppedReply, Kind::kTargetCommitReplyDropped},
                   {&links.target, PgProxy::kCut, Kind::kTargetConnectionsCut},
                   {&links.source, PgProxy::kClosedAtMessage, Kind::kSourceClosedAtMessage},
                   {&links.source, PgProxy::kDroppedReply, Kind::kSourceCommitReplyDropped},
                   {&links.source, PgProxy::kCut, Kind::kSourceConnectionsCut},
                   {&links.coordinator, PgProxy::kCut, Kind::kCoordinatorConnectionsCut}} {
  fleet_.env()[kLogVariable] = fleet_.folder() + "/failpoints.log";
  for (int i = 0; i < kWorkers; ++i) {
    slots_.emplace_back().id = "w" + std::to_string(i);
  }
}

void Chaos::Begin(Direction direction) {
  direction_ = direction;
  next_disturbance_ = Clock::now() + DrawMs(500, 1'500);
  for (const char* const id : kCalmWorkers) {
    if (fleet_.HasWorker(id)) {
      fleet_.worker(id).Kill(SIGKILL);
    }
  }
  for (Slot& slot : slots_) {
    StartWorker(slot);
  }
}

void Chaos::Tick() {
  TickCoordinator();
  for (Slot& slot : slots_) {
    TickWorker(slot);
  }
  if (Clock::now() >= undelay_at_) {
    links_.target.Delay(0);
    undelay_at_ = Clock::time_point::max();
    Land(Kind::kTargetConnectionsDelayed);
  }
  if (Clock::now() >= unstall_at_) {
    EndStall();
  }
  if (Clock::now() >= next_disturbance_) {
    Disturb();
    next_disturbance_ = Clock::now() + DrawMs(1'500, 5'000);
  }
  ReadFailpointLog();
  CountLinkFaults();
}

void Chaos::End() {
  for (PgProxy* const link : {&links_.source, &links_.target}) {
    link->CloseAtMessage(0);
    link->CloseAtStatement("");
    link->DropReplyTo("");
    link->Delay(0);
  }
  undelay_at_ = Clock::time_point::max();
  links_.coordinator.Stall(false);
  unstall_at_ = Clock::time_point::max();
  fleet_.coordinator().Kill(SIGKILL);
  fleet_.coordinator().Wait();
  fleet_.StartCoordinator();
  coordinator_killed_by_us_ = false;
  for (Slot& slot : slots_) {
    // One that is stopped wakes and lives, so that its last acts come when all else has moved on.
    Process& worker = fleet_.worker(slot.id);
    worker.Kill(worker.Stopped() ? SIGCONT : SIGKILL);
  }
  for (const char* const id : kCalmWorkers) {
    fleet_.StartWorker(id);
  }
  ReadFailpointLog();
  CountLinkFaults();
}

// ---- workers ---------------------------------------------------------------------------------------------------

void Chaos::StartWorker(Slot& slot) {
  const auto [shortest, longest] = world_.WorkerLifeMs();
  slot.kill_at = Clock::now() + DrawMs(shortest, longest);
  slot.stop_at = slot.wake_at = Clock::time_point::max();
  slot.killed_by_us = false;
  slot.cut_off = false;
  fleet_.StartWorker(slot.id, DrawWorkerFault(slot));
}

std::string Chaos::DrawWorkerFault(Slot& slot) {
  const auto& places = direction_ == Direction::kForward ? places_.forward : places_.backward;
  const int kind = Draw(1, 100);
  const std::string at = "@" + std::to_string(Draw(1, 3));
  if (kind <= 65) {
    return DrawPlace(places) + "=kill" + (Draw(1, 3) == 1 ? at : "");
  }
  if (kind <= 72) {
    // At several, because it may not come to one of them.
    return DrawPlace(places) + "=error" + at + ";" + DrawPlace(places) + "=error;" + DrawPlace(places) + "=error";
  }
  if (kind <= 79) {
    return DrawPlace(places) + "=sleep(300);pg.commit=sleep(300)" + at;
  }
  if (kind <= 85) {
    return "pg.commit=timeout@" + std::to_string(Draw(1, 12));
  }
  if (kind <= 90) {
    return "worker.link.write=duplicate@*";
  }
  if (kind <= 94) {
    slot.stop_at = Clock::now() + DrawMs(200, 1'500);
    return "";
  }
  if (kind <= 96) {
    return DrawPlace(places) + "=stop";
  }
  slot.kill_at = Clock::now() + DrawMs(100, 1'500);
  return "";
}

const std::string& Chaos::DrawPlace(const std::vector<std::string>& places) {
  const auto draw = [&]() -> const std::string& {
    return places[static_cast<size_t>(Draw(0, static_cast<int>(places.size()) - 1))];
  };
  const std::string& one = draw();
  const std::string& other = draw();
  const auto kills = [this](const std::string& place) {
    const auto it = tally_.killed_at.find(place);
    return it == tally_.killed_at.end() ? 0 : it->second;
  };
  return kills(one) <= kills(other) ? one : other;
}

void Chaos::TickWorker(Slot& slot) {
  Process& worker = fleet_.worker(slot.id);
  if (const auto exit_code = worker.Wait(milliseconds(0)); exit_code.has_value()) {
    WorkerEnded(slot, *exit_code);
    StartWorker(slot);
    return;
  }
  if (worker.Stopped()) {
    WakeWhenDue(slot);
  } else if (Clock::now() >= slot.stop_at) {
    slot.stop_at = Clock::time_point::max();
    worker.Kill(SIGSTOP);
  } else if (slot.stop_at == Clock::time_point::max() && Clock::now() >= slot.kill_at) {
    slot.kill_lands = HoldsAProject(slot);
    worker.Kill(SIGKILL);
    slot.killed_by_us = true;
  }
}

bool Chaos::HoldsAProject(const Slot& slot) {
  return fleet_.store().QueryValue("postgres",
                                   "SELECT count(*) FROM pgconvoy.project WHERE state = 'RUNNING' AND "
                                   "worker_id = '" +
                                       slot.id + "'") != "0";
}

void Chaos::WakeWhenDue(Slot& slot) {
  if (slot.wake_at == Clock::time_point::max()) {
    slot.wake_at = Clock::now() + kStopped;
    slot.stop_lands = HoldsAProject(slot);
  } else if (Clock::now() >= slot.wake_at) {
    fleet_.worker(slot.id).Kill(SIGCONT);
    if (slot.stop_lands) {
      Land(Kind::kWorkerStoppedPastItsLease);
    }
    slot.wake_at = Clock::time_point::max();
    slot.kill_at = Clock::now() + DrawMs(500, 2'000);
  }
}

void Chaos::WorkerEnded(Slot& slot, int exit_code) {
  if (exit_code == kKilled && slot.killed_by_us && !slot.kill_lands) {
    return;
  }
  if (exit_code == kKilled) {
    Land(slot.killed_by_us ? Kind::kWorkerKilledAnywhere : Kind::kWorkerKilledAtFailpoint);
  } else {
    tally_.wrong.push_back("worker " + slot.id + " ended with " + std::to_string(exit_code) + ": " +
                           fleet_.WorkerLog(slot.id));
  }
}

// ---- coordinator and servers -----------------------------------------------------------------------------------

void Chaos::StartCoordinator(bool armed) {
  coordinator_killed_by_us_ = false;
  fleet_.StartCoordinator(armed ? DrawPlace(places_.coordinator) + "=kill@" + std::to_string(Draw(1, 4))
                                : std::string());
}

void Chaos::TickCoordinator() {
  const auto exit_code = fleet_.coordinator().Wait(milliseconds(0));
  if (!exit_code.has_value()) {
    return;
  }
  if (*exit_code == kKilled) {
    Land(coordinator_killed_by_us_ ? Kind::kCoordinatorKilledAnywhere : Kind::kCoordinatorKilledAtFailpoint);
  } else if (*exit_code != kUnreachable) {
    tally_.wrong.push_back("the coordinator ended with " + std::to_string(*exit_code) + ": " +
                           fleet_.CoordinatorLog());
  }
  StartCoordinator(/*armed=*/false);
}

void Chaos::Crash(PgCluster& server, Kind kind) {
  server.Stop("immediate");
  server.Start();
  Land(kind);
}

void Chaos::Disturb() {
  if (deck_.empty()) {
    deck_ = {Kind::kCoordinatorKilledAnywhere,
             Kind::kCoordinatorKilledAtFailpoint,
             Kind::kStoreCrashed,
             Kind::kSourceCrashed,
             Kind::kTargetCrashed,
             Kind::kTargetCommitReplyDropped,
             Kind::kTargetCommitReplyDropped,
             Kind::kTargetClosedAtCommit,
             Kind::kTargetClosedAtMessage,
             Kind::kTargetClosedAtMessage,
             Kind::kTargetConnectionsCut,
             Kind::kTargetConnectionsDelayed,
             Kind::kSourceCommitReplyDropped,
             Kind::kSourceClosedAtMessage,
             Kind::kSourceConnectionsCut,
             Kind::kCoordinatorConnectionsCut,
             Kind::kCoordinatorConnectionsStalled};
    std::shuffle(deck_.begin(), deck_.end(), random_);
  }
  const Kind kind = deck_.back();
  deck_.pop_back();
  switch (kind) {
    case Kind::kCoordinatorKilledAnywhere:
      fleet_.coordinator().Kill(SIGKILL);
      coordinator_killed_by_us_ = true;
      break;
    case Kind::kCoordinatorKilledAtFailpoint:
      fleet_.KillCoordinator();
      StartCoordinator(/*armed=*/true);
      break;
    case Kind::kStoreCrashed: Crash(fleet_.store(), kind); break;
    case Kind::kSourceCrashed: Crash(world_.source(), kind); break;
    case Kind::kTargetCrashed: Crash(world_.target(), kind); break;
    case Kind::kTargetCommitReplyDropped: links_.target.DropReplyTo("COMMIT"); break;
    case Kind::kTargetClosedAtCommit: links_.target.CloseAtStatement("COMMIT"); break;
    case Kind::kTargetClosedAtMessage: links_.target.CloseAtMessage(Draw(1, 200)); break;
    case Kind::kTargetConnectionsCut: links_.target.CutAll(); break;
    case Kind::kTargetConnectionsDelayed:
      links_.target.Delay(kDelayMs);
      undelay_at_ = Clock::now() + kDelayed;
      break;
    case Kind::kSourceCommitReplyDropped: links_.source.DropReplyTo("COMMIT"); break;
    case Kind::kSourceClosedAtMessage: links_.source.CloseAtMessage(Draw(1, 200)); break;
    case Kind::kSourceConnectionsCut: links_.source.CutAll(); break;
    case Kind::kCoordinatorConnectionsCut: CutCoordinatorLink(); break;
    case Kind::kCoordinatorConnectionsStalled: StallCoordinatorLink(); break;
    default: break;
  }
}

void Chaos::CutCoordinatorLink() {
  const auto holds = [this](const Slot& slot) { return HoldsAProject(slot); };
  if (std::any_of(slots_.begin(), slots_.end(), holds)) {
    links_.coordinator.CutAll();
  }
}

// Those that hold a project are spared for a while, or nobody might be left who takes up the link again.
void Chaos::StallCoordinatorLink() {
  unstall_at_ = Clock::now() + kStopped;
  for (Slot& slot : slots_) {
    slot.cut_off = HoldsAProject(slot);
    if (slot.cut_off) {
      slot.kill_at = std::max(slot.kill_at, unstall_at_ + DrawMs(500, 2'000));
    }
  }
  links_.coordinator.Stall(true);
}

void Chaos::EndStall() {
  links_.coordinator.Stall(false);
  unstall_at_ = Clock::time_point::max();
  if (std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.cut_off; })) {
    Land(Kind::kCoordinatorConnectionsStalled);
  }
}

// ---- what has landed -------------------------------------------------------------------------------------------

void Chaos::ReadFailpointLog() {
  const std::string log = ReadFile(fleet_.env().at(kLogVariable));
  std::istringstream lines(log.substr(std::min(log_read_, log.size())));
  log_read_ = log.size();
  std::string name;
  std::string action;
  while (lines >> name >> action) {
    if (action == "kill") {
      ++tally_.killed_at[name];
    } else if (action == "error") {
      Land(Kind::kFailpointError);
    } else if (action == "timeout") {
      Land(Kind::kFailpointTimeout);
    } else if (action == "duplicate") {
      Land(Kind::kFailpointDuplicate);
    } else if (action.starts_with("sleep")) {
      Land(Kind::kFailpointDelay);
    }
  }
}

void Chaos::CountLinkFaults() {
  for (LinkFault& fault : link_faults_) {
    const int landed = fault.link->Landed(fault.fault);
    const int more = landed - std::exchange(fault.seen, landed);
    if (more > 0) {
      tally_.landed[fault.kind] += more;
    }
  }
}

}  // namespace pgconvoy::testing
