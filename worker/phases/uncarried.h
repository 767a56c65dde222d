// What a database may hold that does not arrive when it moves as a whole: what only a superuser can make, what belongs
// to the server and not to the database, and what would have no meaning elsewhere.
//
// Everything that pg_dump carries either arrives, and VERIFY compares it, or is refused here by name before anything is
// made. Only what takes nothing away from the project's own login is a warning: grants to other logins, for example,
// which may not connect to the new database at all.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// PGC-SRC-UNSUPPORTED names everything that stands in the way. What does not arrive and does not stand in the way goes
// to attempt.warnings. For plans that move whole databases.
absl::Status RefuseUncarried(Attempt& attempt);

// For a run that only backs up: what stands in no migration's way yet is no reason to go without a backup, but a backup
// that lacks something must say so. Looks at the source alone.
absl::Status WarnOfUncarried(Attempt& attempt);

}  // namespace pgconvoy::worker
