// The list of projects as CSV (RFC 4180, UTF-8, header line). Column `ref` is required, `estimated_bytes` optional,
// every other column becomes an attribute of its name ([a-z][a-z0-9_]*).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/plan/plan.h"

namespace pgconvoy::plan {

inline constexpr size_t kMaxProjects = 1'000'000;

struct ProjectEntry {
  std::string ref;
  std::map<std::string, std::string> attributes;
  int64_t estimated_bytes = 0;
  // Line in the file where the row begins.
  int line = 0;
};

struct ParsedProjects {
  std::vector<ProjectEntry> projects;
  std::vector<Problem> problems;
  bool ok() const;
};

ParsedProjects ParseProjects(std::string_view csv, const std::string& file);
ParsedProjects LoadProjects(const std::string& path);

}  // namespace pgconvoy::plan
