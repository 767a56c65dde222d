#include "worker/core/takeover.h"

#include <gtest/gtest.h>

#include <vector>

namespace pgconvoy::worker {
namespace {

ResultKey Key(const ResultKey& key) { return key; }

TEST(LatestResult, IsTheForwardOneWithTheHighestFence) {
  const std::vector<ResultKey> results = {{Phase::kBackup, Direction::kForward, 5},
                                          {Phase::kBackup, Direction::kForward, 3},
                                          {Phase::kBackup, Direction::kRollback, 9},
                                          {Phase::kCopy, Direction::kForward, 8}};
  const ResultKey* const found = LatestResult(results, Phase::kBackup, Key);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->fence, 5);
}

TEST(LatestResult, IsNoneThatAFinishedRollbackHasUndone) {
  std::vector<ResultKey> results = {{Phase::kBackup, Direction::kForward, 5}};
  results.push_back({Phase::kProvision, Direction::kRollback, 7});
  EXPECT_NE(LatestResult(results, Phase::kBackup, Key), nullptr) << "a rollback that is not done undoes nothing";
  results.push_back({Phase::kCleanup, Direction::kRollback, 7});
  EXPECT_EQ(LatestResult(results, Phase::kBackup, Key), nullptr);
  results.push_back({Phase::kBackup, Direction::kForward, 8});
  EXPECT_NE(LatestResult(results, Phase::kBackup, Key), nullptr);
}

TEST(LatestResult, OutlastsTheCleanupOfItsOwnAttempt) {
  const std::vector<ResultKey> results = {{Phase::kBackup, Direction::kForward, 5},
                                          {Phase::kCleanup, Direction::kForward, 5}};
  EXPECT_NE(LatestResult(results, Phase::kBackup, Key), nullptr);
}

TEST(IsOlderAttempt, IsOneWithALowerFence) {
  EXPECT_TRUE(IsOlderAttempt(6, /*own_fence=*/7));
  EXPECT_FALSE(IsOlderAttempt(7, 7));
  EXPECT_FALSE(IsOlderAttempt(8, 7));
}

TEST(RemovesBackup, SparesTheOneThatWasSealed) {
  EXPECT_TRUE(RemovesBackup(6, /*sealed_fence=*/7));
  EXPECT_TRUE(RemovesBackup(6, 0));
  EXPECT_FALSE(RemovesBackup(7, 7));
}

TEST(DecideDatabase, KeepsOnlyACompleteOneOfOurs) {
  const FoundDatabase ours{.final = true, .own = true, .invalid = false};
  EXPECT_EQ(DecideDatabase(ours, /*complete=*/true), DatabaseAction::kKeep);
  EXPECT_EQ(DecideDatabase(ours, /*complete=*/false), DatabaseAction::kDrop);
}

TEST(DecideDatabase, DropsWhatIsHalfMadeOrHalfDropped) {
  EXPECT_EQ(DecideDatabase({.final = false, .own = true, .invalid = false}, true), DatabaseAction::kDrop);
  EXPECT_EQ(DecideDatabase({.final = true, .own = true, .invalid = true}, true), DatabaseAction::kDrop);
  EXPECT_EQ(DecideDatabase({.final = true, .own = true, .shut = true}, true), DatabaseAction::kDrop);
}

TEST(DecideDatabase, LeavesAloneWhatOthersMade) {
  EXPECT_EQ(DecideDatabase({.final = true, .own = false, .invalid = false}, true), DatabaseAction::kForeign);
  EXPECT_FALSE(MayBeComplete({.final = true, .own = false, .invalid = false}));
}

TEST(DecideRole, AltersOnlyItsOwn) {
  EXPECT_EQ(DecideRole(/*exists=*/false, /*own=*/false), RoleAction::kCreate);
  EXPECT_EQ(DecideRole(/*exists=*/true, /*own=*/true), RoleAction::kAlter);
  EXPECT_EQ(DecideRole(/*exists=*/true, /*own=*/false), RoleAction::kForeign);
}

TEST(DecideWrites, GoesOnOnlyWhenItIsKnownThatNothingWasWritten) {
  EXPECT_EQ(DecideWrites(/*known=*/true, /*written=*/false, /*discard_writes=*/false), WritesAction::kGoOn);
  EXPECT_EQ(DecideWrites(true, true, false), WritesAction::kGiveBack);
  EXPECT_EQ(DecideWrites(true, true, true), WritesAction::kSetAside);
  EXPECT_EQ(DecideWrites(false, false, true), WritesAction::kGiveBack);
}

TEST(IsOwned, SparesTheNewestOfALiveProjectAndWhatBeganSinceTheListWasMade) {
  EXPECT_TRUE(IsOwned(7, /*newest_fence=*/7, /*next_fence=*/9, /*live=*/true));
  EXPECT_TRUE(IsOwned(9, 9, 9, /*live=*/false));
  EXPECT_TRUE(IsOwned(8, 7, 9, false)) << "its FENCE is still to come";
  EXPECT_FALSE(IsOwned(7, 7, 9, false));
  EXPECT_FALSE(IsOwned(6, 7, 9, true));
}

}  // namespace
}  // namespace pgconvoy::worker
