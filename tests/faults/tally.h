// What has happened in a run, by kind of fault, and what was found wrong.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace pgconvoy::testing {

// Counted when it has landed: a worker that held a project has died, the connection is gone, a worker that was stopped
// with a project in its hands has been woken after its lease was over, one that was cut off held a project and lives.
enum class Kind {
  kWorkerKilledAtFailpoint,
  kWorkerKilledAnywhere,
  kCoordinatorKilledAtFailpoint,
  kCoordinatorKilledAnywhere,
  kWorkerStoppedPastItsLease,
  kFailpointError,
  kFailpointDelay,
  kFailpointTimeout,
  kFailpointDuplicate,
  kStoreCrashed,
  kSourceCrashed,
  kTargetCrashed,
  // Of connections to the target.
  kTargetCommitReplyDropped,
  kTargetClosedAtCommit,
  kTargetClosedAtMessage,
  kTargetConnectionsCut,
  kTargetConnectionsDelayed,
  // Of connections to the source.
  kSourceCommitReplyDropped,
  kSourceClosedAtMessage,
  kSourceConnectionsCut,
  // Of connections between workers and coordinator. Stalled: nothing passes for longer than the lease.
  kCoordinatorConnectionsCut,
  kCoordinatorConnectionsStalled,
};
std::string_view Name(Kind kind);
inline constexpr int kKinds = static_cast<int>(Kind::kCoordinatorConnectionsStalled) + 1;

struct Damage {
  int64_t rows_lost = 0;
  int64_t rows_doubled = 0;
  int64_t rows_mixed = 0;
  int64_t orphans = 0;
};

struct Tally {
  std::map<Kind, int64_t> landed;
  // Failpoints at which a process was killed, with how often.
  std::map<std::string, int64_t> killed_at;
  Damage damage;
  int64_t rounds = 0;
  int64_t projects = 0;
  // Projects that needed a person's retry, because more workers died under them than the coordinator accepts.
  int64_t retried = 0;
  // Sentences about what must not be.
  std::vector<std::string> wrong;

  int64_t LandedKills() const;
  std::vector<Kind> NeverLanded() const;
  bool Failed() const { return !wrong.empty() || !NeverLanded().empty(); }
  // {"landed_kills":…,"rows_lost":…,…}
  std::string Summary() const;
  // All else, as one line of JSON.
  std::string Details(uint64_t seed) const;
};

}  // namespace pgconvoy::testing
