// One attempt of one project in a simulated worker: what the grant said, its reports, its sessions, and the coroutine
// that runs its phases (phases.h).
//
// Thread safety: none. Ownership: refers to the simulation and the worker, which outlive it; destroying it at any
// point is a crash at that point.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/simulation.h"
#include "tests/sim/task.h"
#include "worker/core/report_log.h"

namespace pgconvoy::sim {

class Worker;

// What a server answered, or what the client made of its silence.
struct Reply {
  Outcome outcome;
  // The session that the statement ran in; nothing when it is gone.
  std::optional<uint32_t> backend;
};

// How a statement meets the project's fence row.
enum class Mode : uint8_t {
  // Not at all.
  kStatement,
  // Raises it, once nobody else holds it.
  kRaise,
  // Locks it, and is refused when it is not this attempt's (InFencedTransaction).
  kFenced,
  // A transaction of the attempt's own login, which is all the right it needs.
  kOwnLogin,
};

struct OpSpec {
  Site site = Site::kTarget;
  Backend::Login login = Backend::Login::kProvisioner;
  Mode mode = Mode::kStatement;
  // How long it takes, at most.
  MonotonicMs work_ms = 8;
  // How often, of a thousand, its client may be stopped just before it is sent.
  int64_t stops = 10;
};

class Attempt {
 public:
  Attempt(Simulation& sim,
          Worker& worker,
          MigrationId migration,
          const core::GrantedProject& grant,
          History history,
          uint64_t number);

  uint64_t number() const { return number_; }
  bool running() const { return root_.has_value(); }
  // Whether the coordinator has recorded how it ended.
  bool recorded() const { return recorded_; }
  bool ended() const { return root_.has_value() && root_->done(); }
  const std::string& ref() const { return grant_.ref; }
  bool Is(const std::string& ref, Fence fence) const { return grant_.fence == fence && grant_.ref == ref; }
  core::HeldProject Held() const { return {migration_, grant_.ref, grant_.fence}; }
  std::vector<core::Event> Unacknowledged() const;

  void Start();
  void Acknowledge(const core::SendAck& ack);
  void Revoke(core::RevokeReason reason);
  // A waiting attempt looks whether what it waits for has come, or whether it must stop.
  void Look();
  void Resume(const Reply& reply);

  // ---- for phases
  Simulation& sim() { return sim_; }
  Project& project() { return sim_.projects[project_]; }
  int64_t migration() const { return migration_.value; }
  int64_t fence() const { return grant_.fence.value; }
  Direction direction() const { return grant_.direction; }
  bool discard_writes() const { return grant_.discard_writes; }
  const std::vector<StoredIntent>& intents() const { return history_.intents; }
  // The latest forward result of a phase that no rollback has undone; null when there is none.
  const StoredResult* Result(Phase phase) const;
  void AddResult(Phase phase, int64_t value);
  Outcome Checkpoint() const;
  int64_t Post(decltype(core::WorkerReport::body) body, bool can_wait);

  // co_await: until everything up to `seq` is durable, or the attempt must stop.
  struct DurableWait {
    Attempt& attempt;
    int64_t seq;
    bool await_ready() const;
    void await_suspend(std::coroutine_handle<> waiter) const;
    Outcome await_resume() const { return attempt.reply_.outcome; }
  };
  DurableWait Durable(int64_t seq) { return {*this, seq}; }
  DurableWait Intent(char kind, int64_t value);

  // co_await: runs `effect` on the server, if it gets there and its session lives to commit it.
  template <typename F>
  struct OpWait {
    Attempt& attempt;
    OpSpec spec;
    F effect;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> waiter);
    Outcome await_resume() const { return attempt.reply_.outcome; }
  };
  template <typename F>
  OpWait<F> Do(const OpSpec& spec, F effect) {
    return {*this, spec, effect};
  }
  template <typename F>
  OpWait<F> Fenced(Site site, F effect) {
    return {*this, {site, LoginAt(site), Mode::kFenced}, effect};
  }
  template <typename F>
  OpWait<F> Statement(Site site, F effect) {
    return {*this, {site, LoginAt(site), Mode::kStatement}, effect};
  }
  // In the project's database, as the attempt's login.
  template <typename F>
  OpWait<F> OwnLogin(F effect) {
    return {*this, {Site::kTarget, Backend::Login::kAttempt, Mode::kOwnLogin, 20}, effect};
  }
  // Its session in the project's database goes.
  void CloseTarget();
  bool has_login = false;

 private:
  // Whoever holds the fence row there.
  static Backend::Login LoginAt(Site site) {
    switch (site) {
      case Site::kTarget: return Backend::Login::kProvisioner;
      case Site::kSource: return Backend::Login::kTransformer;
      case Site::kRegistry: break;
    }
    return Backend::Login::kRegistrar;
  }
  Task Run();
  Task RunAll();
  Task RunOne(Phase phase);
  Task ReportFailure(Outcome failure);
  void CheckDurable(const core::SendAck& ack);

  Simulation& sim_;
  Worker& worker_;
  const MigrationId migration_;
  const core::GrantedProject grant_;
  const size_t project_;
  const uint64_t number_;
  const int64_t lapses_at_grant_;
  History history_;
  worker::ReportLog<core::WorkerReport> log_;
  Phase phase_ = Phase::kFence;
  int64_t result_ = 0;
  bool recorded_ = false;
  int64_t last_result_ = 0;
  // By login.
  std::array<std::optional<uint32_t>, 5> backends_;
  // What it waits for: an answer, or, when `awaited_seq_` is set, its reports.
  std::coroutine_handle<> waiter_;
  std::optional<int64_t> awaited_seq_;
  Backend::Login awaited_login_ = Backend::Login::kRegistrar;
  Reply reply_;
  // Last: destroyed first, as its frames refer to the rest.
  std::optional<Task> root_;
};

}  // namespace pgconvoy::sim
