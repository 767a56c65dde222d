#include "tests/sim/attempt.h"

#include <utility>

#include "common/base/planted.h"
#include "tests/sim/operation.h"
#include "tests/sim/payload.h"
#include "tests/sim/phases.h"
#include "tests/sim/worker.h"
#include "worker/core/attempt_rules.h"

namespace pgconvoy::sim {

Attempt::Attempt(Simulation& sim,
                 Worker& worker,
                 MigrationId migration,
                 const core::GrantedProject& grant,
                 History history,
                 uint64_t number)
    : sim_(sim),
      worker_(worker),
      migration_(migration),
      grant_(grant),
      project_(IndexOfRef(grant.ref)),
      number_(number),
      lapses_at_grant_(worker.Lapses()),
      history_(std::move(history)) {}

std::vector<core::Event> Attempt::Unacknowledged() const {
  std::vector<core::Event> events;
  for (const auto& entry : log_.unacknowledged()) {
    events.emplace_back(entry.report);
  }
  return events;
}

// ---- the line to the coordinator ---------------------------------------------------------------------------------

int64_t Attempt::Post(decltype(core::WorkerReport::body) body, bool can_wait) {
  const auto& added = log_.Add({{}, migration_, grant_.ref, grant_.fence, log_.next_seq(), std::move(body)});
  worker_.Send(added.report, can_wait);
  return added.seq;
}

void Attempt::Acknowledge(const core::SendAck& ack) {
  if (ack.refused_reason == "LEASE_LOST") {
    log_.Stop(worker::StopReason::kLeaseLost);
  } else if (!ack.refused_reason.empty()) {
    log_.Stop(worker::StopReason::kReportRefused);
  } else {
    CheckDurable(ack);
    log_.Acknowledge(ack.seq);
  }
  Look();
}

// What was acknowledged is in the store, or was overtaken by a newer attempt.
void Attempt::CheckDurable(const core::SendAck& ack) {
  const core::ProjectRow* const row = sim_.store.Find(ack.migration, ack.ref);
  const bool durable =
      row != nullptr && (row->fence > ack.fence || (row->fence == ack.fence && row->last_seq >= ack.seq));
  if (!durable) {
    sim_.judge.Fail(
        "O8", "report " + std::to_string(ack.seq) + " of " + ack.ref + " was acknowledged before it was durable");
  }
}

void Attempt::Revoke(core::RevokeReason reason) {
  log_.Stop(reason == core::RevokeReason::kCancelled ? worker::StopReason::kCalledOff
                                                     : worker::StopReason::kLeaseLost);
  Look();
}

Outcome Attempt::Checkpoint() const {
  if (worker_.Lapses() != lapses_at_grant_) {
    return Fail(Verdict::kFenced, worker::kLeaseLostCode);
  }
  switch (log_.stop()) {
    case worker::StopReason::kNone: return Outcome();
    case worker::StopReason::kCalledOff: return Fail(Verdict::kAbandoned, "PGC-ABANDONED");
    case worker::StopReason::kReportRefused: return Fail(Verdict::kPermanent, "PGC-REPORT-REFUSED");
    case worker::StopReason::kLeaseLost: return Fail(Verdict::kFenced, worker::kLeaseLostCode);
  }
  return Outcome();
}

bool Attempt::DurableWait::await_ready() const {
  attempt.reply_ = {};
  return attempt.log_.IsDurable(seq);
}

void Attempt::DurableWait::await_suspend(std::coroutine_handle<> waiter) const {
  attempt.waiter_ = waiter;
  attempt.awaited_seq_ = seq;
  // A stop that is known already ends the wait; not from inside of it.
  if (!attempt.Checkpoint().ok) {
    attempt.worker_.LookSoon(attempt.number_);
  }
}

void Attempt::Look() {
  if (!awaited_seq_.has_value()) {
    return;
  }
  const Outcome stop = log_.IsDurable(*awaited_seq_) ? Outcome() : Checkpoint();
  if (stop.ok && !log_.IsDurable(*awaited_seq_)) {
    return;
  }
  awaited_seq_.reset();
  reply_ = {stop, std::nullopt};
  std::exchange(waiter_, nullptr).resume();
  worker_.SweepSoon(*this);
}

void Attempt::Resume(const Reply& reply) {
  backends_[static_cast<size_t>(awaited_login_)] = reply.backend;
  reply_ = reply;
  std::exchange(waiter_, nullptr).resume();
  worker_.SweepSoon(*this);
}

Attempt::DurableWait Attempt::Intent(char kind, int64_t value) {
  history_.intents.push_back({kind, fence(), value});
  return Durable(Post(core::IntentReported{MakePayload(kind, value)}, /*can_wait=*/false));
}

const StoredResult* Attempt::Result(Phase phase) const {
  return worker::LatestResult(history_.results, phase, [](const StoredResult& result) { return result.key; });
}

void Attempt::CloseTarget() {
  if (auto& backend = backends_[static_cast<size_t>(Backend::Login::kAttempt)]) {
    project().End(*backend);
    backend.reset();
  }
}

void Attempt::AddResult(Phase phase, int64_t value) {
  history_.results.push_back({{phase, direction(), fence()}, value});
  result_ = value;
}

// ---- the run (worker/runner/attempt_runner.cc) -------------------------------------------------------------------

void Attempt::Start() {
  root_.emplace(Run());
  root_->Start();
  worker_.SweepSoon(*this);
}

Task Attempt::Run() {
  Outcome outcome = co_await RunAll();
  if (outcome.ok) {
    outcome = co_await Durable(Post(core::AttemptDone{}, /*can_wait=*/false));
  }
  if (!outcome.ok) {
    outcome = co_await ReportFailure(outcome);
  }
  recorded_ = outcome.ok;
  co_return Outcome();
}

Task Attempt::RunAll() {
  for (const Phase phase : grant_.phases) {
    phase_ = phase;
    if (const Outcome stop = Checkpoint(); !stop.ok) {
      co_return stop;
    }
    SIM_TRY(RunOne(phase));
  }
  co_return Outcome();
}

Task Attempt::RunOne(Phase phase) {
  sim_.judge.Tell(sim_.time.now(), worker_.index(), grant_.ref, "fence", fence(), "begins", Name(phase));
  Post(core::PhaseStarted{phase}, /*can_wait=*/true);
  if (worker::NeedsDurableResults(phase)) {
    SIM_TRY(Durable(last_result_));
  }
  result_ = 0;
  const size_t results = history_.results.size();
  SIM_TRY(RunPhase(*this, phase));
  if (history_.results.size() == results) {
    AddResult(phase, 0);
  }
  core::PhaseDone done;
  done.phase = phase;
  done.payload_json = MakePayload('r', result_);
  const bool durable = worker::MustBeDurable(phase);
  last_result_ = Post(std::move(done), /*can_wait=*/!durable);
  if (durable) {
    SIM_TRY(Durable(last_result_));
  }
  co_return Outcome();
}

Task Attempt::ReportFailure(Outcome failure) {
  sim_.judge.Tell(sim_.time.now(), worker_.index(), grant_.ref, "fence", fence(), "fails", failure.code);
  const Outcome stop = Checkpoint();
  const bool stop_leads = !stop.ok && worker::StopLeads({failure.verdict, failure.code}, {stop.verdict, stop.code});
  const Outcome error = stop_leads ? stop : failure;
  const worker::Ending ending = worker::EndingOf({error.verdict, error.code});
  if (ending == worker::Ending::kGiveBack) {
    co_return error;
  }
  core::AttemptFailed failed;
  failed.phase = phase_;
  failed.error.verdict = worker::ReportedVerdict(error.verdict);
  failed.error.code = error.code;
  const int64_t seq = Post(std::move(failed), /*can_wait=*/false);
  if (ending == worker::Ending::kReportAndWait) {
    co_return co_await Durable(seq);
  }
  co_return error;
}

}  // namespace pgconvoy::sim
