// The login that the project used until now: kept out after the cutover where the plan says so, let in again by a
// rollback, and looked for. Only for plans whose credentials name a fallback.
//
// What was changed about who may connect is written down in pgconvoy.access, in the transaction that changes it.
//
// Errors: PERMANENT PGC-CRED-FALLBACK-CONNECT, OPERATOR PGC-ROLLBACK-FALLBACK.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"
#include "worker/phases/checks.h"

namespace pgconvoy::worker {

// Takes CONNECT on the project's database from the fallback login, and from PUBLIC when that is how it gets in, and
// ends its sessions there. The plan's own logins keep their way in. PGC-CRED-FALLBACK-CONNECT when it could connect
// still.
absl::Status ShutOutFallback(Attempt& attempt);

// Puts CONNECT back as it was. Does nothing when it was not taken.
absl::Status LetFallbackIn(Attempt& attempt, v1::UndoResult& undo);

// PRE_VALIDATION: the fallback login works, and could be kept out.
absl::Status CheckFallbackWorks(Attempt& attempt, CheckList& checks);
// POST_VALIDATION: nobody is logged in with it, and nobody can be where the plan keeps it out.
absl::Status CheckFallbackUnused(Attempt& attempt, CheckList& checks);

// A login that worked before the migration must work after its rollback: else PGC-ROLLBACK-FALLBACK.
absl::Status VerifyFallbackWorks(Attempt& attempt, v1::UndoResult& undo);

}  // namespace pgconvoy::worker
