#include "common/model/model.h"

#include <gtest/gtest.h>

#include <set>

#include "pgconvoy/v1/migration.pb.h"

namespace pgconvoy {
namespace {

template <typename Enum>
std::string NameOf(int number) {
  return std::string(Name(static_cast<Enum>(number)));
}

// The wire's enums are written again as C++ enums; each value must keep its number and its name.
template <typename Enum, typename FromName>
void ExpectSameAsProto(const google::protobuf::EnumDescriptor& proto, const std::string& prefix, FromName from_name) {
  std::set<std::string> names;
  for (int i = 0; i < proto.value_count(); ++i) {
    const auto& value = *proto.value(i);
    if (value.number() == 0) {
      continue;
    }
    std::string name = value.name();
    if (name.starts_with(prefix)) {
      name = name.substr(prefix.size());
    }
    EXPECT_EQ(NameOf<Enum>(value.number()), name);
    EXPECT_EQ(from_name(name), static_cast<Enum>(value.number())) << name;
    names.insert(name);
  }
  EXPECT_EQ(static_cast<int>(names.size()), proto.value_count() - 1);
  EXPECT_EQ(from_name("NOPE"), std::nullopt);
  EXPECT_EQ(NameOf<Enum>(proto.value_count()), "UNKNOWN");
}

TEST(Names, AreThoseOfTheWire) {
  ExpectSameAsProto<Phase>(*v1::Phase_descriptor(), "", PhaseFromName);
  ExpectSameAsProto<Direction>(*v1::Direction_descriptor(), "", DirectionFromName);
  ExpectSameAsProto<ProjectState>(*v1::ProjectState_descriptor(), "", ProjectStateFromName);
  ExpectSameAsProto<MigrationState>(*v1::MigrationState_descriptor(), "MIGRATION_", MigrationStateFromName);
  ExpectSameAsProto<BatchState>(*v1::BatchState_descriptor(), "BATCH_", BatchStateFromName);
}

TEST(Counts, CoverEveryValueOfTheWire) {
  EXPECT_EQ(kPhaseCount, v1::Phase_descriptor()->value_count() - 1);
  EXPECT_EQ(kProjectStateCount, v1::ProjectState_descriptor()->value_count() - 1);
}

TEST(IsEnded, TellsEndedProjectsFromOthers) {
  for (int i = 1; i <= kProjectStateCount; ++i) {
    const auto state = static_cast<ProjectState>(i);
    const bool open =
        state == ProjectState::kPending || state == ProjectState::kWaiting || state == ProjectState::kRunning;
    EXPECT_EQ(IsEnded(state), !open) << Name(state);
  }
}

TEST(IsEnded, TellsEndedMigrationsFromOthers) {
  EXPECT_FALSE(IsEnded(MigrationState::kRunning));
  EXPECT_FALSE(IsEnded(MigrationState::kPaused));
  EXPECT_FALSE(IsEnded(MigrationState::kCancelling));
  EXPECT_FALSE(IsEnded(MigrationState::kRollingBack));
  EXPECT_TRUE(IsEnded(MigrationState::kSucceeded));
  EXPECT_TRUE(IsEnded(MigrationState::kSucceededWithWarnings));
  EXPECT_TRUE(IsEnded(MigrationState::kFailed));
  EXPECT_TRUE(IsEnded(MigrationState::kRolledBack));
  EXPECT_TRUE(IsEnded(MigrationState::kCancelled));
}

TEST(Id, ComparesByValue) {
  EXPECT_LT(Fence{1}, Fence{2});
  EXPECT_EQ(ProjectId{7}, ProjectId{7});
}

TEST(IsValidRef, TakesWhatTheRuleAllows) {
  for (const std::string& ref :
       {std::string("a"), std::string("0"), std::string("my-project_1"), std::string(40, 'x')}) {
    EXPECT_TRUE(IsValidRef(ref)) << ref;
  }
}

TEST(IsValidRef, RefusesEverythingElse) {
  for (const std::string& ref :
       {std::string(), std::string("-a"), std::string("_a"), std::string("A"), std::string("a b"), std::string("a\n"),
        std::string("a'"), std::string("a\"b"), std::string("../a"), std::string("a$$"), std::string("a%00"),
        std::string("a\0", 2), std::string("\xD0\xB0"), std::string("a\xE2\x80\xAE"), std::string(41, 'x')}) {
    EXPECT_FALSE(IsValidRef(ref)) << ref;
  }
}

}  // namespace
}  // namespace pgconvoy
