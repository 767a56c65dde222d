#include "coordinator/core/prune.h"

#include <gtest/gtest.h>

namespace pgconvoy::core {
namespace {

constexpr WallMs kDay = 86'400'000;
constexpr WallMs kNow = 1'000 * kDay;

PruneCandidate Backup(const std::string& ref, int64_t fence, int age_days, int64_t migration = 1) {
  PruneCandidate candidate;
  candidate.migration.value = migration;
  candidate.ref = ref;
  candidate.fence.value = fence;
  candidate.sealed_at = kNow - age_days * kDay;
  candidate.retention_days = 30;
  return candidate;
}

PruneRequest Request() {
  PruneRequest request;
  request.now = kNow;
  return request;
}

std::vector<size_t> KeptOf(const PruneDecision& decision) {
  std::vector<size_t> kept;
  for (const PruneDecision::Kept& one : decision.kept) {
    kept.push_back(one.candidate);
  }
  return kept;
}

using Indices = std::vector<size_t>;

TEST(Prune, TakesWhatIsOlderThanItsRetention) {
  const auto decision = DecidePrune({Backup("a", 1, 29), Backup("a", 2, 30), Backup("b", 3, 31)}, {}, Request());
  EXPECT_EQ(decision.prune, (Indices{1, 2}));
  EXPECT_TRUE(decision.kept.empty());
}

TEST(Prune, AnAgeThatIsGivenBeatsTheRetention) {
  PruneRequest request = Request();
  request.older_than_days = 0;
  EXPECT_EQ(DecidePrune({Backup("a", 1, 0)}, {}, request).prune, (Indices{0}));
  request.older_than_days = 40;
  EXPECT_TRUE(DecidePrune({Backup("a", 1, 39)}, {}, request).prune.empty());
}

TEST(Prune, NeverTakesTheBackupOfAnUnfinishedProject) {
  PruneRequest request = Request();
  request.force = true;
  const auto decision = DecidePrune({Backup("a", 1, 99), Backup("b", 2, 99)}, {.open = {"a"}}, request);
  EXPECT_EQ(decision.prune, (Indices{1}));
  EXPECT_EQ(KeptOf(decision), (Indices{0}));
}

TEST(Prune, KeepsTheBackupsOfAFailedProjectUnlessForced) {
  PruneRequest request = Request();
  EXPECT_EQ(KeptOf(DecidePrune({Backup("a", 1, 99)}, {.failed = {"a"}}, request)), (Indices{0}));
  request.force = true;
  EXPECT_EQ(DecidePrune({Backup("a", 1, 99)}, {.failed = {"a"}}, request).prune, (Indices{0}));
}

TEST(Prune, KeepsTheLastBackupOfAMigratedProjectUnlessForced) {
  const std::vector<PruneCandidate> two = {Backup("a", 1, 99), Backup("a", 2, 99, 2)};
  PruneRequest request = Request();
  auto decision = DecidePrune(two, {.migrated = {"a"}}, request);
  EXPECT_EQ(decision.prune, (Indices{0}));
  EXPECT_EQ(KeptOf(decision), (Indices{1}));
  request.force = true;
  EXPECT_EQ(DecidePrune(two, {.migrated = {"a"}}, request).prune, (Indices{0, 1}));
}

TEST(Prune, CountsBackupsOfOtherMigrationsAsWell) {
  PruneRequest request = Request();
  request.migration = MigrationId{1};
  const auto decision = DecidePrune({Backup("a", 1, 99), Backup("a", 2, 1, 2)}, {.migrated = {"a"}}, request);
  EXPECT_EQ(decision.prune, (Indices{0})) << "the younger one stays";
}

TEST(Prune, DoesNotCountWhatWasPrunedBefore) {
  PruneCandidate gone = Backup("a", 1, 99);
  gone.pruned = true;
  gone.removed = true;
  const auto decision = DecidePrune({gone, Backup("a", 2, 99)}, {.migrated = {"a"}}, Request());
  EXPECT_TRUE(decision.prune.empty());
  EXPECT_TRUE(decision.unfinished.empty());
  EXPECT_EQ(KeptOf(decision), (Indices{1}));
}

TEST(Prune, FinishesWhatWasBegun) {
  PruneCandidate begun = Backup("a", 1, 1);
  begun.pruned = true;
  EXPECT_EQ(DecidePrune({begun}, {.open = {"a"}}, Request()).unfinished, (Indices{0}));
}

}  // namespace
}  // namespace pgconvoy::core
