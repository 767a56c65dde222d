// The names of all failpoints, read from the sources, so that a new one is hit without being listed anywhere.
//
// Errors: std::runtime_error when the sources cannot be read. Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

namespace pgconvoy::testing {

struct Places {
  // A worker can come there on its way forward, or on its way back, in a migration of isolate-projects.
  std::vector<std::string> forward;
  std::vector<std::string> backward;
  std::vector<std::string> coordinator;
  // How many names there are in all, also those of other plans' phases.
  size_t named = 0;
};
Places ReadPlaces();

}  // namespace pgconvoy::testing
