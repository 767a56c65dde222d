// backup.encrypt_to and backup.key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/crypto/crypto.h"
#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

using ::testing::ElementsAre;

constexpr char kLevel[] = "  compression_level: 3\n";

std::vector<std::string> ProblemsWith(const std::string& lines) {
  return Brief(ParsePlan(SampleWith(kLevel, kLevel + lines), "p.yaml").problems);
}

TEST(ValidateEncryption, TakesAPublicKeyAndAReferenceToThePrivateOne) {
  EXPECT_THAT(ProblemsWith("  encrypt_to: " + GenerateKeyPair().public_key + "\n  key: ${file:/run/backup.key}\n"),
              ElementsAre());
  EXPECT_THAT(ProblemsWith("  encrypt_to: ${env:PUBLIC}\n  key: ${env:PRIVATE}\n"), ElementsAre());
  // Of backups that another plan has made.
  EXPECT_THAT(ProblemsWith("  key: ${env:PRIVATE}\n"), ElementsAre());
}

TEST(ValidateEncryption, RefusesEverythingElseByField) {
  const std::string good = "  encrypt_to: ${env:PUBLIC}\n";
  EXPECT_THAT(ProblemsWith("  encrypt_to: bm90IGEga2V5\n  key: ${env:PRIVATE}\n"),
              ElementsAre(::testing::AllOf(::testing::StartsWith("PGC-PLAN-RECIPIENT:"),
                                           ::testing::EndsWith(" backup.encrypt_to"))));
  EXPECT_THAT(ProblemsWith(good), ElementsAre(::testing::AllOf(::testing::StartsWith("PGC-PLAN-REQUIRED:"),
                                                               ::testing::EndsWith(" backup.key"))));
  EXPECT_THAT(ProblemsWith(good + "  key: " + GenerateKeyPair().private_key.Reveal() + "\n"),
              ElementsAre(::testing::AllOf(::testing::StartsWith("PGC-PLAN-SECRET-LITERAL:"),
                                           ::testing::EndsWith(" backup.key"))));
}

}  // namespace
}  // namespace pgconvoy::plan
