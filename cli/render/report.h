// What a migration came to, as a document for people or for a spreadsheet. Pure.
//
// Every text of a project is escaped for the format: no name or message can become markup, a formula or a second cell.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/render/describe.h"
#include "cli/render/statistics.h"
#include "common/model/model.h"

namespace pgconvoy::render {

struct ReportProject {
  std::string ref;
  ProjectState state = ProjectState::kPending;
  int attempts = 0;
  // From the first attempt's begin to the last one's end; 0 before that.
  int64_t duration_ms = 0;
  int64_t rows = 0;
  int64_t bytes = 0;
  // An attempt of it went backward.
  bool rolled_back = false;
  std::optional<ErrorView> error;
  // Warnings, and checks that failed after the migration.
  std::vector<std::string> issues;
};

struct ReportInput {
  std::string id;
  std::string name;
  std::string state;
  std::string plan_hash;
  int64_t create_ms = 0;
  // 0 until ended.
  int64_t end_ms = 0;
  // By ref.
  std::vector<ReportProject> projects;
  // Durations of a phase, one for each time that it was finished; in the order of the phases.
  std::vector<std::pair<std::string, std::vector<int64_t>>> phases;
};

struct FailureGroup {
  std::string code;
  std::vector<const ReportProject*> projects;
};

// Refers to the input, which outlives it.
struct Report {
  const ReportInput* input = nullptr;
  // Projects that have ended and were not skipped, and those of them that ended well.
  int64_t ended = 0;
  int64_t succeeded = 0;
  int64_t rolled_back = 0;
  int64_t rows = 0;
  int64_t bytes = 0;
  Summary durations;
  std::vector<std::pair<std::string, Summary>> phases;
  // Most frequent code first.
  std::vector<FailureGroup> failures;
};

Report MakeReport(const ReportInput& input);

// One file without scripts and without anything from elsewhere.
std::string ReportHtml(const Report& report);
std::string ReportMarkdown(const Report& report);
// A line for each project.
std::string ReportCsv(const Report& report);

}  // namespace pgconvoy::render
