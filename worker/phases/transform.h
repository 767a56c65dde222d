// What TRANSFORM and the checks before it share: the plan's statements, rendered and run.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"
#include "worker/phases/checks.h"

namespace pgconvoy::worker {

using SqlTemplates = google::protobuf::RepeatedPtrField<std::string>;
using Steps = google::protobuf::RepeatedPtrField<v1::Step>;

absl::StatusOr<std::vector<std::string>> RenderAll(const SqlTemplates& templates, const plan::Values& values);

// Renders and runs one statement; `field` names it in an error.
absl::Status RunStatement(pg::Connection& connection,
                          const Attempt& attempt,
                          const std::string& sql,
                          const std::string& field);

// The `apply` of each, in order; the `undo` of each, from the last to the first. `field` names them in errors.
absl::Status RunSteps(pg::Connection& connection,
                      const Attempt& attempt,
                      const Steps& steps,
                      const std::string& field);
absl::Status UndoSteps(pg::Connection& connection,
                       const Attempt& attempt,
                       const Steps& steps,
                       const std::string& field);

// The UPDATE that gives the plan's columns of a table their new values; "" when the plan changes none. Rows that have
// them already are left alone.
absl::StatusOr<std::string> UpdateColumnsSql(pg::Connection& connection,
                                             const Attempt& attempt,
                                             const v1::Table& table);

// The strings of a JSON array of strings.
std::vector<std::string> TextsOfJson(const std::string& json);

// PRE_VALIDATION of a plan with `transform`: privileges, keys, cascades, values without a new value, and whether every
// statement fits the definitions as they are. Statements are only parsed; `prepare` runs in a transaction that is
// rolled back, because later statements may need it.
absl::Status CheckTransform(Attempt& attempt, CheckList& checks);

// VERIFY of a plan with `transform`: the record is in force, and what must not change has not.
absl::Status VerifyTransform(Attempt& attempt, v1::VerifyResult& verify);
absl::Status VerifyTransformUndone(Attempt& attempt, v1::UndoResult& undo);

}  // namespace pgconvoy::worker
