// Every phase as a function of the attempt. Each is safe to repeat: it first looks at what an earlier attempt left,
// and what it does outside a transaction carries the attempt's fence in its name.
//
// Errors: verdicts as in common/base/error.h. A phase never retries by itself; the coordinator grants a new attempt.
#pragma once

#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// Runs one phase in the attempt's direction. The result has its body set; phase, direction, fence and times are the
// caller's to fill.
absl::StatusOr<v1::PhaseResult> RunPhase(Attempt& attempt, Phase phase);

// ---- forward -------------------------------------------------------------------------------------------------
absl::StatusOr<v1::PhaseResult> RunFence(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunPreValidation(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunFreeze(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunCredentials(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunProvision(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunBackup(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunCopy(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunTransform(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunVerify(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunCutover(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunPostValidation(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> RunCleanup(Attempt& attempt);

// What PRE_VALIDATION and POST_VALIDATION find, failed checks included. They write nothing.
absl::StatusOr<v1::ChecksResult> PreChecks(Attempt& attempt);
absl::StatusOr<v1::ChecksResult> PostChecks(Attempt& attempt);
// The plan's INTEGRITY checks and links: in the target of a project that was migrated, else in the source.
absl::StatusOr<v1::ChecksResult> IntegrityChecks(Attempt& attempt);

// ---- of a migration that changes the credentials of an older one -----------------------------------------------
// Shows that the role is that migration's and, for a new password, that the registry row is as its cutover left it.
// PGC-CREDENTIALS-ROLE, PGC-CREDENTIALS-REGISTRY, PGC-CREDENTIALS-SUPERSEDED, PGC-CREDENTIALS-UNKNOWN.
absl::StatusOr<v1::PhaseResult> CheckChange(Attempt& attempt);
// A new password for the role, sealed and durable first, then tested; or no login, no password and no session any more.
absl::StatusOr<v1::PhaseResult> ChangeCredentials(Attempt& attempt);
// Puts the new verifier wherever the cutover put the former one.
absl::StatusOr<v1::PhaseResult> PublishCredentials(Attempt& attempt);
// A rollback: what was in force before, unless a later change stands.
absl::StatusOr<v1::PhaseResult> UnpublishCredentials(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> UndoChange(Attempt& attempt);
absl::StatusOr<v1::PhaseResult> VerifyChangeUndone(Attempt& attempt);
// Nothing is left to remove.
absl::StatusOr<v1::PhaseResult> CleanupChange(Attempt& attempt);

// ---- rollback ------------------------------------------------------------------------------------------------
// Puts the old registry values back, if this project was cut over; OPERATOR PGC-ROLLBACK-WRITES when the tenant has
// written to the target since and --discard-writes was not said.
absl::StatusOr<v1::PhaseResult> UndoCutover(Attempt& attempt);
// Puts rows, policies and definitions back as they were; OPERATOR PGC-ROLLBACK-WRITES when rows that TRANSFORM changed
// were written since and --discard-writes was not said, PGC-ROLLBACK-POLICIES, PGC-ROLLBACK-DIFFERS.
absl::StatusOr<v1::PhaseResult> UndoTransform(Attempt& attempt);
// Drops the project's database under every name that attempts gave it.
absl::StatusOr<v1::PhaseResult> UndoProvision(Attempt& attempt);
// Shuts and drops the project's role.
absl::StatusOr<v1::PhaseResult> UndoCredentials(Attempt& attempt);
// Thaws.
absl::StatusOr<v1::PhaseResult> UndoFreeze(Attempt& attempt);
// Deletes unsealed backups; sealed ones are kept.
absl::StatusOr<v1::PhaseResult> UndoBackup(Attempt& attempt);
// Shows that role and database are gone and that no cutover is in force.
absl::StatusOr<v1::PhaseResult> VerifyRollback(Attempt& attempt);
// Drops the login of this attempt.
absl::StatusOr<v1::PhaseResult> CleanupRollback(Attempt& attempt);

}  // namespace pgconvoy::worker
