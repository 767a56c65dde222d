// The checks that several fields of a plan share, and the problems that they find. Fields are named by their path.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/plan/problem_list.h"

namespace pgconvoy::plan {

class FieldChecks {
 public:
  // `attributes`: those that the registry provides.
  explicit FieldChecks(std::set<std::string> attributes) : attributes_(std::move(attributes)) {}

  void Error(const std::string& field, std::string_view code, std::string message, std::string remedy = "");
  void Warning(const std::string& field, std::string_view code, std::string message, std::string remedy = "");
  // Adds an error when `status` is one.
  void Take(const std::string& field, const absl::Status& status);

  // PGC-PLAN-REQUIRED; false when the value is empty.
  bool Required(const std::string& field, std::string_view value);
  // [a-z0-9][a-z0-9-]{0,62}, also with _ when `underscore`.
  void Word(const std::string& field, std::string_view value, bool underscore);
  // The name of an existing database, role or column, taken as it is.
  void PlainName(const std::string& field, std::string_view value);
  // 0 means "not set". PGC-PLAN-RANGE.
  void Range(const std::string& field, int64_t value, int64_t min, int64_t max);
  // PGC-PLAN-SECRET-LITERAL; never shows the value.
  void SecretRef(const std::string& field, std::string_view value);
  // A name template; `per_project` when all projects would share one object without a placeholder.
  void NameTemplate(const std::string& field, std::string_view value, bool per_project);
  // `extra`: placeholders that have a value here, besides the ref and the attributes.
  void SqlTemplate(const std::string& field, std::string_view value, const std::set<std::string>& extra = {});
  // An SQL template that is one expression or one query.
  void ConditionTemplate(const std::string& field, std::string_view value, const std::set<std::string>& extra = {});
  // A template of plain text.
  void TextTemplate(const std::string& field, std::string_view value, const std::set<std::string>& extra);
  // False unless it is a dotted name of so many parts.
  bool Qualified(const std::string& field, std::string_view value, size_t parts);

  // True when `value` is a well-formed template with at least one placeholder.
  static bool HasPlaceholder(std::string_view value);

  std::vector<Problem> TakeProblems() { return problems_.Take(); }

 private:
  void Placeholders(const std::string& field, std::string_view value, const std::set<std::string>& extra);

  std::set<std::string> attributes_;
  ProblemList problems_;
};

}  // namespace pgconvoy::plan
