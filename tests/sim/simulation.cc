#include "tests/sim/simulation.h"

#include <algorithm>

#include "tests/sim/chaos.h"
#include "tests/sim/coordinator.h"
#include "tests/sim/network.h"
#include "tests/sim/oracles.h"
#include "tests/sim/worker.h"

namespace pgconvoy::sim {
namespace {

// Virtual time in which everything must have ended once the faults are over. Zombies sleep for at most half a minute,
// statements hang for at most 20 s, and a project is tried a few times.
constexpr MonotonicMs kPatienceMs = 400'000;
constexpr uint64_t kMaxSteps = 2'000'000;
constexpr MonotonicMs kLookMs = 1'000;
// Longer than what is under way can take when nobody sleeps.
constexpr MonotonicMs kSettleMs = 10'000;

Defect AnyDefect(Rng& rng) {
  constexpr Defect kDefects[] = {Defect::kFailsCheck, Defect::kForeignRole,         Defect::kForeignDatabase,
                                 Defect::kFailsInUse, Defect::kSourceKeepsChanging, Defect::kAlwaysBusy};
  return rng.PerMille(40) ? kDefects[rng.Below(6)] : Defect::kNone;
}

Project MakeProject(int index, Rng& rng) {
  Project project;
  project.index = index;
  project.ref = {'p', static_cast<char>('0' + index / 10), static_cast<char>('0' + index % 10)};
  project.defect = AnyDefect(rng);
  if (project.defect == Defect::kForeignRole) {
    project.role = {true, true, 0, true, -1};
  }
  if (project.defect == Defect::kForeignDatabase) {
    Database database;
    database.name = Database::Name::kFinal;
    database.foreign = true;
    database.allows_connections = true;
    project.databases.push_back(database);
  }
  return project;
}

}  // namespace

Simulation::Simulation(const Config& plan)
    : config(plan),
      rng(plan.seed),
      store(judge),
      network(std::make_unique<Network>(*this)),
      stops_left(plan.faults.awkward_stops) {
  for (int i = 0; i < kProjects; ++i) {
    projects.push_back(MakeProject(i, rng));
  }
  for (int i = 0; i < kCoordinators; ++i) {
    coordinators[static_cast<size_t>(i)] = std::make_unique<Coordinator>(*this, i);
  }
  for (int i = 0; i < kWorkers; ++i) {
    workers[static_cast<size_t>(i)] = std::make_unique<Worker>(*this, i);
  }
}

Simulation::~Simulation() = default;

// Whatever was started or stopped by the faults runs again.
void Simulation::Heal() {
  for (const auto& worker : workers) {
    if (!worker->alive() && !worker->gone) {
      worker->Start();
    }
  }
  const auto alive = [](const auto& one) { return one->alive(); };
  if (std::none_of(coordinators.begin(), coordinators.end(), alive)) {
    coordinators[0]->Start();
  }
  core::Command resume;
  resume.kind = core::CommandKind::kResume;
  for (const core::MigrationRow& migration : store.migrations()) {
    resume.migration = migration.id;
    for (const auto& coordinator : coordinators) {
      coordinator->Ask(resume);
    }
  }
  if (!Calm()) {
    time.After(kLookMs * 10, [this] { Heal(); });
  }
}

bool Simulation::RunUntil(MonotonicMs until) {
  while (!judge.failed() && time.now() < until && time.steps() < kMaxSteps) {
    if (!time.Step()) {
      return false;
    }
  }
  return !judge.failed();
}

void Simulation::Run() {
  coordinators[0]->Start();
  for (const auto& worker : workers) {
    worker->Start();
  }
  PlanChaos(*this);
  const MonotonicMs healed = config.faults.heal_time;
  time.At(healed, [this] { Heal(); });
  RunUntil(healed);
  const MonotonicMs patience = healed + kPatienceMs;
  do {
    while (!judge.failed() && !Calm() && time.now() < patience && time.steps() < kMaxSteps) {
      RunUntil(time.now() + kLookMs);
    }
    // What zombies still try must come to nothing; a coordinator that was stopped may wake with an operator's wish.
    RunUntil(std::max(time.now() + kLookMs, last_leftover + kSettleMs));
  } while (!judge.failed() && !Calm() && time.now() < patience);
  if (!judge.failed() && !store.AllEnded()) {
    judge.Fail("O10", "not everything has ended though the faults are over" + Unended());
    return;
  }
  JudgeBeforeReconcile(*this);
  Reconcile(*this);
  RunUntil(time.now() + kLookMs);
  if (!judge.failed()) {
    JudgeEnd(*this);
  }
}

std::string Simulation::Unended() const {
  for (const core::ProjectRow& row : store.projects()) {
    if (!IsEnded(row.state)) {
      return "; first " + row.ref + ": " + std::string(Name(row.state)) + ", attempts " +
             std::to_string(row.attempts) + ", " + std::string(Name(row.phase));
    }
  }
  return store.projects().empty() ? "; nothing was ever submitted" : "";
}

}  // namespace pgconvoy::sim
