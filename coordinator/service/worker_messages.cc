#include "coordinator/service/worker_messages.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/rpc/rpc.h"
#include "coordinator/service/arguments.h"
#include "coordinator/service/payload.h"
#include "coordinator/service/views.h"

namespace pgconvoy::service {
namespace {

// A grant above half of what a message may hold is split; what is left is room for one large project.
constexpr size_t kSplitGrantBytes = static_cast<size_t>(rpc::kMaxMessageBytes) / 2;

// Texts that a report carries are cut rather than refused: a long error message must not block the report.
std::string Cleaned(const std::string& text, size_t limit) {
  std::string clean = IsUtf8(text) ? text : Printable(text);
  if (clean.size() > limit) {
    while (limit > 0 && (static_cast<unsigned char>(clean[limit]) & 0xC0) == 0x80) {
      --limit;
    }
    clean.resize(limit);
  }
  return clean;
}

absl::StatusOr<Phase> ToPhase(v1::Phase phase) {
  if (phase < v1::FENCE || phase > v1::CLEANUP) {
    return Bad("phase", "is not a phase");
  }
  return static_cast<Phase>(phase);
}

absl::StatusOr<Verdict> ToVerdict(v1::Verdict verdict) {
  switch (verdict) {
    case v1::TRANSIENT: return Verdict::kTransient;
    case v1::PERMANENT: return Verdict::kPermanent;
    case v1::FENCED: return Verdict::kFenced;
    case v1::OPERATOR: return Verdict::kOperator;
    case v1::ABANDONED: return Verdict::kAbandoned;
    default: return Bad("error.verdict", "is not set");
  }
}

absl::StatusOr<core::ErrorInfo> ToErrorInfo(const v1::Error& error) {
  core::ErrorInfo info;
  PGC_ASSIGN_OR_RETURN(info.verdict, ToVerdict(error.verdict()));
  info.code = Cleaned(error.code(), kMaxNameBytes);
  info.message = Cleaned(error.message(), kMaxMessageBytes);
  info.remedy = Cleaned(error.remedy(), kMaxMessageBytes);
  return info;
}

template <typename Texts>
std::vector<std::string> ToWarnings(const Texts& texts) {
  std::vector<std::string> warnings;
  for (int i = 0; i < std::min(texts.size(), kMaxWarnings); ++i) {
    warnings.push_back(Cleaned(texts.Get(i), kMaxReasonBytes));
  }
  return warnings;
}

absl::StatusOr<core::HeldProject> ToHeld(const v1::HeldProject& held) {
  core::HeldProject project;
  PGC_ASSIGN_OR_RETURN(project.migration, ToMigrationId(held.migration_id()));
  PGC_RETURN_IF_ERROR(CheckRef(held.project_ref(), false));
  project.ref = held.project_ref();
  if (held.fence() <= 0) {
    return Bad("fence", "is not positive");
  }
  project.fence.value = held.fence();
  return project;
}

template <typename List>
absl::StatusOr<std::vector<core::HeldProject>> ToHeldList(const List& list) {
  std::vector<core::HeldProject> projects;
  for (const v1::HeldProject& held : list) {
    PGC_ASSIGN_OR_RETURN(auto project, ToHeld(held));
    projects.push_back(std::move(project));
  }
  return projects;
}

v1::HeldProject HeldToWire(const core::HeldProject& held) {
  v1::HeldProject project;
  project.set_migration_id(std::to_string(held.migration.value));
  project.set_project_ref(held.ref);
  project.set_fence(held.fence.value);
  return project;
}

absl::StatusOr<std::string> ToPayload(const google::protobuf::Message& message) {
  std::string json = ToJson(message);
  if (json.empty() || json.size() > kMaxPayloadBytes) {
    return Bad("payload", "is larger than " + std::to_string(kMaxPayloadBytes) + " bytes");
  }
  return json;
}

// True when the result says no more than what phase is done; printing its JSON through reflection would cost more than
// all the rest of a report.
bool IsBare(const v1::PhaseResult& result) {
  v1::PhaseResult bare;
  bare.set_phase(result.phase());
  bare.set_direction(result.direction());
  bare.set_fence(result.fence());
  return bare.ByteSizeLong() == result.ByteSizeLong() && v1::Direction_IsValid(result.direction()) &&
         result.phase() != v1::PHASE_UNSPECIFIED && result.direction() != v1::DIRECTION_UNSPECIFIED &&
         result.fence() != 0;
}

// A JSON string instead of an object. The store makes the object again, with the direction and fence of its row.
std::string BareJson(const v1::PhaseResult& result) { return '"' + v1::Phase_Name(result.phase()) + '"'; }

absl::StatusOr<std::string> ResultPayload(const v1::PhaseResult& result) {
  return IsBare(result) ? BareJson(result) : ToPayload(result);
}

absl::StatusOr<core::PhaseDone> ToPhaseDone(const v1::PhaseResult& result) {
  core::PhaseDone done;
  PGC_ASSIGN_OR_RETURN(done.phase, ToPhase(result.phase()));
  PGC_ASSIGN_OR_RETURN(done.payload_json, ResultPayload(result));
  if (result.has_copy()) {
    done.rows_copied = std::max<int64_t>(0, result.copy().rows());
    done.bytes_copied = std::max<int64_t>(0, result.copy().bytes());
  }
  for (const v1::CheckResult& check : result.checks().checks()) {
    if (!check.passed() && check.warning() && done.warnings.size() < kMaxWarnings) {
      done.warnings.push_back(Cleaned(check.name() + ": " + check.message(), kMaxReasonBytes));
    }
  }
  return done;
}

absl::Status SetBody(const v1::Report& report, core::WorkerReport& out) {
  switch (report.body_case()) {
    case v1::Report::kPhaseStarted: {
      PGC_ASSIGN_OR_RETURN(const Phase phase, ToPhase(report.phase_started().phase()));
      out.body = core::PhaseStarted{phase};
      return absl::OkStatus();
    }
    case v1::Report::kIntent: {
      PGC_ASSIGN_OR_RETURN(std::string payload, ToPayload(report.intent()));
      out.body = core::IntentReported{std::move(payload)};
      return absl::OkStatus();
    }
    case v1::Report::kProgress:
      out.body = core::Progress{std::max<int64_t>(0, report.progress().rows()),
                                std::max<int64_t>(0, report.progress().bytes())};
      return absl::OkStatus();
    case v1::Report::kPhaseDone: {
      PGC_ASSIGN_OR_RETURN(out.body, ToPhaseDone(report.phase_done()));
      return absl::OkStatus();
    }
    case v1::Report::kFailed: {
      core::AttemptFailed failed;
      PGC_ASSIGN_OR_RETURN(failed.phase, ToPhase(report.failed().phase()));
      PGC_ASSIGN_OR_RETURN(failed.error, ToErrorInfo(report.failed().error()));
      out.body = std::move(failed);
      return absl::OkStatus();
    }
    case v1::Report::kAttemptDone:
      out.body = core::AttemptDone{ToWarnings(report.attempt_done().warnings())};
      return absl::OkStatus();
    case v1::Report::BODY_NOT_SET: break;
  }
  return Bad("body", "is not set");
}

v1::ProjectGrant GrantedToWire(const core::GrantedProject& project, const store::History* history) {
  v1::ProjectGrant grant;
  grant.set_ref(project.ref);
  SetAttributes(project.attributes_json, *grant.mutable_attributes());
  grant.set_fence(project.fence.value);
  grant.set_direction(ToWire(project.direction));
  for (const Phase phase : project.phases) {
    grant.add_phases(ToWire(phase));
  }
  grant.set_discard_writes(project.discard_writes);
  if (history == nullptr) {
    return grant;
  }
  for (const std::string& json : history->results_json) {
    if (auto result = FromJson<v1::PhaseResult>(json); result.ok()) {
      *grant.add_done() = *std::move(result);
    }
  }
  for (const std::string& json : history->intents_json) {
    if (auto intent = FromJson<v1::Intent>(json); intent.ok()) {
      *grant.add_intents() = *std::move(intent);
    }
  }
  for (const std::string& json : history->former_json) {
    if (auto result = FromJson<v1::PhaseResult>(json); result.ok()) {
      *grant.add_former() = *std::move(result);
    }
  }
  return grant;
}

v1::CoordinatorMessage EmptyGrant(const runtime::Grant& outbound) {
  v1::CoordinatorMessage message;
  message.mutable_grant()->set_migration_id(std::to_string(outbound.grant.migration.value));
  message.mutable_grant()->set_batch_id(std::to_string(outbound.grant.batch.value));
  return message;
}

std::vector<v1::CoordinatorMessage> GrantToWire(const runtime::Grant& outbound) {
  std::vector<v1::CoordinatorMessage> messages = {EmptyGrant(outbound)};
  if (outbound.plan_json != nullptr) {
    messages[0].mutable_grant()->set_plan_json(*outbound.plan_json);
  }
  size_t bytes = messages[0].ByteSizeLong();
  for (const core::GrantedProject& project : outbound.grant.projects) {
    const auto history = outbound.histories.find(project.id);
    v1::ProjectGrant grant = GrantedToWire(project, history == outbound.histories.end() ? nullptr : &history->second);
    const size_t grant_bytes = grant.ByteSizeLong();
    if (messages.back().grant().projects_size() > 0 && bytes + grant_bytes > kSplitGrantBytes) {
      messages.push_back(EmptyGrant(outbound));
      bytes = 0;
    }
    bytes += grant_bytes;
    *messages.back().mutable_grant()->add_projects() = std::move(grant);
  }
  return messages;
}

void FillAck(const core::SendAck& ack, v1::Ack& out) {
  out.set_migration_id(std::to_string(ack.migration.value));
  out.set_project_ref(ack.ref);
  out.set_fence(ack.fence.value);
  out.set_seq(ack.seq);
  out.set_refused_reason(ack.refused_reason);
  out.set_refused_message(ack.refused_message);
}

std::vector<v1::CoordinatorMessage> SingleAcks(const std::vector<core::SendAck>& acks) {
  std::vector<v1::CoordinatorMessage> messages(acks.size());
  for (size_t i = 0; i < acks.size(); ++i) {
    FillAck(acks[i], *messages[i].mutable_ack());
  }
  return messages;
}

std::vector<v1::CoordinatorMessage> AckBatches(const std::vector<core::SendAck>& acks) {
  std::vector<v1::CoordinatorMessage> messages;
  for (size_t i = 0; i < acks.size(); ++i) {
    if (i % kMaxAcksInBatch == 0) {
      messages.emplace_back();
    }
    FillAck(acks[i], *messages.back().mutable_ack_batch()->add_acks());
  }
  return messages;
}

v1::CoordinatorMessage RevokeToWire(const core::SendRevoke& revoke) {
  v1::CoordinatorMessage message;
  message.mutable_revoke()->set_reason(static_cast<v1::Revoke::Reason>(revoke.reason));
  for (const core::HeldProject& held : revoke.projects) {
    *message.mutable_revoke()->add_projects() = HeldToWire(held);
  }
  return message;
}

v1::CoordinatorMessage WelcomeToWire(const runtime::Welcome& welcome) {
  v1::CoordinatorMessage message;
  message.mutable_welcome()->set_store_id(welcome.store_id);
  message.mutable_welcome()->set_epoch(welcome.epoch);
  message.mutable_welcome()->set_lease_ttl_ms(welcome.lease_ttl_ms);
  message.mutable_welcome()->set_takes_report_batches(true);
  return message;
}

absl::Status CheckProtocol(const v1::Hello& hello) {
  if (hello.protocol() >= rpc::kOldestWorkerProtocol && hello.protocol() <= rpc::kWorkerProtocol) {
    return absl::OkStatus();
  }
  return WithStatusCode(
      absl::StatusCode::kFailedPrecondition,
      MakeError(Verdict::kOperator, "PGC-WORKER-PROTOCOL",
                "the worker speaks version " + std::to_string(hello.protocol()) +
                    " of the protocol, this coordinator versions " + std::to_string(rpc::kOldestWorkerProtocol) +
                    " to " + std::to_string(rpc::kWorkerProtocol),
                "run workers and coordinator of one release, the coordinator's being " PGCONVOY_VERSION));
}

}  // namespace

absl::StatusOr<core::WorkerHello> ToHello(const v1::Hello& hello, core::StreamId stream) {
  PGC_RETURN_IF_ERROR(CheckProtocol(hello));
  PGC_RETURN_IF_ERROR(CheckName("worker_id", hello.worker_id()));
  PGC_RETURN_IF_ERROR(CheckName("incarnation", hello.incarnation()));
  PGC_RETURN_IF_ERROR(CheckText("version", hello.version(), kMaxNameBytes));
  PGC_RETURN_IF_ERROR(CheckText("host", hello.host(), kMaxNameBytes));
  if (hello.slots() < 1 || hello.slots() > kMaxSlots) {
    return Bad("slots", "must be 1 to " + std::to_string(kMaxSlots));
  }
  core::WorkerHello out;
  out.stream = stream;
  out.worker_id = hello.worker_id();
  out.incarnation = hello.incarnation();
  out.version = hello.version();
  out.host = hello.host();
  out.slots = hello.slots();
  out.draining = hello.draining();
  PGC_ASSIGN_OR_RETURN(out.held, ToHeldList(hello.held()));
  return out;
}

absl::StatusOr<core::WorkerReport> ToReport(const v1::Report& report, core::StreamId stream) {
  core::WorkerReport out;
  out.stream = stream;
  PGC_ASSIGN_OR_RETURN(out.migration, ToMigrationId(report.migration_id()));
  PGC_RETURN_IF_ERROR(CheckRef(report.project_ref(), false));
  out.ref = report.project_ref();
  if (report.fence() <= 0 || report.seq() <= 0) {
    return Bad("fence, seq", "must be positive");
  }
  out.fence.value = report.fence();
  out.seq = report.seq();
  PGC_RETURN_IF_ERROR(SetBody(report, out));
  return out;
}

absl::StatusOr<core::WorkerRelease> ToRelease(const v1::Release& release, core::StreamId stream) {
  core::WorkerRelease out;
  out.stream = stream;
  PGC_ASSIGN_OR_RETURN(out.projects, ToHeldList(release.projects()));
  return out;
}

v1::CoordinatorMessage RefusalOf(const v1::Report& report, const absl::Status& why) {
  v1::CoordinatorMessage message;
  v1::Ack* const ack = message.mutable_ack();
  ack->set_migration_id(report.migration_id());
  ack->set_project_ref(report.project_ref());
  ack->set_fence(report.fence());
  ack->set_seq(report.seq());
  ack->set_refused_reason("ILLEGAL");
  ack->set_refused_message(MessageOf(why));
  return message;
}

std::vector<v1::CoordinatorMessage> ToWire(const runtime::Outbound& outbound, bool ack_batches) {
  if (const auto* const welcome = std::get_if<runtime::Welcome>(&outbound)) {
    return {WelcomeToWire(*welcome)};
  }
  if (const auto* const grant = std::get_if<runtime::Grant>(&outbound)) {
    return GrantToWire(*grant);
  }
  if (const auto* const acks = std::get_if<runtime::Acks>(&outbound)) {
    return ack_batches && acks->acks.size() > 1 ? AckBatches(acks->acks) : SingleAcks(acks->acks);
  }
  if (const auto* const revoke = std::get_if<core::SendRevoke>(&outbound)) {
    return {RevokeToWire(*revoke)};
  }
  v1::CoordinatorMessage restarting;
  restarting.mutable_restarting();
  return {restarting};
}

void JoinGrants(std::deque<v1::CoordinatorMessage>& queue) {
  size_t count = 0;
  size_t bytes = 0;
  for (const v1::CoordinatorMessage& message : queue) {
    bytes += message.has_grant() ? message.ByteSizeLong() : 0;
    if (!message.has_grant() || bytes > kSplitGrantBytes) {
      break;
    }
    ++count;
  }
  if (count < 2) {
    return;
  }
  v1::CoordinatorMessage joined;
  for (size_t i = 0; i < count; ++i) {
    *joined.mutable_grant_batch()->add_grants() = std::move(*queue[i].mutable_grant());
  }
  queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(count));
  queue.push_front(std::move(joined));
}

v1::ProjectGrant ToGrant(const store::ProjectDetail& detail, Fence fence) {
  const core::ProjectRow& row = detail.project.row;
  const bool undone = row.state == ProjectState::kRolledBack || row.state == ProjectState::kCancelled;
  core::GrantedProject project;
  project.ref = row.ref;
  project.attributes_json = row.attributes_json;
  project.fence = fence;
  project.direction = undone ? Direction::kRollback : Direction::kForward;
  store::History history;
  history.results_json = detail.results_json;
  history.intents_json = detail.intents_json;
  return GrantedToWire(project, &history);
}

}  // namespace pgconvoy::service
