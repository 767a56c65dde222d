#include "cli/commands/exit_code.h"

#include <array>
#include <utility>

#include "common/base/error.h"

namespace pgconvoy::cli {
namespace {

constexpr std::array<std::pair<ExitCode, const char*>, 11> kMeanings = {{
    {kOk, "success"},
    {kFailure, "failure; wait and watch: a project failed, was rolled back after an error or was cancelled"},
    {kWarnings, "success with warnings"},
    {kNeedsHuman, "at least one project needs an operator"},
    {kRefused, "refused: not allowed in this state, or a confirmation is missing"},
    {kUsage, "usage: unknown or contradictory arguments"},
    {kBadInput, "bad plan or CSV"},
    {kUnavailable, "no coordinator answers, or it has no worker"},
    {kNotPermitted, "not permitted"},
    {kTimeout, "the time given with --timeout was over; the migration goes on"},
    {kInterrupted, "interrupted; the migration goes on"},
}};

bool IsBadInput(const std::string& code) { return code.starts_with("PGC-PLAN-") || code.starts_with("PGC-CSV-"); }

// A server of the plan that does not answer, or a file of the operator's: their errors are not a coordinator that is
// away, nor a wrong argument.
bool IsOfAServer(const std::string& code) { return code.starts_with("PGC-PG-"); }
bool IsOfAFile(const std::string& code) { return code == "PGC-CLI-FILE"; }

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  if (IsBadInput(CodeOf(status))) {
    return kBadInput;
  }
  if (IsOfAServer(CodeOf(status)) || IsOfAFile(CodeOf(status))) {
    return kFailure;
  }
  switch (status.code()) {
    case absl::StatusCode::kUnavailable: return kUnavailable;
    case absl::StatusCode::kDeadlineExceeded: return kTimeout;
    case absl::StatusCode::kInvalidArgument: return kUsage;
    case absl::StatusCode::kFailedPrecondition:
      return VerdictOf(status) == Verdict::kOperator ? kNeedsHuman : kRefused;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kAlreadyExists: return kRefused;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated: return kNotPermitted;
    default: return kFailure;
  }
}

ExitCode ExitCodeOf(const v1::Migration& ended) {
  if (ended.projects_need_operator() > 0) {
    return kNeedsHuman;
  }
  switch (ended.state()) {
    case v1::MIGRATION_SUCCEEDED: return kOk;
    // Reached only when the rollback was asked for; one that followed an error ends as MIGRATION_FAILED.
    case v1::MIGRATION_ROLLED_BACK: return kOk;
    case v1::MIGRATION_SUCCEEDED_WITH_WARNINGS: return kWarnings;
    default: return kFailure;
  }
}

std::string ExitCodeTable() {
  std::string text = "CODE  MEANING\n";
  for (const auto& [code, meaning] : kMeanings) {
    std::string number = std::to_string(code);
    number.resize(6, ' ');
    text += number + meaning + "\n";
  }
  return text;
}

}  // namespace pgconvoy::cli
