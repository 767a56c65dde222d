#include "common/plan/plan.h"

#include <algorithm>
#include <tuple>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/input_file.h"
#include "common/plan/problem_list.h"
#include "common/plan/yaml_loader.h"
#include "common/plan/yaml_tree.h"

namespace pgconvoy::plan {
namespace {

// Says where each problem of `found` stands; leaves out what the loader has reported better.
void AddLocated(std::vector<Problem> found,
                const LoadedYaml& loaded,
                const std::string& file,
                ProblemList& problems) {
  for (Problem& problem : found) {
    if (!loaded.IsReported(problem.field)) {
      const Place place = loaded.PlaceOf(problem.field);
      problem.file = file;
      problem.line = place.line;
      problem.column = place.column;
      problems.Add(std::move(problem));
    }
  }
}

std::vector<Problem> SortedByPlace(std::vector<Problem> problems) {
  std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.line, a.column) < std::tie(b.line, b.column);
  });
  return problems;
}

}  // namespace

bool ParsedPlan::ok() const { return HasNoError(problems); }

std::string Format(const Problem& problem) {
  std::string text = (problem.warning ? "warning " : "error ") + problem.code;
  if (!problem.file.empty()) {
    text += " " + Printable(problem.file);
    for (const int number : {problem.line, problem.column}) {
      text += number > 0 ? ":" + std::to_string(number) : "";
    }
  }
  if (!problem.field.empty()) {
    text += " " + Printable(problem.field);
  }
  text += ": " + Printable(problem.message);
  return problem.remedy.empty() ? text : text + "; " + Printable(problem.remedy);
}

ParsedPlan ParsePlan(std::string_view yaml, const std::string& file) {
  ProblemList problems;
  const std::optional<YamlNode> root = ParseYaml(yaml, file, problems);
  if (!root.has_value()) {
    return {{}, SortedByPlace(problems.Take())};
  }
  const LoadedYaml loaded = LoadYaml(*root, *v1::Plan::descriptor(), file, problems);
  auto plan = PlanFromJson(loaded.json);
  if (!plan.ok()) {
    problems.Add({file, 0, 0, "", CodeOf(plan.status()), MessageOf(plan.status()), RemedyOf(plan.status()), false});
    return {{}, SortedByPlace(problems.Take())};
  }
  ApplyDefaults(*plan);
  AddLocated(ValidatePlan(*plan), loaded, file, problems);
  return {*std::move(plan), SortedByPlace(problems.Take())};
}

ParsedPlan LoadPlan(const std::string& path) {
  const auto file = ReadInputFile(path, kMaxPlanBytes);
  if (!file.ok()) {
    const bool too_large = file.status().code() == absl::StatusCode::kResourceExhausted;
    return {
        {},
        {{path, 0, 0, "", too_large ? "PGC-PLAN-TOO-LARGE" : "PGC-PLAN-FILE", MessageOf(file.status()), "", false}}};
  }
  return ParsePlan(file->content, path);
}

}  // namespace pgconvoy::plan
