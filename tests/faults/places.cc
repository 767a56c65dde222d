#include "tests/faults/places.h"

#include <filesystem>
#include <regex>
#include <set>
#include <stdexcept>

#include "tests/integration/installation.h"
#include "tests/support/process.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;

const char* const kForwardPhases[] = {"FENCE", "PRE_VALIDATION", "FREEZE",  "CREDENTIALS",     "PROVISION", "BACKUP",
                                      "COPY",  "VERIFY",         "CUTOVER", "POST_VALIDATION", "CLEANUP"};
const char* const kBackwardPhases[] = {"FENCE",  "CUTOVER", "PROVISION", "CREDENTIALS",
                                       "FREEZE", "BACKUP",  "VERIFY",    "CLEANUP"};
// Of plans that change databases or logins in place, of retention and of operators' backups.
const char* const kElsewhere[] = {"worker.transform.", "worker.access.", "worker.fallback.",     "worker.repair.",
                                  "worker.look.",      "backup.doomed",  "backup.before_doomed", "backup.export."};
const char* const kOfLargeTables[] = {"worker.copy.indexes_aside", "worker.verify.index_made",
                                      "worker.verify.constraints_added"};
const char* const kOnTheWayBack[] = {"worker.database.", "worker.credentials.shut", "worker.cutover.before_undone",
                                     "worker.freeze.before_undone"};
// Met in both directions.
const char* const kBothWays[] = {"worker.fence.", "worker.template.", "worker.reconcile.", "worker.link.", "pg."};

template <typename Prefixes>
bool BeginsWithAny(const std::string& name, const Prefixes& prefixes) {
  for (const char* const prefix : prefixes) {
    if (name.starts_with(prefix)) {
      return true;
    }
  }
  return false;
}

std::set<std::string> NamesInSources() {
  const std::regex use("PGC_(?:UNDER_)?FAILPOINT\\(\\s*\"([^\"]+)\"");
  std::set<std::string> names;
  for (const char* const folder : {"common", "coordinator", "worker"}) {
    for (const auto& entry : fs::recursive_directory_iterator(SourceFile(folder))) {
      const std::string text = entry.path().extension() == ".cc" ? ReadFile(entry.path()) : "";
      for (std::sregex_iterator it(text.begin(), text.end(), use), end; it != end; ++it) {
        names.insert((*it)[1]);
      }
    }
  }
  if (names.empty()) {
    throw std::runtime_error("no failpoints in the sources; PGCONVOY_SOURCE_DIR must name them");
  }
  return names;
}

void AddPhases(const std::string& prefix, const auto& phases, std::vector<std::string>& places) {
  for (const char* const phase : phases) {
    places.push_back(prefix + phase + ".started");
    places.push_back(prefix + phase + ".done");
  }
}

}  // namespace

Places ReadPlaces(bool large_tables) {
  Places places;
  for (const std::string& name : NamesInSources()) {
    if (name.starts_with("coordinator.") || name.starts_with("store.")) {
      places.coordinator.push_back(name);
    } else if (!BeginsWithAny(name, kElsewhere) && (large_tables || !BeginsWithAny(name, kOfLargeTables))) {
      const bool back = BeginsWithAny(name, kOnTheWayBack);
      if (back || BeginsWithAny(name, kBothWays)) {
        places.backward.push_back(name);
      }
      // Undoing what an older attempt left is part of the way forward, too.
      if (!back || name.starts_with("worker.database.")) {
        places.forward.push_back(name);
      }
    }
  }
  AddPhases("worker.phase.", kForwardPhases, places.forward);
  AddPhases("worker.rollback.", kBackwardPhases, places.backward);
  return places;
}

}  // namespace pgconvoy::testing
