// Named assertions of PRE_VALIDATION and POST_VALIDATION, collected into one result.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// What one assertion found. All but the name and the verdict is left out of the result when it passed, except for the
// figures.
struct Finding {
  std::string name = {};
  bool passed = false;
  // What is wrong; no row data.
  std::string message = {};
  // The exact fix, such as the GRANT to run.
  std::string remedy = {};
  // Figures with their units, where there are any.
  std::string measured = {};
  std::string needed = {};
  // Severity warning instead of error.
  bool warning_only = false;
};

class CheckList {
 public:
  // `skipped`: the plan turns the errors of this phase into warnings.
  CheckList(Attempt& attempt, v1::ChecksResult& result, bool skipped = false)
      : attempt_(attempt), result_(result), skipped_(skipped) {}

  // Records one outcome. A failed check of severity error makes Verdict() an error.
  void Add(const Finding& finding);
  void Add(const std::string& name, bool passed, const std::string& message, bool warning_only = false);
  // A warning when others may listen to a session with this server of the plan; once for each server.
  void WarnIfExposed(const std::string& server, pg::Connection& session);
  // Records what another list has recorded.
  void AddAll(const v1::ChecksResult& others);
  // What a group of checks came to. An attempt stops at its error; who inspects has it as one failed check, named
  // after the group, and goes on with the next group.
  absl::Status Group(const std::string& name, const absl::Status& status);
  // Runs the plan's own checks of this stage. An error of a server that may pass is returned; everything else that
  // keeps a check from being run is its failure.
  absl::Status RunPlanChecks(v1::Check::Stage stage);
  // OK, or PGC-CHECK-FAILED with every failed check, its message and remedy. Failed warnings go to attempt.warnings.
  absl::Status Verdict() const;

 private:
  Attempt& attempt_;
  v1::ChecksResult& result_;
  const bool skipped_;
};

// That every value of the table's mapped columns has a new one; nothing for a table without such columns.
absl::Status CheckValuesMapped(Attempt& attempt,
                               pg::Connection& connection,
                               const v1::Table& table,
                               CheckList& checks);

}  // namespace pgconvoy::worker
