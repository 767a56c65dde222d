#include "worker/core/names.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace pgconvoy::worker {
namespace {

constexpr size_t kMaxNameBytes = 63;

TEST(ProjectHash, TellsStoresAndProjectsApart) {
  EXPECT_EQ(ProjectHash("store", "acme").size(), 16u);
  EXPECT_EQ(ProjectHash("store", "acme"), ProjectHash("store", "acme"));
  EXPECT_NE(ProjectHash("store", "acme"), ProjectHash("store", "acme2"));
  EXPECT_NE(ProjectHash("store", "acme"), ProjectHash("other", "acme"));
}

TEST(AttemptNames, AreOfOneProjectAndOneFence) {
  const AttemptNames names("store", "acme", 7);
  const std::string hash = ProjectHash("store", "acme");
  EXPECT_EQ(names.login, "pgc_a_" + hash + "_7");
  EXPECT_EQ(names.temporary_database, "pgc_t_" + hash + "_7");
  EXPECT_EQ(names.kept, "pgc_kept_" + hash + "_7");
  EXPECT_EQ(names.application_name, "pgc:" + hash + ":7");
  EXPECT_EQ(names.DoomedDatabase(0), "pgc_d_" + hash + "_7");
  EXPECT_EQ(names.DoomedDatabase(2), "pgc_d_" + hash + "_7_2");
}

TEST(AttemptNames, FitIntoWhatPostgresKeepsOfAName) {
  const AttemptNames names("store", std::string(500, 'x'), std::numeric_limits<int64_t>::max());
  for (const std::string& name : {names.login, names.temporary_database, names.kept, names.application_name,
                                  names.DoomedDatabase(std::numeric_limits<int>::max())}) {
    EXPECT_LE(name.size(), kMaxNameBytes) << name;
  }
}

TEST(AttemptNames, AreFoundByThePrefixesOfTheirProjectAlone) {
  const AttemptNames names("store", "acme", 7);
  const AttemptNames other("store", "other", 7);
  EXPECT_EQ(FenceInName(names.login, names.login_prefix), 7);
  EXPECT_EQ(FenceInName(names.temporary_database, names.temporary_prefix), 7);
  EXPECT_EQ(FenceInName(names.DoomedDatabase(0), names.doomed_prefix), 7);
  EXPECT_EQ(FenceInName(names.DoomedDatabase(3), names.doomed_prefix), 7);
  EXPECT_EQ(FenceInName(names.application_name, names.application_prefix), 7);
  EXPECT_EQ(FenceInName(names.login, other.login_prefix), std::nullopt);
  EXPECT_EQ(FenceInName(names.login, names.temporary_prefix), std::nullopt);
}

TEST(FenceInName, TakesNothingForANumberThatIsNone) {
  for (const char* name : {"pgc_a_x_", "pgc_a_x_-1", "pgc_a_x_07", "pgc_a_x_7b", "pgc_a_x_99999999999999999999"}) {
    EXPECT_EQ(FenceInName(name, "pgc_a_x_"), std::nullopt) << name;
  }
}

TEST(OwnerComment, IsKnownAgainByItsOwnerOnly) {
  const std::string comment = OwnerComment({"store", "acme", "1"}, 7);
  EXPECT_EQ(comment, R"({"pgconvoy":1,"store":"store","project":"acme","migration":"1","fence":7})");
  EXPECT_TRUE(IsOwnComment(comment, {"store", "acme", "1"}));
  for (const Owner& other : std::vector<Owner>{{"store", "acm", "1"},
                                               {"store", "acme2", "1"},
                                               {"other", "acme", "1"},
                                               {"store", "acme", "12"},
                                               {"store", "acme", ""}}) {
    EXPECT_FALSE(IsOwnComment(comment, other)) << other.store_id << " " << other.ref << " " << other.migration_id;
  }
  EXPECT_FALSE(IsOwnComment(OwnerComment({"store", "acme", "12"}, 7), {"store", "acme", "1"}));
}

TEST(OwnerComment, NamesTheProjectToItsOwnStoreOnly) {
  const std::string comment = OwnerComment({"store", "acme", "1"}, 7);
  EXPECT_EQ(ProjectOfComment(comment, "store"), "acme");
  EXPECT_EQ(ProjectOfComment(comment, "other"), std::nullopt);
}

TEST(OwnerComment, IsNotSeenInWhatSomebodyElseWrote) {
  for (const char* comment :
       {"", "acme", "the database of acme", "{}", R"({"pgconvoy":1,"store":"store","project":"acme)"}) {
    EXPECT_FALSE(IsOwnComment(comment, {"store", "acme", "1"})) << comment;
    EXPECT_EQ(ProjectOfComment(comment, "store"), std::nullopt) << comment;
  }
}

}  // namespace
}  // namespace pgconvoy::worker
