// The names of all failpoints, read from the sources, so that a new one is hit without being listed anywhere.
//
// Errors: std::runtime_error when the sources cannot be read. Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

namespace pgconvoy::testing {

struct Places {
  // A worker can come there on its way forward, or on its way back.
  std::vector<std::string> forward;
  std::vector<std::string> backward;
  std::vector<std::string> coordinator;
};
// Of plans that move projects to databases of their own. `large_tables`: some are so large that their indexes are made
// late.
Places ReadPlaces(bool large_tables);

}  // namespace pgconvoy::testing
