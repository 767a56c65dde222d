// What the benchmarks of migrations share: servers of an installation put back between two runs, one migration run and
// timed. Nothing is deleted between runs: for minutes after many files have gone ext4 is several times as slow at
// making new ones, and a database has 300.
#pragma once

#include <string>

#include "tests/bench/cpu.h"
#include "tests/integration/installation.h"

namespace pgconvoy::bench {

// "host=… port=… user=postgres password=…", without a database.
std::string Superuser(testing::PgCluster& cluster);

// Gives every database and role whose name begins with `prefix` another name, and writes the server's buffers.
void SetAside(testing::PgCluster& cluster, const std::string& prefix);
// Moves the backups away, and writes the store's buffers.
void SetAsideBackups(testing::Installation& installation);

// The process that a CpuMeter watches for a whole server.
pid_t Postmaster(testing::PgCluster& cluster);

// Submits all projects and returns the seconds until the migration has ended; throws unless it has succeeded.
double RunMigration(testing::Installation& installation, CpuMeter& meter);

}  // namespace pgconvoy::bench
