// What must be true when everything has ended. The oracles that watch while things happen stand where they happen:
// at the store (fences, history, secrets), at the servers (fences, cutover, foreign objects) and at the workers (what
// was acknowledged is durable).
//
// Thread safety: none.
#pragma once

#include "tests/sim/simulation.h"

namespace pgconvoy::sim {

// What a reconciler would sweep away, so it has to be looked at before.
void JudgeBeforeReconcile(Simulation& sim);
void JudgeEnd(Simulation& sim);

}  // namespace pgconvoy::sim
