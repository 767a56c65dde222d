#include "tests/faults/tally.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace pgconvoy::testing {

std::string_view Name(Kind kind) {
  switch (kind) {
    case Kind::kWorkerKilledAtFailpoint: return "worker_killed_at_failpoint";
    case Kind::kWorkerKilledAnywhere: return "worker_killed_anywhere";
    case Kind::kCoordinatorKilledAtFailpoint: return "coordinator_killed_at_failpoint";
    case Kind::kCoordinatorKilledAnywhere: return "coordinator_killed_anywhere";
    case Kind::kWorkerStoppedPastItsLease: return "worker_stopped_past_its_lease";
    case Kind::kFailpointError: return "failpoint_error";
    case Kind::kFailpointDelay: return "failpoint_delay";
    case Kind::kFailpointTimeout: return "failpoint_timeout";
    case Kind::kFailpointDuplicate: return "failpoint_duplicate";
    case Kind::kStoreCrashed: return "store_crashed";
    case Kind::kSourceCrashed: return "source_crashed";
    case Kind::kTargetCrashed: return "target_crashed";
    case Kind::kTargetCommitReplyDropped: return "target_commit_reply_dropped";
    case Kind::kTargetClosedAtCommit: return "target_closed_at_commit";
    case Kind::kTargetClosedAtMessage: return "target_closed_at_message";
    case Kind::kTargetConnectionsCut: return "target_connections_cut";
    case Kind::kTargetConnectionsDelayed: return "target_connections_delayed";
    case Kind::kSourceCommitReplyDropped: return "source_commit_reply_dropped";
    case Kind::kSourceClosedAtMessage: return "source_closed_at_message";
    case Kind::kSourceConnectionsCut: return "source_connections_cut";
    case Kind::kCoordinatorConnectionsCut: return "coordinator_connections_cut";
    case Kind::kCoordinatorConnectionsStalled: return "coordinator_connections_stalled";
  }
  return "";
}

int64_t Tally::LandedKills() const {
  int64_t kills = 0;
  for (const Kind kind : {Kind::kWorkerKilledAtFailpoint, Kind::kWorkerKilledAnywhere,
                          Kind::kCoordinatorKilledAtFailpoint, Kind::kCoordinatorKilledAnywhere}) {
    const auto it = landed.find(kind);
    kills += it == landed.end() ? 0 : it->second;
  }
  return kills;
}

std::vector<Kind> Tally::NeverLanded() const {
  std::vector<Kind> never;
  for (int i = 0; i < kKinds; ++i) {
    if (!landed.contains(static_cast<Kind>(i))) {
      never.push_back(static_cast<Kind>(i));
    }
  }
  return never;
}

std::string Tally::Summary() const {
  nlohmann::ordered_json out;
  out["landed_kills"] = LandedKills();
  out["rows_lost"] = damage.rows_lost;
  out["rows_doubled"] = damage.rows_doubled;
  out["rows_mixed"] = damage.rows_mixed;
  out["orphans"] = damage.orphans;
  return out.dump();
}

std::string Tally::Details(uint64_t seed) const {
  nlohmann::ordered_json out;
  out["seed"] = seed;
  out["rounds"] = rounds;
  out["projects"] = projects;
  out["retried_by_operator"] = retried;
  for (int i = 0; i < kKinds; ++i) {
    const auto it = landed.find(static_cast<Kind>(i));
    out["landed"][std::string(Name(static_cast<Kind>(i)))] = it == landed.end() ? 0 : it->second;
  }
  out["killed_at"] = killed_at;
  out["wrong"] = wrong;
  return out.dump();
}

}  // namespace pgconvoy::testing
