// The words of pgconvoy as C++ types: phases, states and ids, with their names. Pure; the wire's counterparts are in
// proto/pgconvoy/v1/migration.proto and meet these in one converter file per side.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgconvoy {

// Same order and numbers as proto Phase, which is also the order of a forward attempt.
enum class Phase : uint8_t {
  kFence = 1,
  kPreValidation = 2,
  kFreeze = 3,
  kCredentials = 4,
  kProvision = 5,
  kBackup = 6,
  kCopy = 7,
  kTransform = 8,
  kVerify = 9,
  kCutover = 10,
  kPostValidation = 11,
  kCleanup = 12,
};
inline constexpr int kPhaseCount = 12;

enum class Direction : uint8_t { kForward = 1, kRollback = 2 };

// See proto ProjectState for when each is set.
enum class ProjectState : uint8_t {
  kPending = 1,
  kWaiting = 2,
  kRunning = 3,
  kSucceeded = 4,
  kSucceededWithWarnings = 5,
  kFailed = 6,
  kRolledBack = 7,
  kCancelled = 8,
  kSkipped = 9,
  kNeedsOperator = 10,
};
inline constexpr int kProjectStateCount = 10;

enum class MigrationState : uint8_t {
  kRunning = 1,
  kPaused = 2,
  kCancelling = 3,
  kRollingBack = 4,
  kSucceeded = 5,
  kSucceededWithWarnings = 6,
  kFailed = 7,
  kRolledBack = 8,
  kCancelled = 9,
};

enum class BatchState : uint8_t { kWaiting = 1, kLeased = 2, kDone = 3 };

// "PRE_VALIDATION", "SUCCEEDED_WITH_WARNINGS", "RUNNING", "FORWARD", …: the names of the proto, without prefix.
std::string_view Name(Phase phase);
std::string_view Name(Direction direction);
std::string_view Name(ProjectState state);
std::string_view Name(MigrationState state);
std::string_view Name(BatchState state);

// The inverse of Name; nothing for an unknown name.
std::optional<Phase> PhaseFromName(std::string_view name);
std::optional<Direction> DirectionFromName(std::string_view name);
std::optional<ProjectState> ProjectStateFromName(std::string_view name);
std::optional<MigrationState> MigrationStateFromName(std::string_view name);
std::optional<BatchState> BatchStateFromName(std::string_view name);

// An ended project is touched again only by `retry` or `rollback`.
bool IsEnded(ProjectState state);
bool IsEnded(MigrationState state);

// A 64-bit id that does not convert into another kind of id.
template <typename Tag>
struct Id {
  int64_t value = 0;
  auto operator<=>(const Id&) const = default;
};
using MigrationId = Id<struct MigrationTag>;
using BatchId = Id<struct BatchTag>;
// Row id of a project in one migration; the ref names it for people.
using ProjectId = Id<struct ProjectTag>;
// Grows with every grant, over all projects of a store; 0 means "never granted".
using Fence = Id<struct FenceTag>;

// Longest project ref; names derived from it must stay under PostgreSQL's 63 bytes.
inline constexpr size_t kMaxRefBytes = 40;
// True for [a-z0-9][a-z0-9_-]{0,39}.
bool IsValidRef(std::string_view ref);

}  // namespace pgconvoy
