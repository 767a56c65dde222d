#include "coordinator/service/choose_credential.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "coordinator/service/payload.h"

namespace pgconvoy::service {
namespace {

class CredentialChoice : public ::testing::Test {
 protected:
  void Intended(int64_t fence, const std::string& sealed) {
    v1::Intent intent;
    intent.set_kind(v1::Intent::ROLE);
    intent.set_fence(fence);
    intent.mutable_credentials()->set_sealed_password(sealed);
    detail_.intents_json.push_back(ToJson(intent));
  }
  void CutOver(v1::Direction direction, int64_t credentials_fence) {
    v1::PhaseResult result;
    result.set_phase(v1::CUTOVER);
    result.set_direction(direction);
    if (direction == v1::FORWARD) {
      result.mutable_cutover()->set_credentials_fence(credentials_fence);
    } else {
      result.mutable_undo()->add_undone("registry");
    }
    detail_.results_json.push_back(ToJson(result));
  }

  store::ProjectDetail detail_;
};

TEST_F(CredentialChoice, SaysThatTheNewestWasRevoked) {
  Intended(5, "delivered");
  CutOver(v1::FORWARD, 5);
  v1::PhaseResult revoked;
  revoked.set_phase(v1::CREDENTIALS);
  revoked.set_direction(v1::FORWARD);
  revoked.set_fence(9);
  revoked.mutable_credentials()->set_user("project_acme");
  revoked.mutable_credentials()->set_revoked(true);
  detail_.results_json.push_back(ToJson(revoked));
  EXPECT_EQ(CodeOf(ChooseCredential(detail_).status()), "PGC-CREDENTIALS-REVOKED");
  Intended(12, "given back");
  CutOver(v1::FORWARD, 12);
  const auto credential = ChooseCredential(detail_);
  ASSERT_TRUE(credential.ok());
  EXPECT_EQ(credential->sealed_password(), "given back");
}

TEST_F(CredentialChoice, TakesTheOneThatTheCutoverDelivered) {
  Intended(5, "delivered");
  Intended(9, "newer");
  CutOver(v1::FORWARD, 5);
  const auto credential = ChooseCredential(detail_);
  ASSERT_TRUE(credential.ok());
  EXPECT_EQ(credential->sealed_password(), "delivered");
  EXPECT_TRUE(credential->delivered());
}

TEST_F(CredentialChoice, TakesTheNewestBeforeACutover) {
  Intended(5, "older");
  Intended(9, "newer");
  const auto credential = ChooseCredential(detail_);
  ASSERT_TRUE(credential.ok());
  EXPECT_EQ(credential->sealed_password(), "newer");
  EXPECT_FALSE(credential->delivered());
}

TEST_F(CredentialChoice, TakesNoneForDeliveredAfterTheCutoverWasUndone) {
  Intended(5, "sealed");
  CutOver(v1::FORWARD, 5);
  CutOver(v1::ROLLBACK, 0);
  const auto credential = ChooseCredential(detail_);
  ASSERT_TRUE(credential.ok());
  EXPECT_FALSE(credential->delivered());
}

TEST_F(CredentialChoice, IsNotFoundWhenThereIsNone) {
  EXPECT_EQ(ChooseCredential(detail_).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace pgconvoy::service
