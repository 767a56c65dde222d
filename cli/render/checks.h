// What checks found in many projects, for people: a check that says the same of 4,000 projects is one line with a
// count. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/render/text.h"

namespace pgconvoy::render {

enum class Verdict { kPassed, kWarning, kFailed };

struct CheckView {
  // Empty for what concerns no single project.
  std::string ref;
  std::string name;
  Verdict verdict = Verdict::kPassed;
  std::string message;
  std::string measured;
  std::string needed;
  std::string remedy;
};

struct CheckGroup {
  // Without a ref. measured and needed only where all have the same.
  CheckView check;
  int64_t count = 0;
  // The first few, in order.
  std::vector<std::string> refs;
};

// Failed ones first, then warnings, then what passed; within each by name.
std::vector<CheckGroup> GroupChecks(const std::vector<CheckView>& checks);

// The groups as a table, then what to do about each that did not pass, then the counts.
std::string DrawChecks(const std::vector<CheckView>& checks, const Style& style);
// Every check of every project on a line of its own.
std::string DrawEachCheck(const std::vector<CheckView>& checks, const Style& style);

}  // namespace pgconvoy::render
