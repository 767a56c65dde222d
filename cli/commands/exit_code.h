// What the process says to scripts. docs/cli.md and `pgconvoy help exit-codes` hold the same table.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "pgconvoy/v1/migration.pb.h"

namespace pgconvoy::cli {

enum ExitCode : int {
  kOk = 0,
  kFailure = 1,
  kWarnings = 2,
  // A project needs an operator.
  kNeedsHuman = 3,
  // The coordinator refused, or a confirmation is missing.
  kRefused = 4,
  kUsage = 64,
  // Bad plan or CSV.
  kBadInput = 65,
  kUnavailable = 69,
  kNotPermitted = 77,
  // The command's own time limit.
  kTimeout = 124,
  // SIGINT or SIGTERM: only the command ended.
  kInterrupted = 130,
};

// Must not be called with OK.
ExitCode ExitCodeOf(const absl::Status& status);
// Of a migration that has ended.
ExitCode ExitCodeOf(const v1::Migration& ended);
// The table, for people.
std::string ExitCodeTable();

}  // namespace pgconvoy::cli
