// The strictest comparison of VERIFY: every row of the backup against every row of the target, by the target's server.
//
// A table of the backup is loaded into a temporary one of the same columns, chunk by chunk, and both are compared as
// multisets of text, so that types without an equality count as well. The worker holds one chunk at a time; the server
// sorts on disk and needs room for the largest table once more.
#pragma once

#include "absl/status/status.h"
#include "worker/backup/backup.h"
#include "worker/phases/schema.h"

namespace pgconvoy::worker {

// Call in a transaction that is rolled back, as the tables' owner and with no row-level security in force.
// PGC-VERIFY-MISMATCH names the table and how many of the backup's rows it does not have; never the rows.
absl::Status CompareEveryRow(Attempt& attempt, pg::Connection& target, const backup::BackupReader& backup);

}  // namespace pgconvoy::worker
