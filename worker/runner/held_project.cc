#include "worker/runner/held_project.h"

#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "worker/core/attempt_rules.h"

namespace pgconvoy::worker {
namespace {

constexpr int64_t kProgressIntervalMs = 1'000;
// How often a waiting slot looks at the lease.
constexpr auto kWaitStep = std::chrono::milliseconds(100);

absl::Status LeaseLost(const std::string& ref, const std::string& why) {
  return MakeError(Verdict::kFenced, kLeaseLostCode,
                   "project " + ref + ": " + why + "; this worker stops and touches nothing more",
                   "nothing to do: another attempt goes on");
}

}  // namespace

LeaseWatch::LeaseWatch(Clock& clock) : clock_(clock), lease_(clock.NowMonotonic()) {}

void LeaseWatch::Heard() {
  const MutexLock lock(mutex_);
  lease_.Heard(clock_.NowMonotonic());
}

void LeaseWatch::SetTtl(int64_t lease_ttl_ms) {
  const MutexLock lock(mutex_);
  lease_.SetTtl(lease_ttl_ms);
}

int64_t LeaseWatch::Lapses() const {
  const MutexLock lock(mutex_);
  return lease_.Lapses(clock_.NowMonotonic());
}

HeldProject::HeldProject(std::string migration_id, std::string ref, int64_t fence, const LeaseWatch& lease, Send send)
    : migration_id_(std::move(migration_id)),
      ref_(std::move(ref)),
      fence_(fence),
      lease_(lease),
      lapses_at_grant_(lease.Lapses()),
      send_(std::move(send)) {}

v1::HeldProject HeldProject::ToProto() const {
  v1::HeldProject held;
  held.set_migration_id(migration_id_);
  held.set_project_ref(ref_);
  held.set_fence(fence_);
  return held;
}

v1::WorkerMessage HeldProject::Wrap(const v1::Report& report) const {
  v1::WorkerMessage message;
  *message.mutable_report() = report;
  return message;
}

int64_t HeldProject::Post(v1::Report report, bool can_wait) {
  const MutexLock lock(mutex_);
  report.set_migration_id(migration_id_);
  report.set_project_ref(ref_);
  report.set_fence(fence_);
  report.set_seq(log_.next_seq());
  const auto& added = log_.Add(std::move(report));
  // Under the lock, so that reports leave in the order of their numbers.
  send_(Wrap(added.report), can_wait);
  return added.seq;
}

absl::Status HeldProject::WaitDurable(int64_t seq) {
  MutexLock lock(mutex_);
  while (!log_.IsDurable(seq)) {
    PGC_RETURN_IF_ERROR(StopReasonLocked());
    changed_.WaitFor(lock, kWaitStep);
  }
  return absl::OkStatus();
}

void HeldProject::GiveBack() {
  v1::WorkerMessage message;
  *message.mutable_release()->add_projects() = ToProto();
  send_(message, /*can_wait=*/false);
}

absl::Status HeldProject::Intent(const v1::Intent& intent) {
  v1::Report report;
  *report.mutable_intent() = intent;
  return WaitDurable(Post(std::move(report)));
}

void HeldProject::Progress(int64_t rows, int64_t bytes) {
  const MonotonicMs now = Clock::System().NowMonotonic();
  {
    const MutexLock lock(mutex_);
    if (now - last_progress_ < kProgressIntervalMs) {
      return;
    }
    last_progress_ = now;
  }
  v1::Report report;
  report.mutable_progress()->set_rows(rows);
  report.mutable_progress()->set_bytes(bytes);
  Post(std::move(report), /*can_wait=*/true);
}

absl::Status HeldProject::Checkpoint() {
  const MutexLock lock(mutex_);
  return StopReasonLocked();
}

absl::Status HeldProject::StopReasonLocked() const {
  // Before stop_: whoever was called off and lost its lease has lost it.
  if (lease_.Lapses() != lapses_at_grant_) {
    return LeaseLost(ref_, "nothing was heard from the coordinator for the time of a lease");
  }
  return stop_;
}

void HeldProject::StopLocked(StopReason reason, const absl::Status& why) {
  if (log_.Stop(reason)) {
    stop_ = why;
  }
}

void HeldProject::Acknowledge(const v1::Ack& ack) {
  {
    const MutexLock lock(mutex_);
    if (ack.refused_reason() == "LEASE_LOST") {
      StopLocked(StopReason::kLeaseLost, LeaseLost(ref_, "the coordinator says that its lease is lost"));
    } else if (!ack.refused_reason().empty()) {
      StopLocked(StopReason::kReportRefused,
                 MakeError(Verdict::kPermanent, "PGC-REPORT-REFUSED",
                           "project " + ref_ + ": the coordinator refused a report: " + ack.refused_message(),
                           "use workers and coordinator of the same version"));
    } else {
      log_.Acknowledge(ack.seq());
    }
  }
  changed_.NotifyAll();
}

void HeldProject::Revoke(v1::Revoke::Reason reason) {
  {
    const MutexLock lock(mutex_);
    if (reason == v1::Revoke::CANCELLED) {
      StopLocked(StopReason::kCalledOff,
                 MakeError(Verdict::kAbandoned, "PGC-ABANDONED", "project " + ref_ + " was called off"));
    } else {
      StopLocked(StopReason::kLeaseLost, LeaseLost(ref_, "the coordinator has taken it back"));
    }
  }
  changed_.NotifyAll();
}

std::vector<v1::WorkerMessage> HeldProject::Unacknowledged() const {
  const MutexLock lock(mutex_);
  std::vector<v1::WorkerMessage> messages;
  for (const auto& entry : log_.unacknowledged()) {
    messages.push_back(Wrap(entry.report));
  }
  return messages;
}

}  // namespace pgconvoy::worker
