#include "coordinator/service/convert.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "common/plan/server_choice.h"
#include "common/rpc/rpc.h"
#include "coordinator/core/phase_table.h"
#include "coordinator/service/payload.h"

namespace pgconvoy::service {
namespace {

// A grant above half of what a message may hold is split; what is left is room for one large project.
constexpr size_t kSplitGrantBytes = static_cast<size_t>(rpc::kMaxMessageBytes) / 2;

absl::Status Bad(const std::string& field, const std::string& what) {
  return InputError("PGC-API-ARGUMENT", field + ": " + what);
}

absl::Status CheckText(const std::string& field, const std::string& text, size_t limit) {
  if (text.size() > limit) {
    return Bad(field, "is longer than " + std::to_string(limit) + " bytes");
  }
  return IsUtf8(text) ? absl::OkStatus() : Bad(field, "is not UTF-8 without NUL");
}

absl::Status CheckName(const std::string& field, const std::string& text) {
  if (text.empty()) {
    return Bad(field, "is empty");
  }
  if (Printable(text) != text) {
    return Bad(field, "holds control characters");
  }
  return CheckText(field, text, kMaxNameBytes);
}

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

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  return google::protobuf::util::MessageToJsonString(message, &json, options).ok() ? json : std::string();
}

google::protobuf::Timestamp ToTimestamp(WallMs ms) {
  google::protobuf::Timestamp time;
  time.set_seconds(ms / 1000);
  time.set_nanos(static_cast<int32_t>(ms % 1000) * 1'000'000);
  return time;
}

absl::StatusOr<Phase> ToPhase(v1::Phase phase) {
  if (phase < v1::FENCE || phase > v1::CLEANUP) {
    return Bad("phase", "is not a phase");
  }
  return static_cast<Phase>(phase);
}

v1::Phase ToWire(Phase phase) { return static_cast<v1::Phase>(phase); }
v1::Direction ToWire(Direction direction) { return static_cast<v1::Direction>(direction); }

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

v1::Verdict ToWire(Verdict verdict) {
  switch (verdict) {
    case Verdict::kTransient:
    case Verdict::kInDoubt: return v1::TRANSIENT;
    case Verdict::kPermanent: return v1::PERMANENT;
    case Verdict::kFenced: return v1::FENCED;
    case Verdict::kOperator: return v1::OPERATOR;
    case Verdict::kAbandoned: return v1::ABANDONED;
  }
  return v1::VERDICT_UNSPECIFIED;
}

v1::Error ToWire(const core::ErrorInfo& info) {
  v1::Error error;
  error.set_verdict(ToWire(info.verdict));
  error.set_code(info.code);
  error.set_message(info.message);
  error.set_remedy(info.remedy);
  return error;
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

v1::HeldProject ToWire(const core::HeldProject& held) {
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

void SetAttributes(const std::string& json, google::protobuf::Map<std::string, std::string>& attributes) {
  if (json.empty()) {
    return;
  }
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  if (!parsed.is_object()) {
    return;
  }
  for (const auto& [key, value] : parsed.items()) {
    if (value.is_string()) {
      attributes[key] = value.get<std::string>();
    }
  }
}

v1::ProjectGrant ToWire(const core::GrantedProject& project, const store::History* history) {
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
    v1::ProjectGrant grant = ToWire(project, history == outbound.histories.end() ? nullptr : &history->second);
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
    *message.mutable_revoke()->add_projects() = ToWire(held);
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

bool IsAttributeName(const std::string& name) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && name.size() <= kMaxNameBytes && name[0] >= 'a' && name[0] <= 'z' &&
         std::all_of(name.begin(), name.end(), allowed);
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

// ---- from the worker -------------------------------------------------------------------------------------------

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

// ---- to the worker ---------------------------------------------------------------------------------------------

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

// ---- from the operator -----------------------------------------------------------------------------------------

absl::StatusOr<MigrationId> ToMigrationId(const std::string& text) {
  const auto id = ParseDecimal(text);
  if (!id.has_value() || *id <= 0) {
    return Bad("migration id", "is not a positive decimal number");
  }
  return MigrationId{*id};
}

absl::StatusOr<store::PageRequest> ToPage(int32_t page_size, const std::string& page_token) {
  if (page_size < 0) {
    return Bad("page_size", "is negative");
  }
  store::PageRequest page;
  page.size = page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
  page.token = page_token;
  return page;
}

absl::StatusOr<std::vector<ProjectState>> ToStates(const google::protobuf::RepeatedField<int>& states) {
  std::set<ProjectState> chosen;
  for (const int state : states) {
    if (state < v1::PENDING || state > v1::NEEDS_OPERATOR) {
      return Bad("states", "holds a number that is not a state");
    }
    chosen.insert(static_cast<ProjectState>(state));
  }
  return std::vector<ProjectState>(chosen.begin(), chosen.end());
}

absl::Status CheckRef(const std::string& ref, bool optional) {
  if ((ref.empty() && optional) || IsValidRef(ref)) {
    return absl::OkStatus();
  }
  return InputError("PGC-API-REF", "project ref \"" + Printable(ref.substr(0, kMaxNameBytes)) + "\" is not valid",
                    "a ref is [a-z0-9][a-z0-9_-]{0,39}");
}

absl::StatusOr<std::string> ToActor(const std::string& name) {
  if (name.empty()) {
    return "unknown";
  }
  PGC_RETURN_IF_ERROR(CheckName("actor", name));
  return name;
}

absl::StatusOr<core::Command> ToCommand(core::CommandKind kind,
                                        const std::string& migration_id,
                                        const std::string& ref,
                                        const std::string& actor,
                                        const std::string& reason) {
  core::Command command;
  command.kind = kind;
  PGC_ASSIGN_OR_RETURN(command.migration, ToMigrationId(migration_id));
  PGC_RETURN_IF_ERROR(CheckRef(ref, true));
  command.ref = ref;
  PGC_ASSIGN_OR_RETURN(command.actor, ToActor(actor));
  PGC_RETURN_IF_ERROR(CheckText("reason", reason, kMaxReasonBytes));
  command.reason = reason;
  return command;
}

absl::Status CheckProject(const v1::ProjectSpec& project) {
  PGC_RETURN_IF_ERROR(CheckRef(project.ref(), false));
  if (project.estimated_bytes() < 0) {
    return Bad(project.ref() + ".estimated_bytes", "is negative");
  }
  if (project.attributes_size() > kMaxAttributes) {
    return Bad(project.ref() + ".attributes", "has more than " + std::to_string(kMaxAttributes) + " entries");
  }
  for (const auto& [key, value] : project.attributes()) {
    if (!IsAttributeName(key)) {
      return Bad(project.ref() + ".attributes", "\"" + Printable(key) + "\" is not [a-z][a-z0-9_]*");
    }
    PGC_RETURN_IF_ERROR(CheckText(project.ref() + ".attributes." + key, value, kMaxAttributeBytes));
  }
  return absl::OkStatus();
}

absl::Status CheckRequestId(const std::string& request_id) {
  // 8-4-4-4-12 hexadecimal digits.
  bool valid = request_id.size() == 36;
  for (size_t i = 0; valid && i < request_id.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    valid = dash ? request_id[i] == '-' : std::isxdigit(static_cast<unsigned char>(request_id[i])) != 0;
  }
  return valid ? absl::OkStatus() : Bad("header.request_id", "is not a UUID");
}

core::MigrationSpec ToSpec(const v1::Plan& plan, const v1::SubmitHeader& header) {
  core::PlanSections sections;
  sections.target = plan.has_target();
  sections.freeze = plan.has_freeze();
  sections.credentials = plan.has_credentials();
  sections.tables = plan.tables_size() > 0;
  sections.transform = plan.has_transform();
  sections.cutover = plan.has_cutover();
  sections.backup_only = plan.execution().mode() == v1::Execution::BACKUP_ONLY;
  sections.skip_backup = plan.execution().skip_backup();
  sections.rotates = plan.execution().mode() == v1::Execution::ROTATE_CREDENTIALS;
  sections.revokes = plan.execution().mode() == v1::Execution::REVOKE_CREDENTIALS;
  const v1::Execution& execution = plan.execution();
  core::MigrationSpec spec;
  spec.name = plan.name();
  spec.request_id = header.request_id();
  spec.plan_json = plan::CanonicalJson(plan);
  spec.plan_hash = plan::PlanHash(plan);
  spec.phases = core::ForwardPhases(sections);
  for (const auto& [name, server] : plan.servers()) {
    spec.limits.push_back({name, server.max_projects()});
  }
  // A protobuf map has no order of its own.
  std::sort(spec.limits.begin(), spec.limits.end(), [](const auto& a, const auto& b) { return a.server < b.server; });
  spec.batch_size = header.batch_size() > 0 ? header.batch_size() : execution.batch_size();
  spec.batch_bytes = execution.batch_bytes();
  spec.max_attempts = execution.max_attempts();
  spec.initial_backoff_ms = execution.initial_backoff_ms();
  spec.max_backoff_ms = execution.max_backoff_ms();
  spec.rollback_on_failure = execution.on_failure() != v1::Execution::KEEP;
  spec.credentials_of = MigrationId{execution.credentials_of()};
  return spec;
}

absl::StatusOr<core::ProjectInput> ToInput(const v1::ProjectSpec& project, const v1::Plan& plan) {
  core::ProjectInput input;
  input.ref = project.ref();
  if (project.attributes_size() > 0) {
    const std::map<std::string, std::string> sorted(project.attributes().begin(), project.attributes().end());
    input.attributes_json = nlohmann::json(sorted).dump();
  }
  input.estimated_bytes = project.estimated_bytes();
  plan::Values values(project.attributes().begin(), project.attributes().end());
  values["ref"] = project.ref();
  PGC_ASSIGN_OR_RETURN(input.source_server, plan::ServerOf(plan, plan.source().server(), values));
  // A backup takes no place on the target.
  if (plan.has_target() && plan.execution().mode() != v1::Execution::BACKUP_ONLY) {
    PGC_ASSIGN_OR_RETURN(input.target_server, plan::ServerOf(plan, plan.target().server(), values));
  }
  return input;
}

// ---- to the operator -------------------------------------------------------------------------------------------

v1::Migration ToWire(const core::MigrationRow& row, bool with_plan) {
  const auto count = [&row](ProjectState state) { return row.counts[static_cast<size_t>(state)]; };
  v1::Migration out;
  out.set_id(std::to_string(row.id.value));
  out.set_name(row.spec.name);
  out.set_state(static_cast<v1::MigrationState>(row.state));
  out.set_request_id(row.spec.request_id);
  out.set_plan_hash(row.spec.plan_hash);
  *out.mutable_create_time() = ToTimestamp(row.create_time);
  if (row.end_time != 0) {
    *out.mutable_end_time() = ToTimestamp(row.end_time);
  }
  int64_t total = 0;
  for (const int64_t projects : row.counts) {
    total += projects;
  }
  out.set_projects_total(total);
  out.set_projects_pending(count(ProjectState::kPending));
  out.set_projects_waiting(count(ProjectState::kWaiting));
  out.set_projects_running(count(ProjectState::kRunning));
  out.set_projects_succeeded(count(ProjectState::kSucceeded));
  out.set_projects_warned(count(ProjectState::kSucceededWithWarnings));
  out.set_projects_failed(count(ProjectState::kFailed));
  out.set_projects_rolled_back(count(ProjectState::kRolledBack));
  out.set_projects_cancelled(count(ProjectState::kCancelled));
  out.set_projects_skipped(count(ProjectState::kSkipped));
  out.set_projects_need_operator(count(ProjectState::kNeedsOperator));
  out.set_rows_copied(row.rows_copied);
  out.set_bytes_copied(row.bytes_copied);
  out.set_estimated_bytes(row.estimated_bytes);
  for (const Phase phase : row.spec.phases) {
    out.add_phases(ToWire(phase));
  }
  if (with_plan) {
    out.set_plan_json(row.spec.plan_json);
  }
  return out;
}

v1::Batch ToWire(const core::BatchRow& row) {
  v1::Batch out;
  out.set_id(std::to_string(row.id.value));
  out.set_migration_id(std::to_string(row.migration.value));
  out.set_state(static_cast<v1::BatchState>(row.state));
  out.set_source_server(row.source_server);
  out.set_target_server(row.target_server);
  out.set_projects(row.projects);
  out.set_projects_ended(row.projects_ended);
  out.set_estimated_bytes(row.estimated_bytes);
  out.set_worker_id(row.worker_id);
  return out;
}

v1::Project ToWire(const store::ProjectView& view) {
  const core::ProjectRow& row = view.row;
  v1::Project out;
  out.set_ref(row.ref);
  out.set_migration_id(std::to_string(row.migration.value));
  out.set_batch_id(std::to_string(row.batch.value));
  out.set_state(static_cast<v1::ProjectState>(row.state));
  out.set_direction(ToWire(row.direction));
  out.set_phase(ToWire(row.phase));
  out.set_fence(row.fence.value);
  out.set_attempts(row.attempts);
  out.set_worker_id(row.worker_id);
  if (row.error.has_value()) {
    *out.mutable_error() = ToWire(*row.error);
  }
  for (const std::string& warning : row.warnings) {
    out.add_warnings(warning);
  }
  SetAttributes(row.attributes_json, *out.mutable_attributes());
  out.set_rows_copied(row.rows_copied);
  out.set_bytes_copied(row.bytes_copied);
  out.set_estimated_bytes(row.estimated_bytes);
  *out.mutable_update_time() = ToTimestamp(view.update_time);
  return out;
}

v1::Project ToWire(const store::ProjectDetail& detail) {
  v1::Project out = ToWire(detail.project);
  for (const core::AttemptRow& attempt : detail.attempts) {
    *out.add_attempt_history() = ToWire(attempt);
  }
  for (const std::string& json : detail.results_json) {
    if (auto result = FromJson<v1::PhaseResult>(json); result.ok()) {
      *out.add_results() = *std::move(result);
    }
  }
  return out;
}

v1::Attempt ToWire(const core::AttemptRow& row) {
  v1::Attempt out;
  out.set_number(row.number);
  out.set_fence(row.fence.value);
  out.set_direction(ToWire(row.direction));
  out.set_worker_id(row.worker_id);
  *out.mutable_start_time() = ToTimestamp(row.start_time);
  if (row.end_time != 0) {
    *out.mutable_end_time() = ToTimestamp(row.end_time);
  }
  out.set_phase(ToWire(row.phase));
  out.set_outcome(row.outcome);
  if (row.error.has_value()) {
    *out.mutable_error() = ToWire(*row.error);
  }
  return out;
}

v1::Worker ToWire(const core::WorkerRow& row, int running) {
  v1::Worker out;
  out.set_id(row.id);
  out.set_version(row.version);
  out.set_host(row.host);
  out.set_slots(row.slots);
  out.set_running(running);
  out.set_state(row.state);
  *out.mutable_last_seen_time() = ToTimestamp(row.last_seen);
  return out;
}

v1::Event ToWire(const store::EventView& view) {
  v1::Event out;
  out.set_seq(view.seq);
  *out.mutable_time() = ToTimestamp(view.row.time);
  if (view.row.migration.value != 0) {
    out.set_migration_id(std::to_string(view.row.migration.value));
  }
  out.set_project_ref(view.row.project_ref);
  out.set_kind(view.row.kind);
  out.set_actor(view.row.actor);
  out.set_rule(view.row.rule);
  out.set_reason(view.row.reason);
  out.set_detail_json(view.row.detail_json);
  return out;
}

absl::Status AddBackup(const store::BackupView& view, v1::ListBackupsResponse& response) {
  PGC_ASSIGN_OR_RETURN(const v1::PhaseResult result, FromJson<v1::PhaseResult>(view.payload_json));
  if (result.fence() != 0 && result.backup().backup_id() != view.ref + "/" + std::to_string(view.fence.value)) {
    return absl::OkStatus();
  }
  auto& out = *response.add_backups();
  out.set_migration_id(std::to_string(view.migration.value));
  out.set_project_ref(view.ref);
  *out.mutable_backup() = result.backup();
  out.set_fence(view.fence.value);
  return absl::OkStatus();
}

core::BackupMark ToMark(const store::BackupView& view, const v1::PhaseResult& result) {
  core::BackupMark mark;
  mark.ref = view.ref;
  mark.result = {view.project,        view.migration, view.fence,    Phase::kBackup,
                 Direction::kForward, view.end_time,  ToJson(result)};
  return mark;
}

absl::StatusOr<core::BackupMark> MarkPruned(const store::BackupView& view, WallMs prune_time) {
  PGC_ASSIGN_OR_RETURN(v1::PhaseResult result, FromJson<v1::PhaseResult>(view.payload_json));
  *result.mutable_backup()->mutable_prune_time() = ToTimestamp(prune_time);
  return ToMark(view, result);
}

absl::StatusOr<core::BackupMark> MarkRemoved(const store::BackupView& view) {
  PGC_ASSIGN_OR_RETURN(v1::PhaseResult result, FromJson<v1::PhaseResult>(view.payload_json));
  result.mutable_backup()->set_removed(true);
  return ToMark(view, result);
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
  return ToWire(project, &history);
}

}  // namespace pgconvoy::service
