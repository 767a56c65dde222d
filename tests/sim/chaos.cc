#include "tests/sim/chaos.h"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/coordinator.h"
#include "tests/sim/network.h"
#include "tests/sim/worker.h"
#include "worker/core/takeover.h"

namespace pgconvoy::sim {
namespace {

constexpr int64_t kSecondRequest = 3;
constexpr int kSecondTries = 200;

// Calls `what` so often, each time at a moment before the faults heal.
template <typename F>
void Spread(Simulation& sim, int times, F what) {
  for (int i = 0; i < times; ++i) {
    sim.time.At(sim.rng.Between(10, sim.config.faults.heal_time), [&sim, what] { what(sim); });
  }
}

Worker& AnyWorker(Simulation& sim) { return *sim.workers[static_cast<size_t>(sim.rng.Below(kWorkers))]; }
Coordinator& AnyCoordinator(Simulation& sim) {
  return *sim.coordinators[static_cast<size_t>(sim.rng.Below(kCoordinators))];
}

void CrashWorker(Simulation& sim) {
  Worker& worker = AnyWorker(sim);
  if (!worker.alive()) {
    return;
  }
  worker.Crash();
  // Two stay for the work.
  worker.gone = worker.index() >= 2 && sim.rng.PerMille(250);
  if (worker.gone) {
    return;
  }
  sim.time.After(sim.rng.Between(10, 8'000), [&worker, life = worker.life()] {
    if (worker.life() == life) {
      worker.Start();
    }
  });
}

void CrashCoordinator(Simulation& sim) {
  Coordinator& coordinator = AnyCoordinator(sim);
  if (!coordinator.alive()) {
    return;
  }
  coordinator.Crash();
  sim.time.After(sim.rng.Between(10, 5'000), [&coordinator] {
    if (!coordinator.alive()) {
      coordinator.Start();
    }
  });
}

void Takeover(Simulation& sim) {
  Coordinator& coordinator = AnyCoordinator(sim);
  if (!coordinator.alive()) {
    coordinator.Start();
  }
}

void RestartServer(Simulation& sim) {
  const int server = static_cast<int>(sim.rng.Below(kTargets + 1));
  for (Project& project : sim.projects) {
    for (uint32_t i = 0; i < project.backends.size(); ++i) {
      const bool target = project.backends[i].login == Backend::Login::kProvisioner ||
                          project.backends[i].login == Backend::Login::kAttempt;
      if (target ? project.index % kTargets == server : server == kTargets) {
        project.End(i);
      }
    }
  }
}

// ---- operators and tenants -----------------------------------------------------------------------------------------

// Of the projects that such a command is for, if there are any.
std::string RefFor(Simulation& sim, core::CommandKind kind) {
  std::vector<std::string> fit;
  for (const core::ProjectRow& row : sim.store.projects()) {
    const bool unsolved = row.state == ProjectState::kRolledBack || row.state == ProjectState::kNeedsOperator ||
                          row.state == ProjectState::kFailed;
    if (kind == core::CommandKind::kRetry ? unsolved : row.state == ProjectState::kSucceeded) {
      fit.push_back(row.ref);
    }
  }
  if (fit.empty() || sim.rng.PerMille(300)) {
    return sim.projects[static_cast<size_t>(sim.rng.Below(kProjects))].ref;
  }
  return fit[static_cast<size_t>(sim.rng.Below(static_cast<int64_t>(fit.size())))];
}

core::Command CommandOf(core::CommandKind kind, MigrationId migration) {
  core::Command command;
  command.kind = kind;
  command.migration = migration;
  command.request = {2};
  command.actor = "op";
  return command;
}

void AskAll(Simulation& sim, const core::Event& event) {
  for (const auto& coordinator : sim.coordinators) {
    coordinator->Ask(event);
  }
}

MigrationId AnyMigration(Simulation& sim) {
  const auto known = static_cast<int64_t>(sim.store.migrations().size());
  return MigrationId{known > 1 ? sim.rng.Between(1, known) : 1};
}

core::Command MakeCommand(Simulation& sim) {
  constexpr std::array kKinds = {core::CommandKind::kPause, core::CommandKind::kResume,
                                 core::CommandKind::kRetry, core::CommandKind::kRollback,
                                 core::CommandKind::kRetry, core::CommandKind::kRollback,
                                 core::CommandKind::kCancel};
  core::Command command = CommandOf(kKinds[static_cast<size_t>(sim.rng.Below(kKinds.size()))], AnyMigration(sim));
  command.discard_writes = sim.rng.PerMille(500);
  if (sim.rng.PerMille(800) && command.kind != core::CommandKind::kCancel) {
    command.ref = RefFor(sim, command.kind);
  }
  return command;
}

void Command(Simulation& sim) {
  const core::Command command = MakeCommand(sim);
  const bool steers = command.kind == core::CommandKind::kCancel || command.kind == core::CommandKind::kRollback;
  for (Project& project : sim.projects) {
    project.steered = project.steered || (steers && (command.ref.empty() || command.ref == project.ref));
  }
  AskAll(sim, command);
}

// An operator who wants it undone, then again, then undone.
void ChangeMind(Simulation& sim) {
  const std::string ref = RefFor(sim, core::CommandKind::kRollback);
  sim.projects[IndexOfRef(ref)].steered = true;
  const MigrationId migration = AnyMigration(sim);
  MonotonicMs after = 0;
  for (const auto kind : {core::CommandKind::kRollback, core::CommandKind::kRetry, core::CommandKind::kRollback}) {
    ++sim.commands_left;
    sim.time.After(after, [&sim, kind, migration, ref] {
      core::Command command = CommandOf(kind, migration);
      command.ref = ref;
      AskAll(sim, command);
      // Until it has been heard and something of it is in the store.
      sim.time.After(1'000, [&sim] { --sim.commands_left; });
    });
    after += sim.rng.PerMille(500) ? sim.rng.Between(200, 4'000) : sim.rng.Between(4'000, 20'000);
    if (kind == core::CommandKind::kRetry && sim.rng.PerMille(500)) {
      break;
    }
  }
}

// A tenant writes where the registry sends it, unless it is stopped.
void Write(Simulation& sim) {
  Project& project = sim.projects[static_cast<size_t>(sim.rng.Below(kProjects))];
  if (project.registry.isolated && !sim.config.has_transform) {
    Database* const database = project.Find(Database::Name::kFinal);
    if (database != nullptr && project.role.can_login && project.role.password == project.registry.password &&
        database->allows_connections) {
      ++database->tenant_writes;
    }
  } else if (!project.frozen && sim.config.has_freeze) {
    ++project.version;
  }
}

core::ProjectInput InputOf(const Project& project) {
  return {project.ref, "", 1'000, "s", "t" + std::to_string(project.index % kTargets)};
}

core::SubmitMigration Submission(const Simulation& sim) {
  core::SubmitMigration submit;
  submit.request = {kSubmitRequest};
  submit.actor = "op";
  submit.spec = sim.config.spec;
  for (const Project& project : sim.projects) {
    submit.projects.push_back(InputOf(project));
  }
  return submit;
}

// Some projects once more: those that were rolled back before move, the others are refused. Until it is accepted, which
// it cannot be as long as the first migration has not ended.
void SubmitSecond(Simulation& sim, const core::SubmitMigration& submit, int tries) {
  if (sim.store.migrations().size() > 1 || tries == 0) {
    --sim.commands_left;
    return;
  }
  // The first one is known to be there.
  if (!sim.store.migrations().empty()) {
    AskAll(sim, submit);
  }
  sim.time.After(500, [&sim, submit = std::make_shared<core::SubmitMigration>(submit), tries] {
    SubmitSecond(sim, *submit, tries - 1);
  });
}

void MigrateAgain(Simulation& sim) {
  core::SubmitMigration submit;
  submit.request = {kSecondRequest};
  submit.actor = "op";
  submit.spec = sim.config.spec;
  submit.spec.request_id = "r2";
  for (Project& project : sim.projects) {
    if (!sim.rng.PerMille(300)) {
      continue;
    }
    submit.projects.push_back(InputOf(project));
    if (sim.rng.PerMille(500)) {
      project.steered = true;
      core::Command command = CommandOf(core::CommandKind::kRollback, {1});
      command.ref = project.ref;
      AskAll(sim, command);
    }
  }
  if (!submit.projects.empty()) {
    ++sim.commands_left;
    SubmitSecond(sim, submit, kSecondTries);
  }
}

// An operator who has had no answer asks again; so does one who has lost it.
void SubmitAgain(Simulation& sim) { AskAll(sim, Submission(sim)); }

void Submit(Simulation& sim) {
  const auto& all = sim.coordinators;
  if (std::any_of(all.begin(), all.end(), [](const auto& one) { return one->submitted(); })) {
    return;
  }
  SubmitAgain(sim);
  sim.time.After(1'000, [&sim] { Submit(sim); });
}

// ---- reconcile -----------------------------------------------------------------------------------------------------

void ReconcileProject(Simulation& sim, Project& project, bool live, int64_t next_fence) {
  const int64_t newest = project.fence[At(Site::kTarget)];
  const auto stale = [&](int64_t fence) { return !worker::IsOwned(fence, newest, next_fence, live); };
  if (newest == 0 || project.holder[At(Site::kTarget)] != 0) {
    return;
  }
  const auto judge = [&](int64_t fence) {
    if (fence == newest && live) {
      sim.judge.Fail("O5", "a reconciler removed what a live attempt of " + project.ref + " owns");
    }
  };
  std::erase_if(project.logins, [&](const AttemptLogin& login) {
    if (stale(login.fence)) {
      judge(login.fence);
    }
    return stale(login.fence);
  });
  std::erase_if(project.databases, [&](const Database& database) {
    const int64_t fence = database.name == Database::Name::kDoomed ? database.fence / 16 : database.fence;
    const bool named = database.name == Database::Name::kTemporary || database.name == Database::Name::kDoomed;
    if (named && stale(fence)) {
      judge(fence);
    }
    return named && stale(fence);
  });
}

}  // namespace

void Reconcile(Simulation& sim) {
  const int64_t next_fence = sim.store.next_fence();
  std::set<std::string> live;
  for (const core::ProjectRow& row : sim.store.projects()) {
    if (!IsEnded(row.state) || row.state == ProjectState::kNeedsOperator) {
      live.insert(row.ref);
    }
  }
  sim.time.After(sim.rng.Between(1, 500), [&sim, next_fence, live = std::move(live)] {
    for (Project& project : sim.projects) {
      ReconcileProject(sim, project, live.contains(project.ref), next_fence);
    }
  });
}

void PlanChaos(Simulation& sim) {
  const Faults& faults = sim.config.faults;
  Spread(sim, faults.streams_cut,
         [](Simulation& s) { s.network->CutAllOf(static_cast<int>(s.rng.Below(kWorkers))); });
  Spread(sim, faults.partitions, [](Simulation& s) {
    s.network->Isolate(static_cast<int>(s.rng.Below(kWorkers)), s.time.now() + s.rng.Between(500, 20'000));
  });
  Spread(sim, faults.worker_crashes, CrashWorker);
  Spread(sim, faults.worker_pauses,
         [](Simulation& s) { AnyWorker(s).Pause(s.time.now() + s.rng.Between(500, 30'000)); });
  Spread(sim, faults.worker_drains, [](Simulation& s) { AnyWorker(s).Drain(); });
  Spread(sim, faults.coordinator_crashes, CrashCoordinator);
  Spread(sim, faults.coordinator_pauses,
         [](Simulation& s) { AnyCoordinator(s).Pause(s.time.now() + s.rng.Between(500, 20'000)); });
  Spread(sim, faults.takeovers, Takeover);
  Spread(sim, faults.server_restarts, RestartServer);
  Spread(sim, faults.clock_jumps, [](Simulation& s) { s.wall_offset += s.rng.Between(-3'600'000, 3'600'000); });
  Spread(sim, faults.commands, Command);
  Spread(sim, faults.commands, ChangeMind);
  Spread(sim, faults.commands > 0 ? 2 : 0, Reconcile);
  Spread(sim, faults.commands > 0 ? 1 : 0, SubmitAgain);
  Spread(sim, sim.config.migrates_twice ? 1 : 0, MigrateAgain);
  Spread(sim, 60, Write);
  sim.time.After(1, [&sim] { Submit(sim); });
}

}  // namespace pgconvoy::sim
