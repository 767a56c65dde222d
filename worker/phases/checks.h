// Named assertions of PRE_VALIDATION and POST_VALIDATION, collected into one result.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

class CheckList {
 public:
  CheckList(Attempt& attempt, v1::ChecksResult& result) : attempt_(attempt), result_(result) {}

  // Records one outcome. A failed check of severity error makes Verdict() an error. What was measured and what is
  // needed can be added to what it returns, which lives until the next call.
  v1::CheckResult& Add(const std::string& name, bool passed, const std::string& message, bool warning_only = false);
  // Runs the plan's own checks of this stage.
  absl::Status RunPlanChecks(v1::Check::Stage stage);
  // OK, or PGC-CHECK-FAILED with every failed check and its message. Failed warnings go to attempt.warnings.
  absl::Status Verdict() const;

 private:
  absl::StatusOr<bool> RunSql(const v1::Check& check);
  Attempt& attempt_;
  v1::ChecksResult& result_;
};

}  // namespace pgconvoy::worker
