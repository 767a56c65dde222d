#include <algorithm>
#include <set>

#include "cli/commands/commands.h"
#include "cli/commands/inputs.h"
#include "cli/commands/json.h"
#include "cli/render/csv.h"
#include "cli/render/table.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::cli {
namespace {

using render::Table;
using render::Tone;

std::set<std::string> AttributeNames(const v1::DiscoverProjectsResponse& found) {
  std::set<std::string> names;
  for (const v1::ProjectSpec& project : found.projects()) {
    for (const auto& [name, value] : project.attributes()) {
      names.insert(name);
    }
  }
  return names;
}

std::string Attribute(const v1::ProjectSpec& project, const std::string& name) {
  const auto value = project.attributes().find(name);
  return value == project.attributes().end() ? "" : value->second;
}

// What `submit --projects` takes. Judged candidates have their measured bytes.
std::string Csv(const v1::DiscoverProjectsResponse& found) {
  const std::set<std::string> names = AttributeNames(found);
  std::vector<std::string> header = {"ref", "estimated_bytes"};
  header.insert(header.end(), names.begin(), names.end());
  std::string csv = render::CsvLine(header);
  int64_t marked = 0;
  for (int i = 0; i < found.projects_size(); ++i) {
    const v1::ProjectSpec& project = found.projects(i);
    const bool judged = i < found.candidates_size() && found.candidates(i).bytes() > 0;
    std::vector<std::string> cells = {
        project.ref(), std::to_string(judged ? found.candidates(i).bytes() : project.estimated_bytes())};
    for (const std::string& name : names) {
      const std::string value = Attribute(project, name);
      marked += render::IsFormula(value) ? 1 : 0;
      cells.push_back(render::CsvText(value));
    }
    csv += render::CsvLine(cells);
  }
  if (marked > 0) {
    Say("warning: " + render::Count(marked) +
        " values begin like a formula and have got a ' in front; take it away before you submit the file");
  }
  return csv;
}

Tone ToneOf(v1::Candidate::Risk risk) {
  switch (risk) {
    case v1::Candidate::LOW: return Tone::kGood;
    case v1::Candidate::MEDIUM: return Tone::kWarn;
    default: return Tone::kBad;
  }
}

std::string RiskName(v1::Candidate::Risk risk) {
  switch (risk) {
    case v1::Candidate::LOW: return "low";
    case v1::Candidate::MEDIUM: return "medium";
    default: return "high";
  }
}

Table Judged(const v1::DiscoverProjectsResponse& found) {
  Table table{{{"REF"}, {"STATUS"}, {"SIZE", true}, {"RISK"}, {"WHY", false, false, true}}, {}};
  for (const v1::Candidate& candidate : found.candidates()) {
    table.rows.push_back({{candidate.ref()},
                          {candidate.status()},
                          {render::Bytes(candidate.bytes())},
                          {RiskName(candidate.risk()), ToneOf(candidate.risk())},
                          {Join({candidate.reasons().begin(), candidate.reasons().end()}, "; ")}});
  }
  return table;
}

Table Listed(const v1::DiscoverProjectsResponse& found) {
  const std::set<std::string> names = AttributeNames(found);
  Table table{{{"REF"}, {"EST. SIZE", true}}, {}};
  for (const std::string& name : names) {
    table.columns.push_back({Printable(name), false, false, true});
  }
  for (const v1::ProjectSpec& project : found.projects()) {
    auto& row = table.rows.emplace_back();
    row.push_back({project.ref()});
    row.push_back({project.estimated_bytes() == 0 ? "-" : render::Bytes(project.estimated_bytes())});
    for (const std::string& name : names) {
      row.push_back({Attribute(project, name)});
    }
  }
  return table;
}

void Show(const Session& session, const v1::DiscoverProjectsResponse& found, bool detailed) {
  if (session.structured()) {
    OutStructured(session, ToJson(found));
  } else if (session.format() == Format::kCsv) {
    Out(Csv(found));
  } else if (session.format() == Format::kName) {
    for (const v1::ProjectSpec& project : found.projects()) {
      Out(Printable(project.ref()) + "\n");
    }
  } else {
    Out(render::Draw(detailed ? Judged(found) : Listed(found), session.wide(), session.out_style()));
  }
}

}  // namespace

int Discover(Session& session, const DiscoverOptions& options) {
  v1::Plan plan;
  if (const int code = LoadPlanFile(options.plan, plan); code != kOk) {
    return code;
  }
  Say(options.detailed ? "measuring every candidate on a worker…" : "reading the registry on a worker…");
  const auto found = session.client().Discover(plan::CanonicalJson(plan), options.detailed);
  if (!found.ok()) {
    return FailTask(session, found.status());
  }
  Show(session, *found, options.detailed);
  Say(render::Count(found->projects_size()) + " projects" +
      (options.detailed ? "" : "; --detailed measures them and judges the risk"));
  return kOk;
}

}  // namespace pgconvoy::cli
