#include "common/model/model.h"

#include <algorithm>
#include <array>
#include <utility>

namespace pgconvoy {
namespace {

template <typename Enum, size_t N>
using NameTable = std::array<std::pair<Enum, std::string_view>, N>;

constexpr NameTable<Phase, 12> kPhaseNames = {{
    {Phase::kFence, "FENCE"},
    {Phase::kPreValidation, "PRE_VALIDATION"},
    {Phase::kFreeze, "FREEZE"},
    {Phase::kCredentials, "CREDENTIALS"},
    {Phase::kProvision, "PROVISION"},
    {Phase::kBackup, "BACKUP"},
    {Phase::kCopy, "COPY"},
    {Phase::kTransform, "TRANSFORM"},
    {Phase::kVerify, "VERIFY"},
    {Phase::kCutover, "CUTOVER"},
    {Phase::kPostValidation, "POST_VALIDATION"},
    {Phase::kCleanup, "CLEANUP"},
}};

constexpr NameTable<Direction, 2> kDirectionNames = {{
    {Direction::kForward, "FORWARD"},
    {Direction::kRollback, "ROLLBACK"},
}};

constexpr NameTable<ProjectState, 10> kProjectStateNames = {{
    {ProjectState::kPending, "PENDING"},
    {ProjectState::kWaiting, "WAITING"},
    {ProjectState::kRunning, "RUNNING"},
    {ProjectState::kSucceeded, "SUCCEEDED"},
    {ProjectState::kSucceededWithWarnings, "SUCCEEDED_WITH_WARNINGS"},
    {ProjectState::kFailed, "FAILED"},
    {ProjectState::kRolledBack, "ROLLED_BACK"},
    {ProjectState::kCancelled, "CANCELLED"},
    {ProjectState::kSkipped, "SKIPPED"},
    {ProjectState::kNeedsOperator, "NEEDS_OPERATOR"},
}};

constexpr NameTable<MigrationState, 9> kMigrationStateNames = {{
    {MigrationState::kRunning, "RUNNING"},
    {MigrationState::kPaused, "PAUSED"},
    {MigrationState::kCancelling, "CANCELLING"},
    {MigrationState::kRollingBack, "ROLLING_BACK"},
    {MigrationState::kSucceeded, "SUCCEEDED"},
    {MigrationState::kSucceededWithWarnings, "SUCCEEDED_WITH_WARNINGS"},
    {MigrationState::kFailed, "FAILED"},
    {MigrationState::kRolledBack, "ROLLED_BACK"},
    {MigrationState::kCancelled, "CANCELLED"},
}};

constexpr NameTable<BatchState, 3> kBatchStateNames = {{
    {BatchState::kWaiting, "WAITING"},
    {BatchState::kLeased, "LEASED"},
    {BatchState::kDone, "DONE"},
}};

template <typename Enum, size_t N>
std::string_view NameIn(const NameTable<Enum, N>& table, Enum value) {
  for (const auto& [candidate, name] : table) {
    if (candidate == value) {
      return name;
    }
  }
  return "UNKNOWN";
}

template <typename Enum, size_t N>
std::optional<Enum> ValueIn(const NameTable<Enum, N>& table, std::string_view name) {
  for (const auto& [value, candidate] : table) {
    if (candidate == name) {
      return value;
    }
  }
  return std::nullopt;
}

}  // namespace

std::string_view Name(Phase phase) { return NameIn(kPhaseNames, phase); }
std::string_view Name(Direction direction) { return NameIn(kDirectionNames, direction); }
std::string_view Name(ProjectState state) { return NameIn(kProjectStateNames, state); }
std::string_view Name(MigrationState state) { return NameIn(kMigrationStateNames, state); }
std::string_view Name(BatchState state) { return NameIn(kBatchStateNames, state); }

std::optional<Phase> PhaseFromName(std::string_view name) { return ValueIn(kPhaseNames, name); }
std::optional<Direction> DirectionFromName(std::string_view name) { return ValueIn(kDirectionNames, name); }
std::optional<ProjectState> ProjectStateFromName(std::string_view name) { return ValueIn(kProjectStateNames, name); }
std::optional<MigrationState> MigrationStateFromName(std::string_view name) {
  return ValueIn(kMigrationStateNames, name);
}
std::optional<BatchState> BatchStateFromName(std::string_view name) { return ValueIn(kBatchStateNames, name); }

bool IsEnded(ProjectState state) {
  return state != ProjectState::kPending && state != ProjectState::kWaiting && state != ProjectState::kRunning;
}

bool IsEnded(MigrationState state) {
  return state != MigrationState::kRunning && state != MigrationState::kPaused &&
         state != MigrationState::kCancelling && state != MigrationState::kRollingBack;
}

bool IsValidRef(std::string_view ref) {
  const auto is_alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (ref.empty() || ref.size() > kMaxRefBytes || !is_alnum(ref[0])) {
    return false;
  }
  return std::all_of(ref.begin(), ref.end(), [&](char c) { return is_alnum(c) || c == '_' || c == '-'; });
}

}  // namespace pgconvoy
