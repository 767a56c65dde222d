#include "coordinator/core/step.h"

#include <algorithm>
#include <cstdio>
#include <vector>

namespace pgconvoy::core {
namespace {

// Most details fit; a string that grows from nothing is copied half a dozen times.
constexpr size_t kUsualDetailBytes = 160;

// The row of that key in `rows`: the one that `hint` points to if it still does, else a new one.
template <typename Row, typename IsIt>
Row& Slot(std::vector<Row>& rows, uint32_t& hint, const IsIt& is_it) {
  if (hint >= rows.size() || !is_it(rows[hint])) {
    hint = static_cast<uint32_t>(rows.size());
    rows.emplace_back();
  }
  return rows[hint];
}

bool NeedsEscape(char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20; }

void AppendJsonString(std::string_view value, std::string& json) {
  json += '"';
  if (std::none_of(value.begin(), value.end(), NeedsEscape)) {
    json += value;
    json += '"';
    return;
  }
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      json += escaped;
    } else {
      json += c;
    }
  }
  json += '"';
}

std::string DetailJson(const EventInfo& info) {
  std::string json;
  json.reserve(kUsualDetailBytes);
  for (const auto& [key, value] : info.details) {
    if (!value.empty()) {
      json += json.empty() ? "{\"" : ",\"";
      json += key;
      json += "\":";
      AppendJsonString(value, json);
    }
  }
  if (!json.empty()) {
    json += '}';
  }
  return json;
}

}  // namespace

const std::string& WorkerIdOf(const Project& project) {
  static const std::string kNobody;
  const Worker* worker = project.home->batches[project.batch].worker;
  return project.state == ProjectState::kRunning && worker != nullptr ? worker->id : kNobody;
}

std::string WorkerActor(std::string_view worker_id) { return "worker:" + std::string(worker_id); }

BatchRow RowOf(const Batch& batch) {
  const ServerPair& pair = batch.home->pairs[batch.pair];
  BatchRow row;
  row.id = batch.id;
  row.migration = batch.home->row.id;
  row.source_server = pair.source;
  row.target_server = pair.target;
  row.projects = batch.projects;
  row.projects_ended = batch.ended;
  row.estimated_bytes = batch.estimated_bytes;
  if (batch.worker != nullptr) {
    row.state = BatchState::kLeased;
    row.worker_id = batch.worker->id;
  } else {
    row.state = batch.ended == batch.projects ? BatchState::kDone : BatchState::kWaiting;
  }
  return row;
}

namespace {

// What changes in the life of a project.
void FillVolatile(const Project& project, ProjectRow& row) {
  row.state = project.state;
  row.direction = project.direction;
  row.phase = project.phase;
  row.fence = project.fence;
  row.attempts = project.attempts;
  row.failures = project.failures;
  row.losses = project.losses;
  row.done_forward = project.done_forward;
  row.done_rollback = project.done_rollback;
  row.touched = project.touched;
  row.cancelling = project.cancelling;
  row.discard_writes = project.discard_writes;
  row.last_seq = project.last_seq;
  row.worker_id = WorkerIdOf(project);
  row.not_before = project.not_before;
  row.error.reset();
  if (project.error) {
    row.error = *project.error;
  }
  row.warnings.clear();
  if (project.warnings) {
    row.warnings = *project.warnings;
  }
  row.rows_copied = project.rows_copied;
  row.bytes_copied = project.bytes_copied;
}

}  // namespace

ProjectRow RowOf(const Project& project) {
  ProjectRow row;
  row.id = project.id;
  row.migration = project.home->row.id;
  row.batch = project.home->batches[project.batch].id;
  row.ref = project.ref;
  row.attributes_json = project.attributes_json;
  row.estimated_bytes = project.estimated_bytes;
  FillVolatile(project, row);
  return row;
}

void Step::Write(Migration& migration) {
  MigrationRow& row = Slot(out_.writes.migrations, migration.row_hint,
                           [&](const MigrationRow& other) { return other.id == migration.row.id; });
  if (row.id != migration.row.id) {
    row = migration.row;
    return;
  }
  // The specification never changes and is large: one copy a group is enough.
  row.state = migration.row.state;
  row.end_time = migration.row.end_time;
  row.counts = migration.row.counts;
  row.rows_copied = migration.row.rows_copied;
  row.bytes_copied = migration.row.bytes_copied;
}

void Step::Write(Batch& batch) {
  Slot(out_.writes.batches, batch.row_hint, [&](const BatchRow& row) { return row.id == batch.id; }) = RowOf(batch);
}

void Step::Write(Project& project) {
  ProjectRow& row =
      Slot(out_.writes.projects, project.row_hint, [&](const ProjectRow& other) { return other.id == project.id; });
  if (row.id == project.id) {
    FillVolatile(project, row);
  } else {
    row = RowOf(project);
  }
}

void Step::Write(Worker& worker) {
  WriteWorker(worker, worker.lost ? "lost" : worker.draining ? "draining" : "connected");
}

void Step::WriteDrained(Worker& worker) { WriteWorker(worker, "drained"); }

void Step::WriteWorker(Worker& worker, std::string_view state) {
  WorkerRow& row =
      Slot(out_.writes.workers, worker.row_hint, [&](const WorkerRow& other) { return other.id == worker.id; });
  row.id = worker.id;
  row.incarnation = worker.incarnation;
  row.version = worker.version;
  row.host = worker.host;
  row.slots = worker.slots;
  row.state = state;
  row.last_seen = now_.wall - (now_.mono - worker.last_heard);
}

void Step::WriteAttempt(Project& project, std::string_view outcome, const ErrorInfo* error) {
  AttemptRow& row = Slot(out_.writes.attempts, project.attempt_hint,
                         [&](const AttemptRow& other) { return other.fence == project.fence; });
  row.project = project.id;
  row.migration = project.home->row.id;
  row.number = project.attempts;
  row.fence = project.fence;
  row.direction = project.direction;
  row.worker_id = WorkerIdOf(project);
  row.start_time = project.attempt_start;
  row.end_time = outcome.empty() ? 0 : now_.wall;
  row.phase = project.phase;
  row.outcome = outcome;
  if (error != nullptr) {
    row.error = *error;
  } else {
    row.error.reset();
  }
}

void Step::Record(MigrationId migration, std::string_view project_ref, const EventInfo& info) {
  EventRow& row = out_.writes.events.emplace_back();
  row.time = now_.wall;
  row.migration = migration;
  row.project_ref = project_ref;
  row.kind = info.kind;
  row.actor = info.actor;
  row.rule = info.rule;
  row.reason = info.reason;
  row.detail_json = DetailJson(info);
}

namespace {

constexpr std::string_view kPhaseDone = "PHASE_DONE";
constexpr std::string_view kListEnd = "\"}";

// Details of a PHASE_DONE up to the list of its phases, the last of them.
std::string ListBegin(const Project& project) {
  return "{\"direction\":\"" + std::string(Name(project.direction)) + "\",\"fence\":\"" +
         std::to_string(project.fence.value) + "\",\"phases\":\"";
}

// The newest event, when it is a PHASE_DONE of the project's attempt.
EventRow* NewestPhaseDone(Writes& writes, const Project& project, const std::string& list_begin) {
  if (writes.events.empty()) {
    return nullptr;
  }
  EventRow& last = writes.events.back();
  const bool is_its = last.kind == kPhaseDone && last.migration == project.home->row.id &&
                      last.project_ref == project.ref && last.detail_json.starts_with(list_begin);
  return is_its ? &last : nullptr;
}

}  // namespace

void Step::RecordPhaseDone(const Project& project, std::string_view actor, std::string_view rule, Phase phase) {
  if (EventRow* const last = NewestPhaseDone(out_.writes, project, ListBegin(project)); last != nullptr) {
    last->time = now_.wall;
    last->rule = rule;
    last->detail_json.insert(last->detail_json.size() - kListEnd.size(), "," + std::string(Name(phase)));
    return;
  }
  const std::string fence = std::to_string(project.fence.value);
  Record(project.home->row.id, project.ref,
         {.kind = kPhaseDone,
          .actor = actor,
          .rule = rule,
          .reason = "its results are durable",
          .details = {{"direction", Name(project.direction)}, {"fence", fence}, {"phases", Name(phase)}}});
}

std::string Step::TakeBackPhasesDone(const Project& project) {
  const std::string begin = ListBegin(project);
  const EventRow* const last = NewestPhaseDone(out_.writes, project, begin);
  if (last == nullptr) {
    return "";
  }
  std::string phases =
      last->detail_json.substr(begin.size(), last->detail_json.size() - begin.size() - kListEnd.size());
  out_.writes.events.pop_back();
  return phases;
}

}  // namespace pgconvoy::core
