#include "cli/render/report.h"

#include <algorithm>
#include <map>

#include "cli/render/csv.h"
#include "common/base/text.h"

namespace pgconvoy::render {
namespace {

using Cells = std::vector<std::string>;

struct Part {
  std::string title;
  Cells columns;
  std::vector<Cells> rows;
  // Said instead of an empty table.
  std::string none;
};

bool Succeeded(const ReportProject& project) {
  return project.state == ProjectState::kSucceeded || project.state == ProjectState::kSucceededWithWarnings;
}

std::vector<FailureGroup> GroupFailures(const std::vector<ReportProject>& projects) {
  std::map<std::string, FailureGroup> by_code;
  for (const ReportProject& project : projects) {
    if (project.error.has_value() && !Succeeded(project)) {
      FailureGroup& group = by_code[project.error->code];
      group.code = project.error->code;
      group.projects.push_back(&project);
    }
  }
  std::vector<FailureGroup> groups;
  for (auto& [code, group] : by_code) {
    groups.push_back(std::move(group));
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& a, const auto& b) { return a.projects.size() > b.projects.size(); });
  return groups;
}

// ---- what every format holds -----------------------------------------------------------------------------------

Part Overview(const Report& report) {
  const ReportInput& input = *report.input;
  return {"Overview",
          {"Figure", "Value"},
          {{"State", input.state},
           {"Begun", Time(input.create_ms)},
           {"Ended", Time(input.end_ms)},
           {"Projects", Count(static_cast<int64_t>(input.projects.size()))},
           {"Ended projects", Count(report.ended)},
           {"Success rate", Percent(report.succeeded, report.ended)},
           {"Rollback rate", Percent(report.rolled_back, report.ended)},
           {"Mean duration of a project", Duration(report.durations.mean)},
           {"95th percentile", Duration(report.durations.p95)},
           {"Rows copied", Count(report.rows)},
           {"Bytes copied", Bytes(report.bytes)},
           {"Plan hash", input.plan_hash}},
          ""};
}

Part Phases(const Report& report) {
  Part part{"Phases", {"Phase", "Times", "Mean", "p50", "p95", "Longest"}, {}, "No phase has been finished."};
  for (const auto& [name, summary] : report.phases) {
    part.rows.push_back({name, Count(summary.count), Duration(summary.mean), Duration(summary.p50),
                         Duration(summary.p95), Duration(summary.max)});
  }
  return part;
}

Part Failures(const Report& report) {
  Part part{"Failures", {"Code", "Projects", "Project", "Cause", "Remedy"}, {}, "No project has failed."};
  for (const FailureGroup& group : report.failures) {
    for (const ReportProject* project : group.projects) {
      part.rows.push_back({group.code, Count(static_cast<int64_t>(group.projects.size())), project->ref,
                           project->error->message, project->error->remedy});
    }
  }
  return part;
}

Part Issues(const Report& report) {
  Part part{"Issues after the migration", {"Project", "Issue"}, {}, "None."};
  for (const ReportProject& project : report.input->projects) {
    for (const std::string& issue : project.issues) {
      part.rows.push_back({project.ref, issue});
    }
  }
  return part;
}

Part Projects(const Report& report) {
  Part part{"Projects", {"Project", "State", "Attempts", "Duration", "Rows", "Bytes", "Rolled back"}, {}, "None."};
  for (const ReportProject& project : report.input->projects) {
    part.rows.push_back({project.ref, std::string(Name(project.state)), std::to_string(project.attempts),
                         Duration(project.duration_ms), Count(project.rows), Bytes(project.bytes),
                         project.rolled_back ? "yes" : "no"});
  }
  return part;
}

std::vector<Part> Parts(const Report& report) {
  return {Overview(report), Phases(report), Failures(report), Issues(report), Projects(report)};
}

std::string Title(const ReportInput& input) { return "Migration " + input.id + ": " + input.name; }

// ---- HTML ------------------------------------------------------------------------------------------------------

constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 0 0 2rem; }
caption { text-align: left; font-weight: bold; font-size: 1.25rem; padding: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #767676;
  overflow-wrap: anywhere; }
@media print { body { max-width: none; margin: 0; } tr { break-inside: avoid; } thead { display: table-header-group; } }
)css";

std::string EscapeHtml(const std::string& raw) {
  std::string escaped;
  for (const char c : Printable(raw)) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

// The first cell of a row names it.
std::string HtmlRow(const Cells& cells) {
  std::string row = "<tr>";
  for (size_t i = 0; i < cells.size(); ++i) {
    row += i == 0 ? "<th scope=\"row\">" + EscapeHtml(cells[i]) + "</th>" : "<td>" + EscapeHtml(cells[i]) + "</td>";
  }
  return row + "</tr>\n";
}

std::string HtmlPart(const Part& part) {
  if (part.rows.empty()) {
    return "<h2>" + EscapeHtml(part.title) + "</h2>\n<p>" + EscapeHtml(part.none) + "</p>\n";
  }
  std::string html = "<table>\n<caption>" + EscapeHtml(part.title) + "</caption>\n<thead><tr>";
  for (const std::string& column : part.columns) {
    html += "<th scope=\"col\">" + EscapeHtml(column) + "</th>";
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const Cells& row : part.rows) {
    html += HtmlRow(row);
  }
  return html + "</tbody>\n</table>\n";
}

// ---- Markdown --------------------------------------------------------------------------------------------------

// A cell is in the middle of a line, so that only what has a meaning there counts.
std::string EscapeMarkdown(const std::string& raw) {
  std::string escaped;
  for (const char c : EscapeHtml(raw)) {
    if (std::string_view("\\`*_[]|~!").find(c) != std::string_view::npos) {
      escaped += '\\';
    }
    escaped += c;
  }
  return escaped;
}

std::string MarkdownRow(const Cells& cells) {
  std::string row = "|";
  for (const std::string& cell : cells) {
    row += " " + EscapeMarkdown(cell) + " |";
  }
  return row + "\n";
}

std::string MarkdownPart(const Part& part) {
  std::string text = "\n## " + part.title + "\n\n";
  if (part.rows.empty()) {
    return text + part.none + "\n";
  }
  text += MarkdownRow(part.columns) + MarkdownRow(Cells(part.columns.size(), "---"));
  for (const Cells& row : part.rows) {
    text += MarkdownRow(row);
  }
  return text;
}

}  // namespace

Report MakeReport(const ReportInput& input) {
  Report report;
  report.input = &input;
  std::vector<int64_t> durations;
  for (const ReportProject& project : input.projects) {
    report.rows += project.rows;
    report.bytes += project.bytes;
    if (!IsEnded(project.state) || project.state == ProjectState::kSkipped) {
      continue;
    }
    ++report.ended;
    report.succeeded += Succeeded(project) ? 1 : 0;
    report.rolled_back += project.rolled_back ? 1 : 0;
    durations.push_back(project.duration_ms);
  }
  report.durations = Summarize(std::move(durations));
  for (const auto& [name, samples] : input.phases) {
    report.phases.emplace_back(name, Summarize(samples));
  }
  report.failures = GroupFailures(input.projects);
  return report;
}

std::string ReportHtml(const Report& report) {
  const std::string title = EscapeHtml(Title(*report.input));
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  html += "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n";
  html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  html += "<title>" + title + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<main>\n<h1>" + title +
          "</h1>\n";
  for (const Part& part : Parts(report)) {
    html += HtmlPart(part);
  }
  return html + "</main>\n</body>\n</html>\n";
}

std::string ReportMarkdown(const Report& report) {
  std::string text = "# " + EscapeMarkdown(Title(*report.input)) + "\n";
  for (const Part& part : Parts(report)) {
    text += MarkdownPart(part);
  }
  return text;
}

std::string ReportCsv(const Report& report) {
  std::string csv = CsvLine({"ref", "state", "attempts", "duration_ms", "rows", "bytes", "rolled_back", "error_code",
                             "error", "remedy", "issues"});
  for (const ReportProject& project : report.input->projects) {
    const ErrorView error = project.error.value_or(ErrorView());
    csv += CsvLine({project.ref, std::string(Name(project.state)), std::to_string(project.attempts),
                    std::to_string(project.duration_ms), std::to_string(project.rows), std::to_string(project.bytes),
                    project.rolled_back ? "true" : "false", CsvText(error.code), CsvText(Printable(error.message)),
                    CsvText(Printable(error.remedy)), CsvText(Printable(Join(project.issues, "; ")))});
  }
  return csv;
}

}  // namespace pgconvoy::render
