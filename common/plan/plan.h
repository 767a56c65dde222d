// Loading and checking plans. YAML is parsed strictly, turned to JSON and from there into the protobuf message, so
// that file and API cannot drift apart. Every problem of a file is reported, not just the first.
//
// Thread safety: all functions are pure but for reading the named file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::plan {

// One thing that is wrong with an input, with its place.
struct Problem {
  std::string file;
  // From 1; 0 when it concerns the whole file.
  int line = 0;
  int column = 0;
  // "tables[2].where"; may be empty.
  std::string field;
  // PGC-PLAN-… or PGC-CSV-….
  std::string code;
  std::string message;
  std::string remedy;
  // A warning does not make the input invalid.
  bool warning = false;
};

// "error PGC-PLAN-UNKNOWN-KEY plan.yaml:7:3 tables[0].wher: unknown key; did you mean \"where\"?"
std::string Format(const Problem& problem);

// At most so many problems are reported for one file, and at most so large a file is read.
inline constexpr size_t kMaxProblems = 100;
inline constexpr size_t kMaxPlanBytes = 1 << 20;

struct ParsedPlan {
  // Filled as far as the problems allow; use it only when ok().
  v1::Plan plan;
  std::vector<Problem> problems;
  bool ok() const;
};

// Parses, applies defaults and validates. `file` names the input in problems.
ParsedPlan ParsePlan(std::string_view yaml, const std::string& file);
// Reads the file first; an unreadable one is a problem too.
ParsedPlan LoadPlan(const std::string& path);

// Semantic checks of a plan that came over the API; the problems have no line. ParsePlan runs them as well.
std::vector<Problem> ValidatePlan(const v1::Plan& plan);
// Fills every documented default in place. Idempotent.
void ApplyDefaults(v1::Plan& plan);

// Canonical JSON: defaults applied, keys in field order, map keys sorted, no spaces. Same plan, same bytes.
std::string CanonicalJson(const v1::Plan& plan);
absl::StatusOr<v1::Plan> PlanFromJson(std::string_view json);
// SHA-256 of CanonicalJson, hex.
std::string PlanHash(const v1::Plan& plan);

}  // namespace pgconvoy::plan
