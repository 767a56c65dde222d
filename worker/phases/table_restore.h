// Puts the rows of tables back to what a backup holds, in place: rows that are not in it go, rows that are missing
// come, rows that differ are set. For a transaction of the transformer in which the tables are locked against writers
// and open (change_log.h).
//
// Errors: PGC-BACKUP-… of the backup's files; PGC-RESTORE-TABLE when the backup lacks a table of the plan or a column
// is gone; PGC-RESTORE-DIFFERS when a table does not hold what the backup holds afterwards. PERMANENT all of them.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "worker/backup/backup.h"
#include "worker/phases/change_log.h"

namespace pgconvoy::worker {

absl::Status RestoreRows(pg::Connection& connection,
                         Attempt& attempt,
                         const std::vector<InPlaceTable>& tables,
                         const backup::BackupReader& reader);

}  // namespace pgconvoy::worker
