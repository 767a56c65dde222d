#include "cli/commands/session.h"

#include <gtest/gtest.h>

#include "cli/commands/exit_code.h"
#include "cli/commands/json.h"
#include "common/base/error.h"

namespace pgconvoy::cli {
namespace {

TEST(ParseDuration, TakesANumberAndAUnit) {
  EXPECT_EQ(*ParseDuration("500ms"), Millis(500));
  EXPECT_EQ(*ParseDuration("30s"), Millis(30'000));
  EXPECT_EQ(*ParseDuration("5m"), Millis(300'000));
  EXPECT_EQ(*ParseDuration("2h"), Millis(7'200'000));
  EXPECT_EQ(*ParseDuration("365d"), Millis(int64_t{365} * 86'400'000));
}

TEST(ParseDuration, RefusesEverythingElse) {
  for (const char* text : {"", "5", "s", "0s", "-5s", "+5s", "5m30", "1.5h", " 5s", "5 s", "5S", "366d", "0x10s",
                           "99999999999999999999s", "9223372036854775807h"}) {
    const auto parsed = ParseDuration(text);
    EXPECT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(CodeOf(parsed.status()), "PGC-CLI-DURATION") << text;
  }
}

TEST(ExitCodes, FollowTheStatus) {
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), kUnavailable);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), kTimeout);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), kFailure);
  EXPECT_EQ(ExitCodeOf(absl::PermissionDeniedError("")), kNotPermitted);
  EXPECT_EQ(ExitCodeOf(InputError("PGC-PLAN-NAME", "x")), kBadInput);
  EXPECT_EQ(ExitCodeOf(InputError("PGC-CSV-REF", "x")), kBadInput);
  EXPECT_EQ(ExitCodeOf(InputError("PGC-RPC-PAGE", "x")), kUsage);
  EXPECT_EQ(ExitCodeOf(MakeError(Verdict::kPermanent, "PGC-X", "x")), kRefused);
  EXPECT_EQ(ExitCodeOf(MakeError(Verdict::kOperator, "PGC-X", "x")), kNeedsHuman);
}

TEST(ExitCodes, FollowHowAMigrationEnded) {
  const auto code = [](v1::MigrationState state, int need_operator = 0) {
    v1::Migration migration;
    migration.set_state(state);
    migration.set_projects_need_operator(need_operator);
    return ExitCodeOf(migration);
  };
  EXPECT_EQ(code(v1::MIGRATION_SUCCEEDED), kOk);
  EXPECT_EQ(code(v1::MIGRATION_ROLLED_BACK), kOk);
  EXPECT_EQ(code(v1::MIGRATION_SUCCEEDED_WITH_WARNINGS), kWarnings);
  EXPECT_EQ(code(v1::MIGRATION_FAILED), kFailure);
  EXPECT_EQ(code(v1::MIGRATION_CANCELLED), kFailure);
  EXPECT_EQ(code(v1::MIGRATION_FAILED, 1), kNeedsHuman);
  EXPECT_EQ(code(v1::MIGRATION_CANCELLED, 1), kNeedsHuman);
}

TEST(Yaml, HoldsTheContentOfTheJsonAndNoValueChangesItsType) {
  EXPECT_EQ(
      YamlFromJson(R"({"id":"7","no":true,"list":[{"a":"x: y"},{"a":"null"}],"none":[],"o":{"k k":1},"n":null})"),
      "id: \"7\"\n"
      "\"no\": true\n"
      "list:\n"
      "  -\n"
      "    a: \"x: y\"\n"
      "  -\n"
      "    a: \"null\"\n"
      "none: []\n"
      "o:\n"
      "  \"k k\": 1\n"
      "\"n\": null\n");
}

}  // namespace
}  // namespace pgconvoy::cli
