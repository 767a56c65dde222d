// The benchmarks. Each starts its own servers, prints its settings, figures and verdicts through the report, and
// leaves nothing behind. Errors: std::runtime_error, also when a contestant's result is wrong.
#pragma once

#include "tests/bench/report.h"

namespace pgconvoy::bench {

void RunCoordinator(Report& report);
void RunScale(Report& report);

}  // namespace pgconvoy::bench
