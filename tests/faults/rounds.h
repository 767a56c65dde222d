// Rounds of one plan: everything moves under faults, is compared, moves back under faults, and is compared again.
//
// Errors: std::runtime_error when a process or server cannot be started or asked, and when a migration does not end.
// Thread safety: one thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "pgconvoy/v1/migration.pb.h"
#include "tests/faults/chaos.h"
#include "tests/faults/tally.h"
#include "tests/faults/world.h"

namespace pgconvoy::testing {

class Rounds {
 public:
  // `tally` must outlive it.
  Rounds(std::unique_ptr<World> world, Tally& tally, uint64_t seed);

  void PlayOne();

 private:
  void UnderFaults(Chaos::Direction direction, const std::string& migration, v1::MigrationState wanted);
  int64_t Unended();
  void ExpectEnded(const std::string& migration, v1::MigrationState wanted);
  std::string Reasons(const std::string& migration);
  bool RetryWhatLostItsWorkers(const std::string& migration);

  std::unique_ptr<World> world_;
  Installation& fleet_;
  Tally& tally_;
  Chaos::Links links_;
  Chaos chaos_;
  // By ref: what the source had before anything was moved.
  std::map<std::string, std::string> before_;
};

}  // namespace pgconvoy::testing
