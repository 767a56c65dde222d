// What must hold after every round, judged by plain SQL on the servers themselves.
//
// Errors: std::runtime_error when a server cannot be asked. Thread safety: one thread.
#pragma once

#include <map>
#include <string>

#include "tests/faults/tally.h"
#include "tests/faults/world.h"

namespace pgconvoy::testing {

// After everything has moved: compares the rows of every project with those in its database, each by its text, tenant
// included, and looks whether it is where it should be.
void CountRows(World& world, Tally& tally);

// After everything has moved back: looks whether the project is as if nothing had ever happened. `before`: what
// World::SourceState gave for each project before the first migration.
void CompareSource(World& world, const std::map<std::string, std::string>& before, Tally& tally);

// Names of what no record accounts for: databases, roles and attempts' logins on the target; prepared transactions;
// backups without manifest or without record in the store. Waits for a reconciler, and has one run if it must: one that
// was killed is not started again before the next migration ends.
void CountOrphans(World& world, Tally& tally);

}  // namespace pgconvoy::testing
