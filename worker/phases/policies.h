// Row-level-security policies of one table: saved as the statements that make them, replaced, and put back.
//
// Errors: those of the statements; FENCED never (the caller holds the fence).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/pg/connection.h"
#include "worker/core/sql.h"

namespace pgconvoy::worker {

struct Policies {
  bool row_security = false;
  bool forced = false;
  // CREATE POLICY, with a COMMENT ON POLICY after it in the same string where there is one; by name.
  std::vector<std::string> statements;

  bool operator==(const Policies&) const = default;
};

// PGC-SRC-TABLE when there is no such table.
absl::StatusOr<Policies> ReadPolicies(pg::Connection& connection, const TableName& table);

// Drops every policy of the table and runs `statements`. For the owner of the table, in a transaction.
absl::Status ReplacePolicies(pg::Connection& connection,
                             const TableName& table,
                             const std::vector<std::string>& statements);

// ENABLE and FORCE as they were.
absl::Status SetRowSecurity(pg::Connection& connection, const TableName& table, const Policies& as);

}  // namespace pgconvoy::worker
