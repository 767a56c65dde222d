// What a tenant has written to its new database since VERIFY, and what a rollback does about it.
#pragma once

#include "absl/status/status.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// Stops the tenant, then looks whether it has written; to be called before anything else of the rollback. OK when it
// has not (it stays stopped) or when the database is gone already. When it has: sets database and role aside with
// --discard-writes, else lets the tenant go on where it is, OPERATOR PGC-ROLLBACK-WRITES. PGC-ROLLBACK-FOREIGN when the
// database is not marked as this migration's any more.
absl::Status StopUnlessWritten(Attempt& attempt, v1::UndoResult& undo);

}  // namespace pgconvoy::worker
