// A statement or transaction on its way: to the server, through the fence row, to its commit, and back. A backend lives
// on when its client dies; a transaction whose COMMIT was already under way is still committed then.
//
// Thread safety: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/base/planted.h"
#include "tests/sim/attempt.h"
#include "tests/sim/worker.h"

namespace pgconvoy::sim {

// How long a client waits for a server that does not answer (keepalives).
inline constexpr MonotonicMs kSilenceMs = 5'300;
// How often a shared session has been lent to another project since the last statement.
inline constexpr int64_t kLentPerMille = 50;

// What does not depend on the statement.
struct OpContext {
  Simulation* sim;
  uint32_t project;
  int worker;
  uint64_t life;
  uint64_t attempt;
  int64_t fence;
  OpSpec spec;
  std::optional<uint32_t> backend;
  // Should the client die meanwhile, its COMMIT is under way.
  bool commit_sent;

  Project& OnProject() const { return sim->projects[project]; }
  bool ClientLives() const;
  // 0 unless the client's process is stopped.
  MonotonicMs ClientStoppedFor() const;
  // Stops the client's process before it sends this, if it should be now.
  bool StopClient();
  // The pool gives the session to another project: the next statement logs in anew.
  void LendSession();
  // How long an older attempt of the project will still sleep; 0: none does.
  MonotonicMs UntilZombieWakes() const;
  // Opens the session if there is none; false when the server does not let it in, or has ended it.
  bool EnterSession();
  bool SessionLives() const { return backend.has_value() && !OnProject().backends[*backend].ended; }
  // Whether somebody else holds the fence row.
  bool RowIsHeld() const;
  void TakeRow() const { OnProject().holder[At(spec.site)] = *backend + 1; }
  void LeaveRow() const;
  void LeaveRowIfOwn() const;
  // Takes or raises the row; false when a newer attempt has it.
  bool PassFence() const;
  void CheckFence() const;
  void Answer(const Outcome& outcome) const;
  void AnswerLost(const Outcome& outcome) const;
  void AnswerCommitted() const;
};

template <typename F>
class Operation {
 public:
  Operation(const OpContext& context, F effect) : context_(context), effect_(effect) {}

  void Send() {
    Simulation& sim = *context_.sim;
    const Faults& faults = sim.config.faults;
    if (!context_.ClientLives()) {
      return;
    }
    if (context_.ClientStoppedFor() > 0 || context_.StopClient()) {
      Plan(context_.ClientStoppedFor(), &Operation::Send);
      return;
    }
    if (sim.Faulty(faults.request_lost)) {
      context_.AnswerLost(Fail(Verdict::kTransient, "PGC-PG-LOST"));
      return;
    }
    MonotonicMs delay = sim.rng.Between(1, 2);
    if (sim.Faulty(faults.slow_statement)) {
      delay += sim.rng.Between(100, 20'000);
      sim.last_leftover = std::max(sim.last_leftover, sim.time.now() + delay);
    }
    if (context_.spec.mode == Mode::kRaise && sim.rng.PerMille(500)) {
      // The worst moment to shut somebody out is when he wakes.
      delay += context_.UntilZombieWakes() + sim.rng.Between(0, 8);
    }
    Plan(delay, &Operation::Arrive);
  }

 private:
  void Plan(MonotonicMs delay, void (Operation::*step)()) {
    context_.sim->time.After(delay, [self = *this, step]() mutable { (self.*step)(); });
  }

  void Arrive() {
    if (!context_.EnterSession()) {
      context_.Answer(Fail(Verdict::kTransient, "PGC-PG-LOST"));
    } else if (context_.sim->Faulty(context_.sim->config.faults.server_error)) {
      context_.Answer(Fail(Verdict::kTransient, "PGC-PG-LOCKED"));
    } else {
      Begin();
    }
  }

  void Begin() {
    const bool in_transaction = context_.spec.mode == Mode::kFenced || context_.spec.mode == Mode::kOwnLogin;
    if (!context_.SessionLives()) {
      context_.Answer(Fail(Verdict::kTransient, "PGC-PG-LOST"));
    } else if (context_.RowIsHeld()) {
      Plan(3, &Operation::Begin);
    } else if (!context_.PassFence()) {
      context_.Answer(Fail(Verdict::kFenced, "PGC-FENCE-STALE"));
    } else if (in_transaction) {
      Plan(context_.sim->rng.Between(1, context_.spec.work_ms), &Operation::Commit);
    } else {
      Finish();
    }
  }

  void Commit() {
    if (!context_.SessionLives()) {
      context_.Answer(Fail(Verdict::kTransient, "PGC-PG-LOST"));
      return;
    }
    if (const MonotonicMs stopped = context_.ClientStoppedFor(); stopped > 0 && !context_.commit_sent) {
      // In the middle of its transaction, which stays open until it wakes or somebody ends it.
      Plan(stopped, &Operation::Commit);
      return;
    }
    if (context_.ClientLives() || context_.commit_sent) {
      Finish();
      return;
    }
    // Until the server notices that nobody is there, the transaction stays open.
    Plan(context_.sim->rng.Between(1, 4'000), &Operation::RollBack);
  }

  void RollBack() {
    if (context_.SessionLives()) {
      context_.OnProject().End(*context_.backend);
    }
  }

  void Finish() {
    context_.CheckFence();
    const Outcome outcome = effect_(context_.OnProject());
    context_.LeaveRow();
    if (outcome.ok) {
      context_.AnswerCommitted();
    } else {
      context_.Answer(outcome);
    }
  }

  OpContext context_;
  F effect_;
};

template <typename F>
void Attempt::OpWait<F>::await_suspend(std::coroutine_handle<> waiter) {
  Attempt& a = attempt;
  a.waiter_ = waiter;
  a.awaited_login_ = spec.login;
  OpContext context{&a.sim_,
                    static_cast<uint32_t>(a.project_),
                    a.worker_.index(),
                    a.worker_.life(),
                    a.number_,
                    a.fence(),
                    spec,
                    a.backends_[static_cast<size_t>(spec.login)],
                    a.sim_.rng.PerMille(300)};
  if (a.sim_.rng.PerMille(kLentPerMille)) {
    context.LendSession();
  }
  Operation<F>(context, effect).Send();
}

}  // namespace pgconvoy::sim
