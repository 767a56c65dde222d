// Columns whose value the plan changes: what the new value is as SQL, and which old values the plan forgot.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/pg/connection.h"
#include "common/plan/template.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::worker {

// The new value as an expression over the table's row. `type`: what `values` are cast to; empty leaves them text, which
// is what COPY sends anyway.
absl::StatusOr<std::string> NewValueSql(const v1::Column& column,
                                        const plan::Values& values,
                                        const std::string& type);

// "; did you mean …?" when `status` says that a column does not exist and one of these tables, quoted, has a column of
// nearly that name; else "". Not in a transaction that has failed.
absl::StatusOr<std::string> ColumnHint(pg::Connection& connection,
                                       const absl::Status& status,
                                       const std::vector<std::string>& tables);

// Null when the plan does not change the column.
const v1::Column* FindColumn(const v1::Table& table, const std::string& name);

// PGC-VALUE-UNMAPPED, naming up to kMaxNamedValues values, when a row of the project holds a value that `values` has no
// key for although on_unmapped is not KEEP. `condition`: " WHERE (…)" or empty. PERMANENT.
absl::Status CheckMapped(pg::Connection& connection, const v1::Table& table, const std::string& condition);
inline constexpr int kMaxNamedValues = 5;

// " WHERE (…)" of the table's condition for this project, or "".
absl::StatusOr<std::string> ConditionSql(const v1::Table& table, const plan::Values& values);

}  // namespace pgconvoy::worker
