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

// The public key of plan.backup.encrypt_to, resolved; "" where backups are not encrypted.
absl::StatusOr<std::string> BackupRecipient(const v1::Plan& plan);

// Opens an encrypted backup with plan.backup.key; does nothing for another. OPERATOR PGC-BACKUP-KEY when that is not to
// be had, or is not the one that the backup is sealed to.
absl::Status UnlockBackup(const v1::Plan& plan, backup::BackupReader& reader);

// The backup that the store holds the digest of; checks the manifest against it. OPERATOR PGC-BACKUP-PRUNED when it was
// pruned. An encrypted one is opened with the key that this attempt made it with, else with that of the plan. When
// neither is to be had, a forward attempt gets TRANSIENT PGC-BACKUP-LOCKED, upon which the coordinator has the next one
// take another backup; a rollback and a plan that works in place get OPERATOR PGC-BACKUP-KEY.
absl::StatusOr<std::unique_ptr<backup::BackupReader>> OpenBackup(const Attempt& attempt);

// The backup that execution.restore names. PGC-RESTORE-SCOPE unless it holds definitions and rows. Errors as those of
// UnlockBackup.
absl::StatusOr<std::unique_ptr<backup::BackupReader>> OpenRestored(const Attempt& attempt);

}  // namespace pgconvoy::worker
