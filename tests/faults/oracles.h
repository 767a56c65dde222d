// What must hold after every round, judged by plain SQL on the servers themselves.
//
// Errors: std::runtime_error when a server cannot be asked. Thread safety: one thread.
#pragma once

#include <string>

#include "tests/faults/tally.h"
#include "tests/integration/fleet.h"

namespace pgconvoy::testing {

// Compares the rows of every project with those in its database, each by its text, tenant included.
void CountRows(Fleet& fleet, Tally& tally);

// Names of what no record accounts for: databases, roles and attempts' logins on the target; prepared transactions;
// backups without manifest or without record in the store. Waits for a reconciler, and has one run if it must: one that
// was killed is not started again before the next migration ends.
void CountOrphans(Fleet& fleet, Tally& tally);

}  // namespace pgconvoy::testing
