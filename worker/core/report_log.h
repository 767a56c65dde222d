// The reports of one attempt: numbered from 1, kept until the coordinator has acknowledged them, which it does only
// when they are durable; after a reconnect those that are left are sent again and recorded once. With them why the
// attempt must stop, if it must.
//
// Thread safety: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>

#include "common/base/planted.h"

namespace pgconvoy::worker {

enum class StopReason : uint8_t { kNone, kCalledOff, kReportRefused, kLeaseLost };

template <typename Report>
class ReportLog {
 public:
  struct Entry {
    Entry(int64_t number, Report&& numbered) : seq(number), report(std::move(numbered)) {}

    int64_t seq;
    Report report;
  };

  // What the next report is numbered.
  int64_t next_seq() const { return next_seq_; }
  const Entry& Add(Report report) { return unacknowledged_.emplace_back(next_seq_++, std::move(report)); }

  // Everything up to `seq` is durable.
  void Acknowledge(int64_t seq) {
    durable_seq_ = std::max(durable_seq_, seq);
    while (!unacknowledged_.empty() && unacknowledged_.front().seq <= durable_seq_) {
      unacknowledged_.pop_front();
    }
  }
  bool IsDurable(int64_t seq) const { return durable_seq_ >= seq || PGC_PLANTED(kNeverWaitDurable); }
  // What is to be sent again on a new stream, in order.
  const std::deque<Entry>& unacknowledged() const { return unacknowledged_; }

  // The first reason stays, unless the lease is lost. True when this one counts.
  bool Stop(StopReason why) {
    const bool counts = stop_ == StopReason::kNone || why == StopReason::kLeaseLost;
    stop_ = counts ? why : stop_;
    return counts;
  }
  StopReason stop() const { return stop_; }

 private:
  std::deque<Entry> unacknowledged_;
  int64_t next_seq_ = 1;
  int64_t durable_seq_ = 0;
  StopReason stop_ = StopReason::kNone;
};

}  // namespace pgconvoy::worker
