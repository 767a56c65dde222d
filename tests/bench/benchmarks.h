// The benchmarks. Each starts its own servers, prints its settings, figures and verdicts through the report, and
// leaves nothing behind. Errors: std::runtime_error, also when a contestant's result is wrong.
#pragma once

#include "tests/bench/report.h"

namespace pgconvoy::bench {

// Many small projects out of shared tables.
void RunFleet(Report& report);
// Whole databases to another server.
void RunRelocate(Report& report);
// One large database, in one table and in twelve.
void RunLarge(Report& report);
// What it costs to compare every row after a copy.
void RunVerify(Report& report);
// Durable grants and completions beside a job queue, with simulated workers.
void RunCoordinator(Report& report);
// A million projects.
void RunScale(Report& report);

}  // namespace pgconvoy::bench
