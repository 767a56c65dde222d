#include "coordinator/core/prune.h"

#include <map>

namespace pgconvoy::core {
namespace {

constexpr WallMs kDayMs = 86'400'000;

bool Asked(const PruneCandidate& candidate, const PruneRequest& request) {
  return (!request.migration.has_value() || candidate.migration == *request.migration) &&
         (request.ref.empty() || candidate.ref == request.ref);
}

bool OldEnough(const PruneCandidate& candidate, const PruneRequest& request) {
  const int days = request.older_than_days.value_or(candidate.retention_days);
  return candidate.sealed_at + days * kDayMs <= request.now;
}

// "" when it may go. `left` is how many backups of the project there are.
std::string WhyKept(const PruneCandidate& candidate, const PruneRefs& refs, const PruneRequest& request, int left) {
  if (refs.open.contains(candidate.ref)) {
    return "its project is in an unfinished migration or needs an operator";
  }
  if (!request.force && refs.failed.contains(candidate.ref)) {
    return "its project has failed and may be retried";
  }
  if (!request.force && left == 1 && refs.migrated.contains(candidate.ref)) {
    return "it is the only backup of a project that stays migrated";
  }
  return "";
}

}  // namespace

PruneDecision DecidePrune(const std::vector<PruneCandidate>& candidates,
                          const PruneRefs& refs,
                          const PruneRequest& request) {
  std::map<std::string_view, int> left;
  for (const PruneCandidate& candidate : candidates) {
    left[candidate.ref] += candidate.pruned ? 0 : 1;
  }
  PruneDecision decision;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const PruneCandidate& candidate = candidates[i];
    if (!Asked(candidate, request)) {
      continue;
    }
    if (candidate.pruned) {
      if (!candidate.removed) {
        decision.unfinished.push_back(i);
      }
    } else if (OldEnough(candidate, request)) {
      std::string reason = WhyKept(candidate, refs, request, left[candidate.ref]);
      if (reason.empty()) {
        --left[candidate.ref];
        decision.prune.push_back(i);
      } else {
        decision.kept.push_back({i, std::move(reason)});
      }
    }
  }
  return decision;
}

}  // namespace pgconvoy::core
