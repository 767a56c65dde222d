// The tables that the coordinator follows, checked by program.
#include <algorithm>
#include <set>

#include "coordinator/core/core.h"
#include "coordinator/core/phase_table.h"
#include "coordinator/core/transitions.h"
#include "gtest/gtest.h"

namespace pgconvoy::core {
namespace {

template <typename Table>
void ExpectUniqueRows(const Table& table) {
  std::set<std::string_view> ids;
  std::set<std::pair<int, int>> keys;
  for (const auto& row : table) {
    EXPECT_TRUE(ids.insert(row.id).second) << row.id;
    EXPECT_TRUE(keys.emplace(static_cast<int>(row.from), static_cast<int>(row.trigger)).second) << row.id;
    EXPECT_FALSE(row.reason.empty()) << row.id;
    EXPECT_FALSE(row.when.empty()) << row.id;
  }
}

// All states that rows lead to from `start`, itself included.
template <typename Table, typename State>
std::set<State> ReachableFrom(const Table& table, State start) {
  std::set<State> reached = {start};
  for (size_t before = 0; before != reached.size();) {
    before = reached.size();
    for (const auto& row : table) {
      if (reached.contains(row.from)) reached.insert(row.to);
    }
  }
  return reached;
}

template <typename Table, typename State>
bool CanEnd(const Table& table, State state) {
  const auto reached = ReachableFrom(table, state);
  return std::any_of(reached.begin(), reached.end(), [](State s) { return IsEnded(s); });
}

TEST(TransitionTable, HasOneRowForEachStateAndTrigger) {
  ExpectUniqueRows(ProjectTransitions());
  ExpectUniqueRows(MigrationTransitions());
}

TEST(TransitionTable, ReachesEveryProjectState) {
  const auto reached = ReachableFrom(ProjectTransitions(), ProjectState::kPending);
  for (int i = 1; i <= kProjectStateCount; ++i) {
    const auto state = static_cast<ProjectState>(i);
    // SKIPPED is in the vocabulary, and nothing sets it yet.
    EXPECT_EQ(reached.contains(state), state != ProjectState::kSkipped) << Name(state);
  }
}

TEST(TransitionTable, LetsEveryProjectStateEnd) {
  for (int i = 1; i <= kProjectStateCount; ++i) {
    EXPECT_TRUE(CanEnd(ProjectTransitions(), static_cast<ProjectState>(i))) << i;
  }
}

TEST(TransitionTable, ReachesEveryMigrationStateAndLetsItEnd) {
  const auto reached = ReachableFrom(MigrationTransitions(), MigrationState::kRunning);
  for (int i = 1; i <= static_cast<int>(MigrationState::kCancelled); ++i) {
    const auto state = static_cast<MigrationState>(i);
    EXPECT_TRUE(reached.contains(state)) << Name(state);
    EXPECT_TRUE(CanEnd(MigrationTransitions(), state)) << Name(state);
  }
}

TEST(TransitionTable, PrintsEveryRow) {
  const std::string mermaid = TransitionsMermaid();
  const std::string markdown = TransitionsMarkdown();
  for (const Transition& row : ProjectTransitions()) {
    EXPECT_NE(mermaid.find(std::string(row.id)), std::string::npos) << row.id;
    EXPECT_NE(markdown.find(std::string(row.reason)), std::string::npos) << row.id;
  }
  EXPECT_NE(mermaid.find("  [*] --> PENDING\n"), std::string::npos);
  EXPECT_NE(mermaid.find("  RUNNING --> SUCCEEDED: T-03 all phases done\n"), std::string::npos);
}

TEST(PhaseTable, ListsEveryPhaseOnceInForwardOrder) {
  ASSERT_EQ(PhaseTable().size(), static_cast<size_t>(kPhaseCount));
  std::set<std::string_view> ids;
  std::set<int> rollback;
  for (size_t i = 0; i < PhaseTable().size(); ++i) {
    const PhaseRow& row = PhaseTable()[i];
    EXPECT_EQ(static_cast<size_t>(row.phase), i + 1);
    EXPECT_TRUE(ids.insert(row.id).second) << row.id;
    if (row.rollback_order > 0) {
      EXPECT_TRUE(rollback.insert(row.rollback_order).second) << row.id;
    }
  }
  EXPECT_EQ(*rollback.begin(), 1);
  EXPECT_EQ(*rollback.rbegin(), static_cast<int>(rollback.size()));
}

struct SectionsCase {
  const char* name;
  PlanSections sections;
  std::vector<Phase> forward;
  std::vector<Phase> rollback;
};

class Sections : public ::testing::TestWithParam<SectionsCase> {};

TEST_P(Sections, DecideWhichPhasesApply) {
  const std::vector<Phase> forward = ForwardPhases(GetParam().sections);
  EXPECT_EQ(forward, GetParam().forward);
  EXPECT_EQ(RollbackPhases(forward), GetParam().rollback);
}

using P = Phase;
INSTANTIATE_TEST_SUITE_P(
    PhaseTable,
    Sections,
    ::testing::Values(
        SectionsCase{"nothing",
                     {},
                     {P::kFence, P::kPreValidation, P::kPostValidation, P::kCleanup},
                     {P::kFence, P::kVerify, P::kCleanup}},
        SectionsCase{"credentials_only",
                     {.credentials = true, .cutover = true},
                     {P::kFence, P::kPreValidation, P::kCredentials, P::kCutover, P::kPostValidation, P::kCleanup},
                     {P::kFence, P::kCutover, P::kCredentials, P::kVerify, P::kCleanup}},
        SectionsCase{"whole_move",
                     {.target = true, .freeze = true, .credentials = true, .tables = true, .cutover = true},
                     {P::kFence, P::kPreValidation, P::kFreeze, P::kCredentials, P::kProvision, P::kBackup, P::kCopy,
                      P::kVerify, P::kCutover, P::kPostValidation, P::kCleanup},
                     {P::kFence, P::kCutover, P::kProvision, P::kCredentials, P::kFreeze, P::kBackup, P::kVerify,
                      P::kCleanup}},
        SectionsCase{"empty_databases",
                     {.target = true, .credentials = true},
                     {P::kFence, P::kPreValidation, P::kCredentials, P::kProvision, P::kPostValidation, P::kCleanup},
                     {P::kFence, P::kProvision, P::kCredentials, P::kVerify, P::kCleanup}},
        SectionsCase{
            "in_place",
            {.transform = true},
            {P::kFence, P::kPreValidation, P::kBackup, P::kTransform, P::kVerify, P::kPostValidation, P::kCleanup},
            {P::kFence, P::kTransform, P::kBackup, P::kVerify, P::kCleanup}},
        SectionsCase{"in_place_without_a_backup",
                     {.transform = true, .skip_backup = true},
                     {P::kFence, P::kPreValidation, P::kTransform, P::kVerify, P::kPostValidation, P::kCleanup},
                     {P::kFence, P::kTransform, P::kVerify, P::kCleanup}},
        SectionsCase{"whole_move_as_a_backup_alone",
                     {.target = true,
                      .freeze = true,
                      .credentials = true,
                      .tables = true,
                      .cutover = true,
                      .backup_only = true},
                     {P::kFence, P::kPreValidation, P::kFreeze, P::kBackup, P::kCleanup},
                     {P::kFence, P::kFreeze, P::kBackup, P::kVerify, P::kCleanup}},
        SectionsCase{"in_place_as_a_backup_alone",
                     {.transform = true, .backup_only = true},
                     {P::kFence, P::kPreValidation, P::kBackup, P::kCleanup},
                     {P::kFence, P::kBackup, P::kVerify, P::kCleanup}},
        SectionsCase{
            "new_passwords_after_a_whole_move",
            {.target = true, .freeze = true, .credentials = true, .tables = true, .cutover = true, .rotates = true},
            {P::kFence, P::kPreValidation, P::kCredentials, P::kCutover, P::kCleanup},
            {P::kFence, P::kCutover, P::kCredentials, P::kVerify, P::kCleanup}},
        SectionsCase{"logins_taken_away_after_a_whole_move",
                     {.target = true, .credentials = true, .tables = true, .cutover = true, .revokes = true},
                     {P::kFence, P::kPreValidation, P::kCredentials, P::kCleanup},
                     {P::kFence, P::kCredentials, P::kVerify, P::kCleanup}},
        SectionsCase{"rows_in_place",
                     {.tables = true},
                     {P::kFence, P::kPreValidation, P::kBackup, P::kPostValidation, P::kCleanup},
                     {P::kFence, P::kBackup, P::kVerify, P::kCleanup}}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(WaitCause, HasANameForEveryCauseButNone) {
  std::set<std::string_view> names;
  for (const WaitCause cause :
       {WaitCause::kNone, WaitCause::kPausedByUser, WaitCause::kRetryBackoff, WaitCause::kSourceTokens,
        WaitCause::kTargetTokens, WaitCause::kNoWorker, WaitCause::kBatchOrder}) {
    EXPECT_TRUE(names.insert(Name(cause)).second) << Name(cause);
    EXPECT_EQ(Name(cause).empty(), cause == WaitCause::kNone);
  }
}

TEST(Writes, AreEmptyUntilAnyRowIsWritten) {
  const std::vector<void (*)(Writes&)> changes = {[](Writes& w) { w.new_migrations.emplace_back(); },
                                                  [](Writes& w) { w.new_batches.emplace_back(); },
                                                  [](Writes& w) { w.new_projects.emplace_back(); },
                                                  [](Writes& w) { w.migrations.emplace_back(); },
                                                  [](Writes& w) { w.batches.emplace_back(); },
                                                  [](Writes& w) { w.projects.emplace_back(); },
                                                  [](Writes& w) { w.attempts.emplace_back(); },
                                                  [](Writes& w) { w.intents.emplace_back(); },
                                                  [](Writes& w) { w.results.emplace_back(); },
                                                  [](Writes& w) { w.result_marks.emplace_back(); },
                                                  [](Writes& w) { w.workers.emplace_back(); },
                                                  [](Writes& w) { w.events.emplace_back(); },
                                                  [](Writes& w) { w.counters.emplace(); }};
  EXPECT_TRUE(Writes().Empty());
  for (size_t i = 0; i < changes.size(); ++i) {
    Writes writes;
    changes[i](writes);
    EXPECT_FALSE(writes.Empty()) << i;
  }
}

TEST(PhaseTable, PrintsEveryPhase) {
  for (const PhaseRow& row : PhaseTable()) {
    EXPECT_NE(PhaseTableMarkdown().find("| " + std::string(row.id) + " | " + std::string(Name(row.phase)) + " |"),
              std::string::npos);
    EXPECT_NE(PhaseTableMermaid().find(std::string(Name(row.phase)) + ": " + std::string(row.id)), std::string::npos);
  }
}

}  // namespace
}  // namespace pgconvoy::core
