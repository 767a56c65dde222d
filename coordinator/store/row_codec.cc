#include "coordinator/store/row_codec.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <pqxx/pqxx>
#include <stdexcept>

#include "common/base/error.h"
#include "coordinator/store/array_text.h"

namespace pgconvoy::store {

#define PGC_MS(column) "(extract(epoch FROM " column ") * 1000)::bigint"

const char kMigrationColumns[] =
    "id, name, request_id, plan_json, plan_hash, phases, limit_servers, limit_projects, batch_size, batch_bytes, "
    "max_attempts, initial_backoff_ms, max_backoff_ms, rollback_on_failure, credentials_of, state, " PGC_MS(
        "create_time") ", " PGC_MS("end_time") ", counts, rows_copied, bytes_copied, estimated_bytes";

const char kBatchColumns[] =
    "id, migration_id, state, source_server, target_server, projects, projects_ended, estimated_bytes, worker_id";

const char kProjectColumns[] =
    "id, migration_id, batch_id, ref, attributes, state, direction, phase, fence, attempts, failures, losses, "
    "done_forward, done_rollback, touched, cancelling, discard_writes, last_seq, worker_id, " PGC_MS(
        "not_before") ", error, warnings, rows_copied, bytes_copied, estimated_bytes";

const char kAttemptColumns[] = "project_id, migration_id, number, fence, direction, worker_id, " PGC_MS(
    "start_time") ", " PGC_MS("end_time") ", phase, outcome, error";

const char kWorkerColumns[] = "id, incarnation, version, host, slots, state, " PGC_MS("last_seen");

const char kEventColumns[] =
    "seq, " PGC_MS("event_time") ", migration_id, project_ref, kind, actor, rule, reason, detail";

#undef PGC_MS

namespace {

template <typename Enum>
Enum Known(std::optional<Enum> value, const char* what) {
  if (!value.has_value()) {
    throw std::runtime_error(std::string("the store holds an unknown ") + what);
  }
  return *value;
}

Phase ReadPhase(RowReader& reader) { return Known(PhaseFromName(reader.Text()), "phase"); }
Direction ReadDirection(RowReader& reader) { return Known(DirectionFromName(reader.Text()), "direction"); }

Verdict VerdictFromText(const std::string& name) {
  for (const Verdict verdict : {Verdict::kTransient, Verdict::kPermanent, Verdict::kInDoubt, Verdict::kFenced,
                                Verdict::kOperator, Verdict::kAbandoned}) {
    if (name == VerdictName(verdict)) {
      return verdict;
    }
  }
  throw std::runtime_error("the store holds an unknown verdict");
}

std::optional<core::ErrorInfo> ErrorFromJson(const std::string& text) {
  if (text.empty()) {
    return std::nullopt;
  }
  const auto json = nlohmann::json::parse(text);
  core::ErrorInfo error;
  error.verdict = VerdictFromText(json.at("verdict").get<std::string>());
  error.code = json.at("code").get<std::string>();
  error.message = json.at("message").get<std::string>();
  error.remedy = json.at("remedy").get<std::string>();
  return error;
}

std::vector<std::string> WarningsFromJson(const std::string& text) {
  if (text.empty()) {
    return {};
  }
  return nlohmann::json::parse(text).get<std::vector<std::string>>();
}

core::MigrationSpec ReadSpec(RowReader& reader) {
  core::MigrationSpec spec;
  spec.name = reader.Text();
  spec.request_id = reader.Text();
  spec.plan_json = reader.Text();
  spec.plan_hash = reader.Text();
  for (const std::string& name : ParseArrayText(reader.Text())) {
    spec.phases.push_back(Known(PhaseFromName(name), "phase"));
  }
  const std::vector<std::string> servers = ParseArrayText(reader.Text());
  const std::vector<std::string> limits = ParseArrayText(reader.Text());
  for (size_t i = 0; i < servers.size(); ++i) {
    spec.limits.push_back({servers[i], std::stoi(limits.at(i))});
  }
  spec.batch_size = reader.Int();
  spec.batch_bytes = reader.Int64();
  spec.max_attempts = reader.Int();
  spec.initial_backoff_ms = reader.Int64();
  spec.max_backoff_ms = reader.Int64();
  spec.rollback_on_failure = reader.Bool();
  spec.credentials_of = {reader.Int64()};
  return spec;
}

core::StateCounts ReadCounts(RowReader& reader) {
  core::StateCounts counts{};
  const std::vector<std::string> values = ParseArrayText(reader.Text());
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = std::stoll(values.at(i));
  }
  return counts;
}

}  // namespace

std::string RowReader::Text() {
  const pqxx::field field = row_[column_++];
  return {field.c_str(), field.size()};
}

int64_t RowReader::Int64() { return std::strtoll(row_[column_++].c_str(), nullptr, 10); }

int RowReader::Int() { return static_cast<int>(Int64()); }

bool RowReader::Bool() { return row_[column_++].c_str()[0] == 't'; }

std::string Select(const char* columns, const std::string& rest) {
  return std::string("SELECT ") + columns + " FROM pgconvoy." + rest;
}

core::MigrationRow ReadMigration(RowReader& reader) {
  core::MigrationRow row;
  row.id.value = reader.Int64();
  row.spec = ReadSpec(reader);
  row.state = Known(MigrationStateFromName(reader.Text()), "state of a migration");
  row.create_time = reader.Int64();
  row.end_time = reader.Int64();
  row.counts = ReadCounts(reader);
  row.rows_copied = reader.Int64();
  row.bytes_copied = reader.Int64();
  row.estimated_bytes = reader.Int64();
  return row;
}

core::BatchRow ReadBatch(RowReader& reader) {
  core::BatchRow row;
  row.id.value = reader.Int64();
  row.migration.value = reader.Int64();
  row.state = Known(BatchStateFromName(reader.Text()), "state of a batch");
  row.source_server = reader.Text();
  row.target_server = reader.Text();
  row.projects = reader.Int64();
  row.projects_ended = reader.Int64();
  row.estimated_bytes = reader.Int64();
  row.worker_id = reader.Text();
  return row;
}

core::ProjectRow ReadProject(RowReader& reader) {
  core::ProjectRow row;
  row.id.value = reader.Int64();
  row.migration.value = reader.Int64();
  row.batch.value = reader.Int64();
  row.ref = reader.Text();
  row.attributes_json = reader.Text();
  row.state = Known(ProjectStateFromName(reader.Text()), "state of a project");
  row.direction = ReadDirection(reader);
  row.phase = ReadPhase(reader);
  row.fence.value = reader.Int64();
  row.attempts = reader.Int();
  row.failures = reader.Int();
  row.losses = reader.Int();
  row.done_forward = static_cast<uint32_t>(reader.Int64());
  row.done_rollback = static_cast<uint32_t>(reader.Int64());
  row.touched = reader.Bool();
  row.cancelling = reader.Bool();
  row.discard_writes = reader.Bool();
  row.last_seq = reader.Int64();
  row.worker_id = reader.Text();
  row.not_before = reader.Int64();
  row.error = ErrorFromJson(reader.Text());
  row.warnings = WarningsFromJson(reader.Text());
  row.rows_copied = reader.Int64();
  row.bytes_copied = reader.Int64();
  row.estimated_bytes = reader.Int64();
  return row;
}

core::AttemptRow ReadAttempt(RowReader& reader) {
  core::AttemptRow row;
  row.project.value = reader.Int64();
  row.migration.value = reader.Int64();
  row.number = reader.Int();
  row.fence.value = reader.Int64();
  row.direction = ReadDirection(reader);
  row.worker_id = reader.Text();
  row.start_time = reader.Int64();
  row.end_time = reader.Int64();
  row.phase = ReadPhase(reader);
  row.outcome = reader.Text();
  row.error = ErrorFromJson(reader.Text());
  return row;
}

core::WorkerRow ReadWorker(RowReader& reader) {
  core::WorkerRow row;
  row.id = reader.Text();
  row.incarnation = reader.Text();
  row.version = reader.Text();
  row.host = reader.Text();
  row.slots = reader.Int();
  row.state = reader.Text();
  row.last_seen = reader.Int64();
  return row;
}

core::EventRow ReadEvent(RowReader& reader, int64_t& seq) {
  core::EventRow row;
  seq = reader.Int64();
  row.time = reader.Int64();
  row.migration.value = reader.Int64();
  row.project_ref = reader.Text();
  row.kind = reader.Text();
  row.actor = reader.Text();
  row.rule = reader.Text();
  row.reason = reader.Text();
  row.detail_json = reader.Text();
  return row;
}

std::string ErrorToJson(const std::optional<core::ErrorInfo>& error) {
  if (!error.has_value()) {
    return "";
  }
  return nlohmann::json{{"verdict", std::string(VerdictName(error->verdict))},
                        {"code", error->code},
                        {"message", error->message},
                        {"remedy", error->remedy}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string WarningsToJson(const std::vector<std::string>& warnings) {
  if (warnings.empty()) {
    return "";
  }
  return nlohmann::json(warnings).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace pgconvoy::store
