// Reading the registry, and judging what it offers: how large a project is, whether it could be migrated now, and how
// risky that is. Reads only.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/inspect.h"

namespace pgconvoy::worker {

// The registry's statement: ref, estimated bytes, then the attribute columns.
std::string DiscoverSql(const v1::Plan& plan);
// One row of its result. PGC-PROJECT-REF when the ref is none.
absl::StatusOr<v1::ProjectSpec> DiscoveredProject(const v1::Plan& plan, const pg::Result& rows, int row);

// Judges candidates one after the other, and remembers what holds for a whole source database.
// Thread safety: one thread.
class CandidateJudge {
 public:
  explicit CandidateJudge(const Inspector& inspector) : inspector_(inspector) {}
  // Never fails: a project that cannot be looked at is blocked, with the reason.
  v1::Candidate Judge(const v1::ProjectSpec& project);

 private:
  // Reasons that hold for every project of a source database.
  struct Surroundings {
    std::vector<std::string> medium;
    std::vector<std::string> high;
  };
  absl::StatusOr<Surroundings> Look(Attempt& attempt);
  absl::Status Judge(Attempt& attempt, v1::Candidate& candidate);

  const Inspector& inspector_;
  std::map<std::string, Surroundings> seen_;
};

}  // namespace pgconvoy::worker
