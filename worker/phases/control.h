// Where servers remember fences: the control database of a target server and the schema `pgconvoy` of the registry's
// database. Whatever the shared logins change happens in a transaction that holds the project's fence row.
//
// Errors: FENCED PGC-FENCE-STALE when the row carries a higher fence than this attempt's; TRANSIENT PGC-FENCE-FORGOTTEN
// when it carries a lower one, or is gone, although this attempt has raised it: the server has fallen back to an older
// state of itself, and the next attempt begins with what is there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/sessions.h"

namespace pgconvoy::worker {

class Attempt;

// The name of the server's control database.
std::string ControlDatabase(const v1::Server& server);

// A provisioner session in the server's control database; makes the database and its tables when they do not exist.
absl::StatusOr<PooledSession> AcquireControl(SessionPool& pool,
                                             const v1::Server& server,
                                             const std::string& application_name);

// Whether a table of ours ("schema.table") exists. OPERATOR PGC-CONTROL-FOREIGN when the schema or anything in it
// belongs to another than this session's login or a superuser: triggers and views of others would run with our rights.
absl::StatusOr<bool> HasOwnTable(pg::Connection& connection, const std::string& table);

// Makes schema `pgconvoy` with the tables fence and access in the control database when it does not exist.
absl::Status EnsureControlTables(pg::Connection& connection);

// Makes schema `pgconvoy` with the tables fence, freeze and cutover in the registry's database when they do not exist.
// PGC-REGISTRY-SCHEMA with the GRANT to run when the registrar may not.
absl::Status EnsureRegistryTables(pg::Connection& connection);

// What every fence row is asked with: store, project, fence.
std::vector<pg::Param> FenceParams(const Attempt& attempt);
// FENCED PGC-FENCE-STALE.
absl::Status StaleFence(const Attempt& attempt);
// Why the row of `table` ("schema.fence") does not carry this attempt's fence: PGC-FENCE-STALE or PGC-FENCE-FORGOTTEN.
absl::Status FenceNotHeld(pg::Connection& connection, const Attempt& attempt, const std::string& table);

// Raises the project's fence row to this attempt's fence; the transaction of `connection` holds the row afterwards.
absl::Status RaiseFence(pg::Connection& connection, const Attempt& attempt);

// Runs `body` in a transaction that holds the project's fence row, and commits. Deadlocks and "tuple concurrently
// updated" come back as TRANSIENT for the caller's attempt to be repeated.
absl::Status InFencedTransaction(pg::Connection& connection,
                                 const Attempt& attempt,
                                 const std::function<absl::Status(pg::Connection&)>& body);

}  // namespace pgconvoy::worker
