// A plan is refused with problems that can be shown, or it is the same plan after a round trip through the API's form.
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "tests/fuzz/fuzz.h"

using pgconvoy::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = pgconvoy::plan::ParsePlan(pgconvoy::fuzz::Text(data, size), "plan.yaml");
  Require(parsed.problems.size() <= pgconvoy::plan::kMaxProblems, "at most so many problems are reported");
  for (const auto& problem : parsed.problems) {
    const std::string line = pgconvoy::plan::Format(problem);
    Require(line == pgconvoy::Printable(line), "a problem is one printable line");
    Require(!problem.code.empty() && !problem.message.empty(), "a problem has a code and says what is wrong");
  }
  if (parsed.ok()) {
    const auto again = pgconvoy::plan::PlanFromJson(pgconvoy::plan::CanonicalJson(parsed.plan));
    Require(again.ok(), "an accepted plan can be sent");
    Require(pgconvoy::plan::PlanHash(*again) == pgconvoy::plan::PlanHash(parsed.plan), "and stays the same plan");
  }
  return 0;
}
