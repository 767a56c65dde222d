// A project that this worker holds: the numbered reports that are not acknowledged yet, and whether it may go on.
//
// Reports are numbered from 1 per fence and kept until the coordinator has acknowledged them, which it does only when
// they are durable; after a reconnect the unacknowledged ones are sent again and recorded once.
//
// Thread safety: all methods may be called from any thread. One slot posts and waits; the link's threads acknowledge,
// refuse and revoke.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "pgconvoy/v1/worker_service.pb.h"
#include "worker/core/lease.h"
#include "worker/core/report_log.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// The lease of this process, by its own clock.
class LeaseWatch {
 public:
  explicit LeaseWatch(Clock& clock);
  void Heard();
  void SetTtl(int64_t lease_ttl_ms);
  int64_t Lapses() const;

 private:
  Clock& clock_;
  mutable Mutex mutex_;
  Lease lease_ ABSL_GUARDED_BY(mutex_);
};

class HeldProject : public Reporter {
 public:
  using Send = std::function<void(const v1::WorkerMessage&, bool can_wait)>;
  HeldProject(std::string migration_id, std::string ref, int64_t fence, const LeaseWatch& lease, Send send);

  const std::string& migration_id() const { return migration_id_; }
  const std::string& ref() const { return ref_; }
  int64_t fence() const { return fence_; }
  v1::HeldProject ToProto() const;

  // Numbers and sends a report; returns its number. Nobody waits for one that `can_wait`, so it leaves with the next.
  int64_t Post(v1::Report report, bool can_wait = false);
  // Blocks until everything up to `seq` is durable. FENCED or ABANDONED when the attempt must stop instead.
  absl::Status WaitDurable(int64_t seq);
  // Tells the coordinator that this worker does no more about the project; ignored when it knows that already.
  void GiveBack();

  // Reporter.
  absl::Status Intent(const v1::Intent& intent) override;
  void Progress(int64_t rows, int64_t bytes) override;
  absl::Status Checkpoint() override;

  // From the link.
  void Acknowledge(const v1::Ack& ack);
  void Revoke(v1::Revoke::Reason reason);
  std::vector<v1::WorkerMessage> Unacknowledged() const;

 private:
  absl::Status StopReasonLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StopLocked(StopReason reason, const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::WorkerMessage Wrap(const v1::Report& report) const;

  const std::string migration_id_;
  const std::string ref_;
  const int64_t fence_;
  const LeaseWatch& lease_;
  const int64_t lapses_at_grant_;
  const Send send_;

  mutable Mutex mutex_;
  Condition changed_;
  ReportLog<v1::Report> log_ ABSL_GUARDED_BY(mutex_);
  // The stop reason of log_ in words.
  absl::Status stop_ ABSL_GUARDED_BY(mutex_);
  MonotonicMs last_progress_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace pgconvoy::worker
