#include "common/pg/startup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace pgconvoy::pg {
namespace {

TEST(ServerVersion, RefusesEverythingOlderThanFourteen) {
  for (const int version : {90'624, 100'000, 130'023, 139'999}) {
    const absl::Status refused = CheckServerVersion(version, "13.23");
    EXPECT_EQ(CodeOf(refused), "PGC-PG-VERSION") << version;
    EXPECT_EQ(VerdictOf(refused), Verdict::kPermanent) << version;
    EXPECT_THAT(MessageOf(refused), ::testing::HasSubstr("PostgreSQL 13.23"));
    EXPECT_THAT(RemedyOf(refused), ::testing::HasSubstr("PostgreSQL 14 or newer"));
  }
}

TEST(ServerVersion, TakesFourteenAndWhateverComesLater) {
  for (const int version : {140'000, 150'012, 180'000}) {
    EXPECT_TRUE(CheckServerVersion(version, "").ok()) << version;
  }
}

TEST(ServerVersion, PrintsWhatAServerCallsItselfSafely) {
  EXPECT_THAT(MessageOf(CheckServerVersion(90'000, "9.0\n\x1b[2J")), ::testing::Not(::testing::HasSubstr("\x1b")));
}

}  // namespace
}  // namespace pgconvoy::pg
