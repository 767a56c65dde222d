// Named assertions of PRE_VALIDATION and POST_VALIDATION, collected into one result.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// What a check found, beside whether it passed; message and remedy count only when it did not.
struct Finding {
  std::string message = {};
  // With their units.
  std::string measured = {};
  std::string needed = {};
  // The exact fix, such as the statement to run.
  std::string remedy = {};
  bool warning_only = false;
};

class CheckList {
 public:
  CheckList(Attempt& attempt, v1::ChecksResult& result) : attempt_(attempt), result_(result) {}

  // Records one outcome. A failed check of severity error makes Verdict() an error.
  void Add(const std::string& name, bool passed, const std::string& message, bool warning_only = false);
  void Add(const std::string& name, bool passed, const Finding& finding);
  // What a group of checks came to. An attempt stops at its error; who inspects has it as one failed check, named
  // after the group, and goes on with the next group.
  absl::Status Group(const std::string& name, const absl::Status& status);
  // Runs the plan's own checks of this stage.
  absl::Status RunPlanChecks(v1::Check::Stage stage);
  // Every check that has failed becomes a warning: the plan skips the phase.
  void OnlyWarn();
  // OK, or PGC-CHECK-FAILED with every failed check and its message. Failed warnings go to attempt.warnings.
  absl::Status Verdict() const;

 private:
  absl::StatusOr<bool> RunSql(const v1::Check& check);
  Attempt& attempt_;
  v1::ChecksResult& result_;
};

}  // namespace pgconvoy::worker
