#include "cli/commands/views.h"

#include <google/protobuf/util/time_util.h>
#include <string>

#include "cli/render/marks.h"
#include "common/model/model.h"

namespace pgconvoy::cli {
namespace {

using render::Cell;
using render::Count;
using render::Table;

// Enums of the wire and of the model have the same numbers; an unknown number falls to the model's "unknown" marks.
template <typename Model, typename Wire>
Model As(Wire value) {
  return static_cast<Model>(static_cast<int>(value));
}

std::string PhaseName(v1::Phase phase) {
  return phase == v1::PHASE_UNSPECIFIED || !v1::Phase_IsValid(phase) ? "-" : v1::Phase_Name(phase);
}

Direction DirectionOf(v1::Direction direction) {
  return direction == v1::ROLLBACK ? Direction::kRollback : Direction::kForward;
}

Cell Number(int64_t value) { return {Count(value)}; }

Cell MarkCell(const render::Mark& mark, const render::Style& style) { return {render::Text(mark, style), mark.tone}; }

std::string Share(int64_t part, int64_t whole) { return Count(part) + "/" + Count(whole); }

std::optional<render::ErrorView> ErrorOf(bool present, const v1::Error& error) {
  if (!present) {
    return std::nullopt;
  }
  const std::string verdict = v1::Verdict_IsValid(error.verdict()) ? v1::Verdict_Name(error.verdict()) : "?";
  return render::ErrorView{verdict, error.code(), error.message(), error.remedy()};
}

std::string ChecksSummary(const v1::ChecksResult& checks) {
  int passed = 0;
  std::string others;
  for (const v1::CheckResult& check : checks.checks()) {
    passed += check.passed() ? 1 : 0;
    if (!check.passed()) {
      others += std::string(check.warning() ? "; warning " : "; failed ") + check.name() + ": " + check.message();
    }
  }
  return Share(passed, checks.checks_size()) + " checks passed" + others;
}

std::string TablesSummary(const google::protobuf::RepeatedPtrField<v1::TableDigest>& tables) {
  int64_t rows = 0;
  int64_t bytes = 0;
  for (const v1::TableDigest& table : tables) {
    rows += table.rows();
    bytes += table.bytes();
  }
  return Count(tables.size()) + " tables, " + Count(rows) + " rows, " + render::Bytes(bytes);
}

std::string Listed(const google::protobuf::RepeatedPtrField<std::string>& items, const char* verb) {
  std::string text = Count(items.size()) + " " + verb;
  for (int i = 0; i < items.size(); ++i) {
    text += (i == 0 ? ": " : ", ") + items[i];
  }
  return text;
}

std::string ChangesSummary(const v1::TransformResult& result) {
  int64_t inserted = 0;
  int64_t updated = 0;
  int64_t deleted = 0;
  for (const v1::TableChange& table : result.tables()) {
    inserted += table.inserted();
    updated += table.updated();
    deleted += table.deleted();
  }
  return Count(inserted) + " rows inserted, " + Count(updated) + " updated, " + Count(deleted) + " deleted, " +
         Listed(result.policies_replaced(), "tables with new policies");
}

std::string Summary(const v1::PhaseResult& result) {
  switch (result.body_case()) {
    case v1::PhaseResult::kFenceResult:
      return Count(result.fence_result().sessions_ended()) + " sessions ended, " +
             Listed(result.fence_result().logins_dropped(), "logins dropped");
    case v1::PhaseResult::kChecks: return ChecksSummary(result.checks());
    case v1::PhaseResult::kFreeze: return result.freeze().applied() ? "writes stopped" : "nothing to apply";
    case v1::PhaseResult::kCredentials: return "user " + result.credentials().user() + ", password sealed";
    case v1::PhaseResult::kProvision: return "database " + result.provision().database();
    case v1::PhaseResult::kBackup:
      return result.backup().backup_id() + ": " + TablesSummary(result.backup().tables()) + ", " +
             render::Bytes(result.backup().stored_bytes()) + " stored";
    case v1::PhaseResult::kCopy:
      return Count(result.copy().rows()) + " rows, " + render::Bytes(result.copy().bytes()) + ", " +
             Count(result.copy().chunks_loaded()) + " chunks loaded, " + Count(result.copy().chunks_skipped()) +
             " already there";
    case v1::PhaseResult::kVerify:
      return TablesSummary(result.verify().tables()) + " equal, " + Count(result.verify().objects_compared()) +
             " objects compared";
    case v1::PhaseResult::kCutover: return Count(result.cutover().after_size()) + " registry columns set";
    case v1::PhaseResult::kCleanup: return Listed(result.cleanup().removed(), "removed");
    case v1::PhaseResult::kUndo: return Listed(result.undo().undone(), "undone");
    case v1::PhaseResult::kTransform: return ChangesSummary(result.transform());
    case v1::PhaseResult::BODY_NOT_SET: break;
  }
  return "";
}

render::AttemptView ViewOf(const v1::Attempt& attempt) {
  render::AttemptView view;
  view.number = attempt.number();
  view.fence = attempt.fence();
  view.direction = DirectionOf(attempt.direction());
  view.worker = attempt.worker_id();
  view.start_ms = ToMs(attempt.start_time());
  view.end_ms = attempt.has_end_time() ? ToMs(attempt.end_time()) : 0;
  view.phase = PhaseName(attempt.phase());
  view.outcome = attempt.outcome();
  view.error = ErrorOf(attempt.has_error(), attempt.error());
  return view;
}

render::ResultView ViewOf(const v1::PhaseResult& result) {
  return {PhaseName(result.phase()), DirectionOf(result.direction()), result.fence(), result.duration_ms(),
          Summary(result)};
}

// What a project's row says beside its state: the error, who runs it, or nothing.
std::string Note(const v1::Project& project) {
  if (project.has_error()) {
    return project.error().code();
  }
  if (project.state() == v1::RUNNING) {
    return project.worker_id();
  }
  return project.warnings_size() > 0 ? project.warnings(0) : "";
}

}  // namespace

int64_t ToMs(const google::protobuf::Timestamp& time) { return time.seconds() * 1000 + time.nanos() / 1'000'000; }

bool HasEnded(const v1::Migration& migration) { return IsEnded(As<MigrationState>(migration.state())); }

render::ProgressView ProgressOf(const v1::Migration& migration, int64_t now_ms) {
  render::ProgressView view;
  view.id = migration.id();
  view.name = migration.name();
  view.state = As<MigrationState>(migration.state());
  view.total = migration.projects_total();
  view.pending = migration.projects_pending();
  view.waiting = migration.projects_waiting();
  view.running = migration.projects_running();
  view.succeeded = migration.projects_succeeded();
  view.warned = migration.projects_warned();
  view.failed = migration.projects_failed();
  view.rolled_back = migration.projects_rolled_back();
  view.cancelled = migration.projects_cancelled();
  view.skipped = migration.projects_skipped();
  view.need_operator = migration.projects_need_operator();
  view.rows_copied = migration.rows_copied();
  view.bytes_copied = migration.bytes_copied();
  view.estimated_bytes = migration.estimated_bytes();
  view.now_ms = now_ms;
  view.elapsed_ms = (migration.has_end_time() ? ToMs(migration.end_time()) : now_ms) - ToMs(migration.create_time());
  return view;
}

render::MigrationView ViewOf(const v1::Migration& migration, int64_t now_ms) {
  render::MigrationView view;
  view.progress = ProgressOf(migration, now_ms);
  view.request_id = migration.request_id();
  view.plan_hash = migration.plan_hash();
  view.create_ms = ToMs(migration.create_time());
  view.end_ms = ToMs(migration.end_time());
  for (const int phase : migration.phases()) {
    view.phases.push_back(PhaseName(static_cast<v1::Phase>(phase)));
  }
  return view;
}

render::ProjectView ViewOf(const v1::Project& project) {
  render::ProjectView view;
  view.ref = project.ref();
  view.migration_id = project.migration_id();
  view.batch_id = project.batch_id();
  view.state = As<ProjectState>(project.state());
  view.direction = DirectionOf(project.direction());
  view.phase = PhaseName(project.phase());
  view.fence = project.fence();
  view.attempts = project.attempts();
  view.worker = project.worker_id();
  view.error = ErrorOf(project.has_error(), project.error());
  view.warnings.assign(project.warnings().begin(), project.warnings().end());
  view.attributes.insert(project.attributes().begin(), project.attributes().end());
  view.rows_copied = project.rows_copied();
  view.bytes_copied = project.bytes_copied();
  view.estimated_bytes = project.estimated_bytes();
  view.wait_cause = project.wait_cause();
  view.update_ms = ToMs(project.update_time());
  for (const v1::Attempt& attempt : project.attempt_history()) {
    view.history.push_back(ViewOf(attempt));
  }
  for (const v1::PhaseResult& result : project.results()) {
    view.results.push_back(ViewOf(result));
  }
  return view;
}

Table TableOf(const v1::ListMigrationsResponse& list, const render::Style& style, int64_t now_ms) {
  Table table{{{"ID", true},
               {"NAME", false, false, true},
               {"STATE"},
               {"DONE", true},
               {"FAILED", true},
               {"NEED YOU", true},
               {"TOOK", true},
               {"CREATED", false, true},
               {"ENDED", false, true},
               {"COPIED", true, true},
               {"REQUEST ID", false, true}},
              {}};
  for (const v1::Migration& migration : list.migrations()) {
    const render::ProgressView view = ProgressOf(migration, now_ms);
    table.rows.push_back({{migration.id()},
                          {migration.name()},
                          MarkCell(render::MarkOf(view.state), style),
                          {Share(render::EndedProjects(view), view.total)},
                          Number(view.failed + view.rolled_back),
                          Number(view.need_operator),
                          {render::Duration(view.elapsed_ms)},
                          {render::Time(ToMs(migration.create_time()))},
                          {render::Time(ToMs(migration.end_time()))},
                          {render::Bytes(view.bytes_copied)},
                          {migration.request_id()}});
  }
  return table;
}

Table TableOf(const v1::ListBatchesResponse& list, const render::Style& style) {
  Table table{{{"ID", true},
               {"STATE"},
               {"DONE", true},
               {"SOURCE", false, false, true},
               {"TARGET", false, false, true},
               {"WORKER", false, false, true},
               {"ESTIMATED", true, true},
               {"MIGRATION", true, true}},
              {}};
  for (const v1::Batch& batch : list.batches()) {
    table.rows.push_back({{batch.id()},
                          MarkCell(render::MarkOf(As<BatchState>(batch.state())), style),
                          {Share(batch.projects_ended(), batch.projects())},
                          {batch.source_server()},
                          {batch.target_server()},
                          {batch.worker_id()},
                          {render::Bytes(batch.estimated_bytes())},
                          {batch.migration_id()}});
  }
  return table;
}

Table TableOf(const v1::ListProjectsResponse& list, const render::Style& style) {
  Table table{{{"PROJECT", false, false, true},
               {"STATE"},
               {"PHASE"},
               {"TRIES", true},
               {"NOTE", false, false, true},
               {"DIRECTION", false, true},
               {"FENCE", true, true},
               {"BATCH", true, true},
               {"WORKER", false, true},
               {"ROWS", true, true},
               {"COPIED", true, true},
               {"UPDATED", false, true},
               {"ERROR", false, true}},
              {}};
  for (const v1::Project& project : list.projects()) {
    const render::Mark mark = render::MarkOf(As<ProjectState>(project.state()));
    table.rows.push_back({{project.ref()},
                          MarkCell(mark, style),
                          {PhaseName(project.phase())},
                          Number(project.attempts()),
                          {Note(project)},
                          {std::string(Name(DirectionOf(project.direction())))},
                          {std::to_string(project.fence())},
                          {project.batch_id()},
                          {project.worker_id()},
                          Number(project.rows_copied()),
                          {render::Bytes(project.bytes_copied())},
                          {render::Time(ToMs(project.update_time()))},
                          {project.error().message()}});
  }
  return table;
}

Table TableOf(const v1::ListWorkersResponse& list, const render::Style& style, int64_t now_ms) {
  Table table{{{"WORKER", false, false, true},
               {"STATE"},
               {"BUSY", true},
               {"VERSION"},
               {"SEEN", true},
               {"HOST", false, false, true}},
              {}};
  for (const v1::Worker& worker : list.workers()) {
    table.rows.push_back({{worker.id()},
                          MarkCell(render::MarkOfWorker(worker.state()), style),
                          {Share(worker.running(), worker.slots())},
                          {worker.version()},
                          {render::Duration(now_ms - ToMs(worker.last_seen_time())) + " ago"},
                          {worker.host()}});
  }
  return table;
}

Table TableOf(const v1::ListEventsResponse& list) {
  Table table{{{"SEQ", true, true},
               {"TIME"},
               {"KIND"},
               {"MIGRATION", true, true},
               {"PROJECT", false, false, true},
               {"ACTOR", false, false, true},
               {"RULE", false, true},
               {"REASON", false, false, true},
               {"DETAIL", false, true}},
              {}};
  for (const v1::Event& event : list.events()) {
    table.rows.push_back({{std::to_string(event.seq())},
                          {render::Time(ToMs(event.time()))},
                          {event.kind()},
                          {event.migration_id()},
                          {event.project_ref()},
                          {event.actor()},
                          {event.rule()},
                          {event.reason()},
                          {event.detail_json()}});
  }
  return table;
}

Table TableOf(const v1::ListBackupsResponse& list) {
  Table table{{{"BACKUP", false, false, true},
               {"PROJECT", false, true},
               {"MIGRATION", true},
               {"TABLES", true},
               {"ROWS", true},
               {"STORED", true},
               {"SCOPE"},
               {"STATE"},
               {"TAKEN", false, true},
               {"CHUNKS", true, true},
               {"MANIFEST SHA-256", false, true}},
              {}};
  for (const v1::BackupRecord& item : list.backups()) {
    int64_t rows = 0;
    for (const v1::TableDigest& digest : item.backup().tables()) {
      rows += digest.rows();
    }
    table.rows.push_back({{item.backup().backup_id()},
                          {item.project_ref()},
                          {item.migration_id()},
                          Number(item.backup().tables_size()),
                          Number(rows),
                          {render::Bytes(item.backup().stored_bytes())},
                          {item.backup().scope()},
                          {item.backup().has_prune_time() ? "pruned" : "sealed"},
                          {google::protobuf::util::TimeUtil::ToString(item.backup().snapshot_time())},
                          Number(item.backup().chunks()),
                          {item.backup().manifest_digest()}});
  }
  return table;
}

}  // namespace pgconvoy::cli
