#include "common/plan/table_pattern.h"

#include <algorithm>

#include "common/plan/template.h"

namespace pgconvoy::plan {
namespace {

// Backtracks to the last star only, as every star takes as little as it can.
bool Matches(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t star = std::string_view::npos;
  size_t resume = 0;
  for (size_t t = 0; t < text.size();) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

std::string WrittenPart(std::string_view part) {
  if (part.find_first_of(".\" \t\r\n") == std::string_view::npos) {
    return std::string(part);
  }
  std::string quoted = "\"";
  for (const char c : part) {
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  }
  return quoted + "\"";
}

}  // namespace

bool IsPattern(std::string_view name) { return name.find('*') != std::string_view::npos; }

bool MatchesTable(std::string_view pattern, std::string_view schema, std::string_view table) {
  const auto parts = SplitQualified(pattern, 2);
  return parts.ok() && Matches((*parts)[0], schema) && Matches((*parts)[1], table);
}

bool TakesTable(const v1::Table& entry, std::string_view schema, std::string_view table) {
  const auto excepted = [&](const std::string& pattern) { return MatchesTable(pattern, schema, table); };
  return MatchesTable(entry.table(), schema, table) &&
         std::none_of(entry.except().begin(), entry.except().end(), excepted);
}

bool IsWholeDatabase(const v1::Plan& plan) {
  return plan.target().schemas_size() == 1 && plan.target().schemas(0) == "*";
}

std::string WrittenName(std::string_view schema, std::string_view table) {
  return WrittenPart(schema) + "." + WrittenPart(table);
}

}  // namespace pgconvoy::plan
