// Plans what befalls a schedule from outside: faults, the tenants' own work, operators and reconcilers.
//
// Thread safety: none.
#pragma once

#include "tests/sim/simulation.h"

namespace pgconvoy::sim {

void PlanChaos(Simulation& sim);
// Removes what no live attempt owns, as a reconcile task does, from what was known of the store when it was made.
void Reconcile(Simulation& sim);

}  // namespace pgconvoy::sim
