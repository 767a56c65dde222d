// What an attempt makes of what it finds: roles, databases, results, backups and logins that earlier attempts left.
//
// Thread safety: all functions are pure.
#pragma once

#include <cstdint>

#include "common/model/model.h"

namespace pgconvoy::worker {

// ---- FENCE -----------------------------------------------------------------------------------------------------

// Whether a login or session of this project belongs to an attempt that a newer one shuts out.
bool IsOlderAttempt(int64_t its_fence, int64_t own_fence);

// ---- CREDENTIALS -----------------------------------------------------------------------------------------------

enum class RoleAction : uint8_t { kCreate, kAlter, kForeign };
RoleAction DecideRole(bool exists, bool own);

// ---- PROVISION -------------------------------------------------------------------------------------------------

struct FoundDatabase {
  // It has the project's name, not a temporary or doomed one.
  bool final = false;
  bool own = false;
  // An interrupted DROP DATABASE left it.
  bool invalid = false;
  // It takes no connections: an attempt died while it was about to drop it.
  bool shut = false;
};
// Whether it is worth looking into: only then can it be complete.
bool MayBeComplete(const FoundDatabase& database);
enum class DatabaseAction : uint8_t { kKeep, kDrop, kForeign };
DatabaseAction DecideDatabase(const FoundDatabase& database, bool complete);

// ---- results of earlier attempts ---------------------------------------------------------------------------------

// A result as far as these rules are concerned.
struct ResultKey {
  Phase phase = Phase::kFence;
  Direction direction = Direction::kForward;
  int64_t fence = 0;
};
// A rollback that came to its end has undone what was forward until then.
bool EndsRollback(const ResultKey& result);
// Whether it is a forward result of `phase` that no rollback has undone; `last_undone` is the fence of the last one.
bool Counts(const ResultKey& result, Phase phase, int64_t last_undone);

// Ours of `phase` in any list of results; null when there is none. `key_of` tells a result's key.
template <typename Results, typename KeyOf>
auto LatestResult(const Results& results, Phase phase, const KeyOf& key_of) -> decltype(&*results.begin()) {
  int64_t last_undone = 0;
  for (const auto& result : results) {
    const ResultKey key = key_of(result);
    last_undone = EndsRollback(key) && key.fence > last_undone ? key.fence : last_undone;
  }
  decltype(&*results.begin()) found = nullptr;
  for (const auto& result : results) {
    const ResultKey key = key_of(result);
    if (Counts(key, phase, last_undone) && (found == nullptr || key.fence >= key_of(*found).fence)) {
      found = &result;
    }
  }
  return found;
}

// ---- rollback --------------------------------------------------------------------------------------------------

enum class WritesAction : uint8_t { kGoOn, kSetAside, kGiveBack };
// What becomes of a target that is to be undone. `known`: it could be compared with its verification.
WritesAction DecideWrites(bool known, bool written, bool discard_writes);

// Whether what an attempt meant to back up goes with the rollback. `sealed_fence`: of the backup in force; 0: none.
bool RemovesBackup(int64_t intent_fence, int64_t sealed_fence);

// ---- reconcile -------------------------------------------------------------------------------------------------

// Whether a login or database that carries a fence may belong to an attempt that is under way, or to one that began
// after the live projects were listed.
bool IsOwned(int64_t its_fence, int64_t newest_fence, int64_t next_fence, bool live);

}  // namespace pgconvoy::worker
