// Which backups may go. A backup stays while anybody could need it: while its project is in an unfinished migration or
// waits for a person, while it is younger than its retention, and while it is the last one of a project that stays
// migrated.
//
// Thread safety: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/model/model.h"
#include "coordinator/core/core.h"

namespace pgconvoy::core {

struct PruneCandidate {
  MigrationId migration;
  ProjectId project;
  std::string ref;
  Fence fence;
  // When it was sealed.
  WallMs sealed_at = 0;
  // Of its migration's plan.
  int retention_days = 0;
  // It was decided before that it goes; its files may still be there.
  bool pruned = false;
  bool removed = false;
};

struct PruneRequest {
  // Unset: every migration.
  std::optional<MigrationId> migration;
  // "": every project.
  std::string ref;
  // Unset: what each plan says.
  std::optional<int> older_than_days;
  bool force = false;
  WallMs now = 0;
};

// Refs by what they are to their migrations.
struct PruneRefs {
  // Pending, waiting, running, or in need of an operator, in any migration.
  std::set<std::string> open = {};
  std::set<std::string> failed = {};
  // A migration of it that moved or changed rows has succeeded.
  std::set<std::string> migrated = {};
};

struct PruneDecision {
  // Indices of candidates that go now.
  std::vector<size_t> prune;
  // Pruned before, and not known to be removed.
  std::vector<size_t> unfinished;
  struct Kept {
    size_t candidate = 0;
    std::string reason;
  };
  // Old enough and kept all the same.
  std::vector<Kept> kept;
};

// `candidates` are all backups of the refs in question, by ref and fence, whatever the request's migration.
PruneDecision DecidePrune(const std::vector<PruneCandidate>& candidates,
                          const PruneRefs& refs,
                          const PruneRequest& request);

}  // namespace pgconvoy::core
