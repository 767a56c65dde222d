// What the phases do to a simulated project, in the order in which worker/phases does it to real servers. The order is
// a model; what is made of that which is found (worker/core/takeover.h) is production code.
//
// Thread safety: none.
#pragma once

#include "common/model/model.h"
#include "tests/sim/attempt.h"
#include "tests/sim/task.h"

namespace pgconvoy::sim {

Task RunPhase(Attempt& attempt, Phase phase);
// The same on the way back.
Task UndoPhase(Attempt& attempt, Phase phase);

// ---- shared by both directions -----------------------------------------------------------------------------------

Task RunFence(Attempt& attempt);
// The login with which the attempt gets into the project's database.
Task EnsureLogin(Attempt& attempt);
// Renames a database so that nobody else uses it, and drops it. `n` tells several apart.
Task DoomAndDrop(Attempt& attempt, Database::Name name, int64_t fence, int n);
// Whether exactly what that backup holds is in the database.
bool IsLoadOf(const Project& project, const Database& database, int64_t backup);
Task Thaw(Attempt& attempt);
Task DropLogin(Attempt& attempt);

}  // namespace pgconvoy::sim
