// A look into the database of a project that was migrated, long after its attempts' logins are gone: the login of the
// project's last attempt, which is over, is made once more for the time of the look. So it is fenced like any other:
// a newer attempt (a rollback, say) shuts it out, and what a killed worker leaves of it is removed by the reconciler.
//
// Nothing in the database is changed. Tables with FORCE ROW LEVEL SECURITY show their rows only while that is lifted,
// which happens in a transaction that is rolled back and that keeps others from such a table until then.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"
#include "worker/phases/schema.h"

namespace pgconvoy::worker {

// Runs `body` with attempt.Target() usable, and removes the login again. Once more when the session was ended under
// it, as the reconciler does. One look at a project at a time: another one waits. FENCED when a newer attempt exists.
absl::Status LookIntoTarget(Attempt& attempt, const std::function<absl::Status()>& body);

}  // namespace pgconvoy::worker
