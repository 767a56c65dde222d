#include "cli/render/report.h"

#include <map>

#include "cli/commands/commands.h"
#include "cli/commands/history.h"
#include "cli/commands/inputs.h"
#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::cli {
namespace {

bool HasGoneBack(const v1::Project& project) {
  bool back = project.direction() == v1::ROLLBACK;
  for (const v1::Attempt& attempt : project.attempt_history()) {
    back = back || attempt.direction() == v1::ROLLBACK;
  }
  return back;
}

std::vector<std::string> IssuesOf(const v1::Project& project) {
  std::vector<std::string> issues(project.warnings().begin(), project.warnings().end());
  for (const v1::PhaseResult& result : project.results()) {
    if (result.phase() != v1::POST_VALIDATION) {
      continue;
    }
    for (const v1::CheckResult& check : result.checks().checks()) {
      // A warning is among the project's warnings already.
      if (!check.passed() && !check.warning()) {
        issues.push_back(check.name() + ": " + check.message());
      }
    }
  }
  return issues;
}

render::ReportProject ProjectOf(const v1::Project& project) {
  const render::ProjectView view = ViewOf(project);
  render::ReportProject out;
  out.ref = view.ref;
  out.state = view.state;
  out.attempts = view.attempts;
  out.duration_ms = DurationMs(project);
  out.rows = view.rows_copied;
  out.bytes = view.bytes_copied;
  out.rolled_back = HasGoneBack(project);
  out.error = view.error;
  out.issues = IssuesOf(project);
  return out;
}

// Phase and direction, in the order of the phases.
using Samples = std::map<std::pair<int, int>, std::vector<int64_t>>;

std::string PhaseTitle(const std::pair<int, int>& key) {
  const std::string name = v1::Phase_Name(static_cast<v1::Phase>(key.second));
  return key.first == v1::ROLLBACK ? name + " (rollback)" : name;
}

absl::StatusOr<render::ReportInput> Gather(Session& session, const v1::Migration& migration) {
  render::ReportInput input;
  input.id = migration.id();
  input.name = migration.name();
  input.state = v1::MigrationState_Name(migration.state()).substr(std::string("MIGRATION_").size());
  input.plan_hash = migration.plan_hash();
  input.create_ms = ToMs(migration.create_time());
  input.end_ms = migration.has_end_time() ? ToMs(migration.end_time()) : 0;
  Samples samples;
  PGC_RETURN_IF_ERROR(EachProjectWithHistory(session, migration.id(), [&](const v1::Project& project) {
    input.projects.push_back(ProjectOf(project));
    for (const v1::PhaseResult& result : project.results()) {
      samples[{result.direction(), result.phase()}].push_back(result.duration_ms());
    }
  }));
  for (auto& [key, durations] : samples) {
    input.phases.emplace_back(PhaseTitle(key), std::move(durations));
  }
  return input;
}

std::vector<JsonRow> PhaseRows(const render::Report& report) {
  std::vector<JsonRow> rows;
  for (const auto& [name, summary] : report.phases) {
    rows.push_back({{"phase", name},
                    {"count", summary.count},
                    {"mean_ms", summary.mean},
                    {"p50_ms", summary.p50},
                    {"p95_ms", summary.p95},
                    {"max_ms", summary.max}});
  }
  return rows;
}

std::vector<JsonRow> FailureRows(const render::Report& report) {
  std::vector<JsonRow> rows;
  for (const render::FailureGroup& group : report.failures) {
    for (const render::ReportProject* project : group.projects) {
      rows.push_back({{"code", group.code},
                      {"ref", project->ref},
                      {"message", project->error->message},
                      {"remedy", project->error->remedy}});
    }
  }
  return rows;
}

std::vector<JsonRow> ProjectRows(const render::Report& report) {
  std::vector<JsonRow> rows;
  for (const render::ReportProject& project : report.input->projects) {
    rows.push_back({{"ref", project.ref},
                    {"state", std::string(Name(project.state))},
                    {"attempts", int64_t{project.attempts}},
                    {"duration_ms", project.duration_ms},
                    {"rows", project.rows},
                    {"bytes", project.bytes},
                    {"rolled_back", project.rolled_back},
                    {"error_code", project.error ? project.error->code : ""},
                    {"issues", Join(project.issues, "; ")}});
  }
  return rows;
}

std::string ReportJson(const render::Report& report) {
  const render::ReportInput& input = *report.input;
  return ToJson(JsonFields{{"migration_id", input.id},
                           {"name", input.name},
                           {"state", input.state},
                           {"plan_hash", input.plan_hash},
                           {"create_time", render::Time(input.create_ms)},
                           {"end_time", render::Time(input.end_ms)},
                           {"projects_total", static_cast<int64_t>(input.projects.size())},
                           {"projects_ended", report.ended},
                           {"projects_succeeded", report.succeeded},
                           {"projects_rolled_back", report.rolled_back},
                           {"success_rate", render::Percent(report.succeeded, report.ended)},
                           {"rollback_rate", render::Percent(report.rolled_back, report.ended)},
                           {"mean_duration_ms", report.durations.mean},
                           {"p95_duration_ms", report.durations.p95},
                           {"rows_copied", report.rows},
                           {"bytes_copied", report.bytes},
                           {"phases", PhaseRows(report)},
                           {"failures", FailureRows(report)},
                           {"projects", ProjectRows(report)}});
}

std::string Render(const render::Report& report, const std::string& format) {
  if (format == "html") {
    return ReportHtml(report);
  }
  if (format == "csv") {
    return ReportCsv(report);
  }
  return format == "json" ? ReportJson(report) : ReportMarkdown(report);
}

}  // namespace

int WriteReport(Session& session, const ReportOptions& options) {
  const auto migration = FindMigration(session, options.migration);
  if (!migration.ok()) {
    return Fail(session, migration.status());
  }
  const auto input = Gather(session, *migration);
  if (!input.ok()) {
    return Fail(session, input.status());
  }
  const std::string text = Render(render::MakeReport(*input), options.format);
  if (options.out.empty()) {
    Out(text);
    return kOk;
  }
  if (const absl::Status written = WriteFile(options.out, text); !written.ok()) {
    return Fail(session, written);
  }
  Say("wrote " + Printable(options.out));
  return kOk;
}

}  // namespace pgconvoy::cli
