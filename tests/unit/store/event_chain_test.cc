#include "coordinator/store/event_chain.h"

#include <gtest/gtest.h>

namespace pgconvoy::store {
namespace {

TEST(EventChain, TextMovedFromOneColumnToTheNextChangesTheCanonicalText) {
  core::EventRow one;
  one.kind = "AB";
  one.actor = "C";
  core::EventRow other;
  other.kind = "A";
  other.actor = "BC";
  EXPECT_NE(CanonicalEvent(1, one), CanonicalEvent(1, other));
}

TEST(EventChain, DigestDependsOnPreviousEpochAndEvents) {
  const std::string digest = LinkDigest("p", 1, "e");
  EXPECT_EQ(digest, LinkDigest("p", 1, "e"));
  EXPECT_NE(digest, LinkDigest("q", 1, "e"));
  EXPECT_NE(digest, LinkDigest("p", 2, "e"));
  EXPECT_NE(digest, LinkDigest("p", 1, "f"));
}

}  // namespace
}  // namespace pgconvoy::store
