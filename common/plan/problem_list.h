// Collects the problems of one input and stops at kMaxProblems.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "common/plan/plan.h"

namespace pgconvoy::plan {

class ProblemList {
 public:
  void Add(Problem problem) {
    if (!full()) {
      problems_.push_back(std::move(problem));
    }
  }
  bool full() const { return problems_.size() >= kMaxProblems; }
  std::vector<Problem> Take() { return std::move(problems_); }
  const std::vector<Problem>& all() const { return problems_; }

 private:
  std::vector<Problem> problems_;
};

inline bool HasNoError(const std::vector<Problem>& problems) {
  return std::all_of(problems.begin(), problems.end(), [](const Problem& problem) { return problem.warning; });
}

}  // namespace pgconvoy::plan
