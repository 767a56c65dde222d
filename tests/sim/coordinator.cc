#include "tests/sim/coordinator.h"

#include <algorithm>
#include <utility>

#include "common/base/planted.h"

namespace pgconvoy::sim {
namespace {

constexpr MonotonicMs kFirstRetryMs = 100;
constexpr MonotonicMs kLastRetryMs = 5'000;
constexpr MonotonicMs kLeadCheckMs = 5'000;
constexpr MonotonicMs kRestartMs = 1'000;
// In a group.
constexpr size_t kUsualRows = 8;

}  // namespace

template <typename F>
void Coordinator::Later(MonotonicMs delay, F action) {
  sim_.time.After(delay, [this, life = life_, action = std::move(action)]() mutable {
    if (life != life_) {
      return;
    }
    if (Paused()) {
      Later(paused_until_ - sim_.time.now(), std::move(action));
      return;
    }
    action();
  });
}

// ---- the process -----------------------------------------------------------------------------------------------

void Coordinator::Start() {
  alive_ = true;
  led_before_ = false;
  paused_until_ = 0;
  retry_ms_ = kFirstRetryMs;
  mono_offset_ = sim_.rng.Between(0, 1'000'000);
  ++life_;
  Lead();
}

void Coordinator::Crash() {
  if (!alive_) {
    return;
  }
  EndTerm();
  alive_ = false;
  ++life_;
}

void Coordinator::Lead() {
  Later(sim_.rng.Between(1, 20), [this] {
    if (sim_.Faulty(sim_.config.faults.commit_failed)) {
      retry_ms_ = std::min(retry_ms_ * 2, kLastRetryMs);
      Later(retry_ms_, [this] { Lead(); });
    } else if (led_before_ && sim_.store.epoch() != epoch_) {
      // Another one has taken over: this process ends, and is started again by whoever looks after it.
      Crash();
      sim_.time.After(kRestartMs * 10, [this] {
        const auto& others = sim_.coordinators;
        const bool needed = std::none_of(others.begin(), others.end(), [](const auto& one) { return one->alive(); });
        if (needed) {
          Start();
        }
      });
    } else {
      BeginTerm();
    }
  });
}

void Coordinator::BeginTerm() {
  for (const auto& other : sim_.coordinators) {
    other->LoseStoreSession();
  }
  epoch_ = sim_.store.RaiseEpoch();
  sim_.judge.Tell(sim_.time.now(), "coordinator", index_, "leads in epoch", epoch_);
  led_before_ = true;
  retry_ms_ = kFirstRetryMs;
  core::Settings settings;
  settings.lease_ttl_ms = sim_.config.lease_ttl_ms;
  core_ = std::make_unique<core::Core>(settings, sim_.config.seed + static_cast<uint64_t>(epoch_));
  core_->Load(sim_.store.Load(), Now());
  lead_proven_ = sim_.time.now();
  CheckCore();
  WakeSoon();
}

void Coordinator::EndTerm() {
  sim_.judge.Tell(sim_.time.now(), "coordinator", index_, "ends its term");
  ++life_;
  core_.reset();
  for (const StreamId stream : std::exchange(streams_, {})) {
    sim_.network->CloseByCoordinator(stream);
  }
  queue_.clear();
  pending_ = {};
  committing_.reset();
  wake_planned_ = false;
  tick_planned_.reset();
}

// ---- what comes in ---------------------------------------------------------------------------------------------

void Coordinator::Receive(StreamId stream, [[maybe_unused]] int worker, std::vector<core::Event> events) {
  if (core_ == nullptr) {
    sim_.network->CloseByCoordinator(stream);
    return;
  }
  if (std::any_of(events.begin(), events.end(),
                  [](const core::Event& event) { return std::holds_alternative<core::WorkerHello>(event); })) {
    streams_.insert(stream);
  }
  queue_.push_back(std::move(events));
  WakeSoon();
}

void Coordinator::StreamEnded(StreamId stream) {
  if (core_ != nullptr && streams_.contains(stream)) {
    Ask(core::WorkerGone{stream});
  }
}

void Coordinator::Ask(const core::Event& event) {
  if (core_ != nullptr) {
    queue_.push_back({event});
    WakeSoon();
  }
}

// ---- the loop --------------------------------------------------------------------------------------------------

void Coordinator::WakeSoon() {
  if (!wake_planned_) {
    wake_planned_ = true;
    Later(0, [this] {
      wake_planned_ = false;
      Turn();
    });
  }
}

bool Coordinator::MustWait(const core::Event& event) const {
  const auto* const command = std::get_if<core::Command>(&event);
  return command != nullptr && !core_->Holds(command->migration) && (committing_ != nullptr || pending_.events > 0);
}

void Coordinator::Apply(const core::Event& event, core::TimePoint now) {
  pending_.output.messages.reserve(kUsualRows);
  pending_.output.writes.events.reserve(kUsualRows);
  pending_.output.writes.projects.reserve(kUsualRows);
  const auto* const command = std::get_if<core::Command>(&event);
  if (command != nullptr && !core_->Holds(command->migration)) {
    if (auto reopen = sim_.store.LoadMigration(command->migration)) {
      core_->Apply(*std::move(reopen), now, pending_.output);
    }
  }
  core_->Apply(event, now, pending_.output);
  ++pending_.events;
  if (const auto* const gone = std::get_if<core::WorkerGone>(&event)) {
    pending_.gone.push_back(gone->stream);
  }
}

void Coordinator::Turn() {
  const core::TimePoint now = Now();
  auto piece = queue_.begin();
  for (; piece != queue_.end(); ++piece) {
    auto next = piece->begin();
    for (; next != piece->end() && !MustWait(*next); ++next) {
      Apply(*next, now);
    }
    if (next != piece->end()) {
      piece->erase(piece->begin(), next);
      break;
    }
  }
  queue_.erase(queue_.begin(), piece);
  if (committing_ == nullptr) {
    CloseGroup();
  }
}

void Coordinator::CloseGroup() {
  const core::TimePoint now = Now();
  const auto deadline = core_->NextDeadline();
  if (queue_.empty() && deadline.has_value() && *deadline <= now.mono) {
    core_->Apply(core::Tick{}, now, pending_.output);
  }
  core_->Schedule(now, pending_.output);
  CheckCore();
  const bool check_lead = sim_.time.now() - lead_proven_ >= kLeadCheckMs;
  if (pending_.output.writes.Empty() && !check_lead) {
    Deliver(pending_);
    pending_.Clear();
    PlanTick();
    return;
  }
  Commit();
}

void Coordinator::PlanTick() {
  MonotonicMs at = lead_proven_ + kLeadCheckMs;
  if (const auto deadline = core_->NextDeadline()) {
    at = std::min(at, *deadline - mono_offset_);
  }
  at = std::max(at, sim_.time.now() + 1);
  if (tick_planned_.has_value() && *tick_planned_ > sim_.time.now() && *tick_planned_ <= at) {
    return;
  }
  tick_planned_ = at;
  Later(at - sim_.time.now(), [this] { WakeSoon(); });
}

// The store carries out what it was sent even if this process has died meanwhile, unless its session was ended.
void Coordinator::Commit() {
  committing_ = std::make_unique<Group>(std::exchange(pending_, {}));
  const Faults& faults = sim_.config.faults;
  const bool fails = sim_.Faulty(faults.commit_failed);
  const bool in_doubt = !fails && sim_.Faulty(faults.commit_in_doubt);
  MonotonicMs delay = sim_.rng.Between(1, 6);
  if (sim_.Faulty(faults.commit_slow)) {
    delay += sim_.rng.Between(100, 8'000);
  }
  if (PGC_PLANTED(kAckBeforeCommit)) {
    Group copy;
    copy.output.messages = committing_->output.messages;
    Deliver(copy);
    committing_->output.messages.clear();
  }
  if (fails || (in_doubt && sim_.rng.PerMille(500))) {
    Later(delay, [this, in_doubt] {
      if (PGC_PLANTED(kFailedCommitCounts) || (in_doubt && PGC_PLANTED(kDoubtfulCommitCounts))) {
        Committed();
      } else {
        CommitFailed();
      }
    });
    return;
  }
  auto writes = std::make_shared<core::Writes>(std::move(committing_->output.writes));
  sim_.time.After(delay, [this, life = life_, session = session_, epoch = epoch_, in_doubt, writes] {
    if (session != session_ && !PGC_PLANTED(kNoEpochCheck)) {
      if (life == life_) {
        Later(1, [this] { CommitFailed(); });
      }
      return;
    }
    const CommitResult result = sim_.store.Commit(std::move(*writes), epoch);
    if (life != life_) {
      return;
    }
    Later(sim_.rng.Between(0, 2), [this, result, in_doubt] {
      if (result == CommitResult::kNotLeader || (in_doubt && !PGC_PLANTED(kDoubtfulCommitCounts))) {
        CommitFailed();
      } else {
        Committed();
      }
    });
  });
}

void Coordinator::Committed() {
  lead_proven_ = sim_.time.now();
  const std::unique_ptr<Group> committed = std::move(committing_);
  Deliver(*committed);
  Turn();
}

void Coordinator::CommitFailed() {
  EndTerm();
  Later(retry_ms_, [this] { Lead(); });
}

void Coordinator::CheckCore() {
  if (sim_.check_core) {
    if (const std::string broken = core_->CheckInvariants(); !broken.empty()) {
      sim_.judge.Fail("core", broken);
    }
  }
}

// ---- what goes out ---------------------------------------------------------------------------------------------

std::vector<History> Coordinator::HistoriesFor(const core::SendGrant& grant) const {
  std::vector<History> histories;
  for (const core::GrantedProject& project : grant.projects) {
    histories.push_back(project.has_history ? sim_.store.HistoryOf(project.id) : History());
  }
  return histories;
}

void Coordinator::Deliver(Group& group) {
  for (const core::Reply& reply : group.output.replies) {
    if (reply.request.value == kSubmitRequest) {
      submitted_ = submitted_ || reply.status.ok();
      if (!reply.status.ok()) {
        sim_.judge.Fail("O8", "a submission that was repeated was refused");
      }
    }
  }
  std::map<StreamId, std::vector<ToWorker>> outbound;
  for (core::Message& message : group.output.messages) {
    const StreamId stream = std::visit([](const auto& body) { return body.stream; }, message);
    if (!streams_.contains(stream)) {
      continue;
    }
    std::vector<ToWorker>& list = outbound[stream];
    list.reserve(group.output.messages.size());
    auto& entry = list.emplace_back();
    if (const auto* const grant = std::get_if<core::SendGrant>(&message)) {
      entry.histories = HistoriesFor(*grant);
    }
    entry.message = std::move(message);
  }
  for (auto& [stream, messages] : outbound) {
    sim_.network->ToWorkerSide(stream, std::move(messages));
  }
  for (const StreamId stream : group.gone) {
    streams_.erase(stream);
    sim_.network->CloseByCoordinator(stream);
  }
}

}  // namespace pgconvoy::sim
