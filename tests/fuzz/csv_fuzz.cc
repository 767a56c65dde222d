// A list of projects is refused with problems that can be shown, or every ref in it is a valid one that occurs once.
#include <set>

#include "common/base/text.h"
#include "common/model/model.h"
#include "common/plan/csv.h"
#include "tests/fuzz/fuzz.h"

using pgconvoy::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = pgconvoy::plan::ParseProjects(pgconvoy::fuzz::Text(data, size), "projects.csv");
  Require(parsed.problems.size() <= pgconvoy::plan::kMaxProblems, "at most so many problems are reported");
  for (const auto& problem : parsed.problems) {
    const std::string line = pgconvoy::plan::Format(problem);
    Require(line == pgconvoy::Printable(line), "a problem is one printable line");
  }
  if (!parsed.ok()) {
    return 0;
  }
  Require(!parsed.projects.empty(), "an accepted list has projects");
  std::set<std::string> refs;
  for (const auto& project : parsed.projects) {
    Require(pgconvoy::IsValidRef(project.ref), "an accepted ref is valid");
    Require(refs.insert(project.ref).second, "an accepted ref occurs once");
    Require(project.estimated_bytes >= 0 && project.line > 1, "sizes and lines make sense");
    for (const auto& [name, value] : project.attributes) {
      Require(pgconvoy::IsUtf8(name) && pgconvoy::IsUtf8(value), "an accepted attribute is UTF-8 without NUL");
    }
  }
  return 0;
}
