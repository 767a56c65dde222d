// What PRE_VALIDATION asks of the provisioner, and of the database that a login without a target is for. Nothing is
// written.
#pragma once

#include "absl/status/status.h"
#include "worker/phases/attempt.h"
#include "worker/phases/checks.h"

namespace pgconvoy::worker {

// Its attributes, and that the project's role is free or ours.
absl::Status CheckProvisioner(Attempt& attempt, CheckList& checks);

// Only without a target: the schemas exist, and the provisioner acts for every owner of what the login is given.
absl::Status CheckAccess(Attempt& attempt, CheckList& checks);

}  // namespace pgconvoy::worker
