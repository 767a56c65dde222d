// Where an attempt's backups are.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/backup/backup.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// plan.backup.directory, resolved.
absl::StatusOr<std::string> BackupRoot(const v1::Plan& plan);

// The backup that the store holds the digest of; checks the manifest against it. OPERATOR PGC-BACKUP-PRUNED when it was
// pruned.
absl::StatusOr<std::unique_ptr<backup::BackupReader>> OpenBackup(const Attempt& attempt);

// The backup that execution.restore names. PGC-RESTORE-SCOPE unless it holds definitions and rows.
absl::StatusOr<std::unique_ptr<backup::BackupReader>> OpenRestored(const Attempt& attempt);

}  // namespace pgconvoy::worker
