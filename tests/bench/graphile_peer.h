// Graphile Worker, the fastest job queue on PostgreSQL whose figures are public, on a server of its own with the
// store's settings. It comes from the npm registry, pinned with digests by tests/bench/graphile/package-lock.json.
//
// What it does for a job is less than what we do for a project: it locks a row and deletes it, and keeps no history.
// Errors: everything throws std::runtime_error. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/pg_cluster.h"

namespace pgconvoy::bench {

class GraphilePeer {
 public:
  // Null, with the reason on stderr, where npm, node or the network are missing.
  static std::unique_ptr<GraphilePeer> Create();

  // Seconds from the start of its workers until the last of so many jobs is done and gone. Batched: its local queue of
  // 500 and completions in batches.
  double Drain(int64_t jobs, bool batched);

 private:
  explicit GraphilePeer(std::string modules);
  std::string Run(const std::string& arguments);

  testing::PgCluster server_;
  std::string modules_;
};

}  // namespace pgconvoy::bench
