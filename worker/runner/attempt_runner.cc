#include "worker/runner/attempt_runner.h"

#include <google/protobuf/util/time_util.h>

#include <string>
#include <utility>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/log/log.h"
#include "worker/core/attempt_rules.h"
#include "worker/phases/phases.h"

namespace pgconvoy::worker {
namespace {

v1::Verdict ToProto(Verdict verdict) {
  switch (verdict) {
    case Verdict::kTransient:
    case Verdict::kInDoubt: return v1::TRANSIENT;
    case Verdict::kPermanent: return v1::PERMANENT;
    case Verdict::kFenced: return v1::FENCED;
    case Verdict::kOperator: return v1::OPERATOR;
    case Verdict::kAbandoned: return v1::ABANDONED;
  }
  return v1::PERMANENT;
}

class Runner {
 public:
  Runner(const v1::Plan& plan, AttemptGrant grant, AttemptTools tools, HeldProject& held)
      : plan_(plan), grant_(std::move(grant)), tools_(tools), held_(held) {}

  AttemptEnd Run(const std::vector<Phase>& phases) {
    const absl::Status outcome = RunAll(phases);
    return outcome.ok() ? Finish() : ReportFailure(outcome);
  }

 private:
  absl::Status RunAll(const std::vector<Phase>& phases) {
    PGC_ASSIGN_OR_RETURN(attempt_, Attempt::Create(plan_, std::move(grant_), tools_.pool, tools_.schemas, held_));
    for (const Phase phase : phases) {
      phase_ = phase;
      PGC_RETURN_IF_ERROR(held_.Checkpoint());
      PGC_RETURN_IF_ERROR(RunOne(phase));
    }
    return absl::OkStatus();
  }

  absl::Status RunOne(Phase phase) {
    v1::Report started;
    started.mutable_phase_started()->set_phase(static_cast<v1::Phase>(phase));
    held_.Post(std::move(started), /*can_wait=*/true);
    PGC_RETURN_IF_ERROR(HitPhaseFailpoint("started"));
    if (NeedsDurableResults(phase)) {
      PGC_RETURN_IF_ERROR(held_.WaitDurable(last_result_));
    }
    const MonotonicMs begin = Clock::System().NowMonotonic();
    PGC_ASSIGN_OR_RETURN(v1::PhaseResult result, RunPhase(*attempt_, phase));
    PGC_RETURN_IF_ERROR(HitPhaseFailpoint("done"));
    result.set_phase(static_cast<v1::Phase>(phase));
    result.set_direction(static_cast<v1::Direction>(attempt_->grant().direction));
    result.set_fence(attempt_->grant().fence);
    *result.mutable_end_time() = google::protobuf::util::TimeUtil::MillisecondsToTimestamp(Clock::System().NowWall());
    result.set_duration_ms(Clock::System().NowMonotonic() - begin);
    attempt_->AddResult(result);
    v1::Report done;
    *done.mutable_phase_done() = std::move(result);
    last_result_ = held_.Post(std::move(done), /*can_wait=*/!MustBeDurable(phase));
    log::Write(log::Level::kDebug, Context(), "phase done");
    return MustBeDurable(phase) ? held_.WaitDurable(last_result_) : absl::OkStatus();
  }

  // "worker.phase.COPY.started", and "worker.rollback.COPY.started" on the way back.
  absl::Status HitPhaseFailpoint([[maybe_unused]] const char* when) {
#ifdef PGCONVOY_FAILPOINTS_ENABLED
    const bool forward = attempt_->grant().direction == Direction::kForward;
    return HitFailpoint(std::string(forward ? "worker.phase." : "worker.rollback.") + std::string(Name(phase_)) +
                        "." + when);
#else
    return absl::OkStatus();
#endif
  }

  AttemptEnd Finish() {
    v1::Report report;
    for (const std::string& warning : attempt_->warnings) {
      report.mutable_attempt_done()->add_warnings(warning);
    }
    report.mutable_attempt_done();
    if (const absl::Status durable = held_.WaitDurable(held_.Post(std::move(report))); !durable.ok()) {
      // Else a refused end would leave a project that runs for ever.
      return ReportFailure(durable);
    }
    log::Write(log::Level::kInfo, Context(), "attempt done");
    return AttemptEnd::kRecorded;
  }

  absl::Status LeadingCause(const absl::Status& failure) {
    const absl::Status stop = held_.Checkpoint();
    const std::string code = CodeOf(failure);
    const std::string stop_code = CodeOf(stop);
    if (stop.ok() || !StopLeads({VerdictOf(failure), code}, {VerdictOf(stop), stop_code})) {
      return failure;
    }
    log::Write(log::Level::kInfo, Context(), "stopped by: " + Describe(failure));
    return stop;
  }

  AttemptEnd ReportFailure(const absl::Status& failure) {
    const absl::Status error = LeadingCause(failure);
    log::Write(log::Level::kWarn, Context(), "attempt ended: " + Describe(error));
    const std::string code = CodeOf(error);
    const Ending ending = EndingOf({VerdictOf(error), code});
    if (ending == Ending::kGiveBack) {
      return AttemptEnd::kUnrecorded;
    }
    v1::Report report;
    v1::Failed* const failed = report.mutable_failed();
    failed->set_phase(static_cast<v1::Phase>(phase_));
    failed->mutable_error()->set_verdict(ToProto(ReportedVerdict(VerdictOf(error))));
    failed->mutable_error()->set_code(code);
    failed->mutable_error()->set_message(MessageOf(error));
    failed->mutable_error()->set_remedy(RemedyOf(error));
    const int64_t seq = held_.Post(std::move(report));
    const bool recorded = ending == Ending::kReportAndWait && held_.WaitDurable(seq).ok();
    return recorded ? AttemptEnd::kRecorded : AttemptEnd::kUnrecorded;
  }

  log::Context Context() const {
    return {held_.migration_id(), held_.ref(), std::string(Name(phase_)), held_.fence()};
  }

  const v1::Plan& plan_;
  AttemptGrant grant_;
  AttemptTools tools_;
  HeldProject& held_;
  std::unique_ptr<Attempt> attempt_;
  Phase phase_ = Phase::kFence;
  // The number of the last result that was posted.
  int64_t last_result_ = 0;
};

}  // namespace

AttemptEnd RunAttempt(const v1::Plan& plan,
                      AttemptGrant grant,
                      const std::vector<Phase>& phases,
                      AttemptTools tools,
                      HeldProject& held) {
  return Runner(plan, std::move(grant), tools, held).Run(phases);
}

}  // namespace pgconvoy::worker
