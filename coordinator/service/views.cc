#include "coordinator/service/views.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "coordinator/service/payload.h"

namespace pgconvoy::service {
namespace {

google::protobuf::Timestamp ToTimestamp(WallMs ms) {
  google::protobuf::Timestamp time;
  time.set_seconds(ms / 1000);
  time.set_nanos(static_cast<int32_t>(ms % 1000) * 1'000'000);
  return time;
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

core::BackupMark ToMark(const store::BackupView& view, const v1::PhaseResult& result) {
  core::BackupMark mark;
  mark.ref = view.ref;
  mark.result = {view.project,        view.migration, view.fence,    Phase::kBackup,
                 Direction::kForward, view.end_time,  ToJson(result)};
  return mark;
}

}  // namespace

v1::Phase ToWire(Phase phase) { return static_cast<v1::Phase>(phase); }

v1::Direction ToWire(Direction direction) { return static_cast<v1::Direction>(direction); }

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

}  // namespace pgconvoy::service
