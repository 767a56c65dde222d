#include "common/base/error.h"

#include <gtest/gtest.h>

#include <memory>

namespace pgconvoy {
namespace {

TEST(Error, CarriesVerdictCodeMessageAndRemedy) {
  const absl::Status status = MakeError(Verdict::kPermanent, "PGC-PG-AUTH", "login failed", "check the password");
  EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
  EXPECT_EQ(CodeOf(status), "PGC-PG-AUTH");
  EXPECT_EQ(MessageOf(status), "login failed");
  EXPECT_EQ(RemedyOf(status), "check the password");
  EXPECT_EQ(Describe(status), "PGC-PG-AUTH: login failed; check the password");
}

TEST(Error, GivesEveryVerdictItsAbslCodeAndKeepsIt) {
  const std::pair<Verdict, absl::StatusCode> table[] = {{Verdict::kTransient, absl::StatusCode::kUnavailable},
                                                        {Verdict::kPermanent, absl::StatusCode::kFailedPrecondition},
                                                        {Verdict::kInDoubt, absl::StatusCode::kUnknown},
                                                        {Verdict::kFenced, absl::StatusCode::kAborted},
                                                        {Verdict::kOperator, absl::StatusCode::kFailedPrecondition},
                                                        {Verdict::kAbandoned, absl::StatusCode::kCancelled}};
  for (const auto& [verdict, code] : table) {
    const absl::Status status = MakeError(verdict, "PGC-X", "m");
    EXPECT_EQ(status.code(), code) << VerdictName(verdict);
    EXPECT_EQ(VerdictOf(status), verdict) << VerdictName(verdict);
  }
}

TEST(Error, MakesInputErrorsInvalidArguments) {
  const absl::Status status = InputError("PGC-PLAN-NAME", "m");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
  EXPECT_EQ(RemedyOf(status), "");
  EXPECT_EQ(Describe(status), "PGC-PLAN-NAME: m");
}

TEST(Error, JudgesForeignStatusesByTheirCode) {
  EXPECT_EQ(VerdictOf(absl::UnavailableError("x")), Verdict::kTransient);
  EXPECT_EQ(VerdictOf(absl::DeadlineExceededError("x")), Verdict::kTransient);
  EXPECT_EQ(VerdictOf(absl::CancelledError("x")), Verdict::kTransient);
  EXPECT_EQ(VerdictOf(absl::InternalError("x")), Verdict::kPermanent);
  EXPECT_EQ(CodeOf(absl::InternalError("x")), "PGC-INTERNAL");
}

TEST(Error, SaysNothingAboutOk) {
  EXPECT_EQ(CodeOf(absl::OkStatus()), "");
  EXPECT_EQ(Describe(absl::OkStatus()), "OK");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "here").ok());
}

TEST(Error, AnnotatesTheMessageAndKeepsTheRest) {
  const absl::Status status = Annotate(MakeError(Verdict::kFenced, "PGC-X", "gone", "stop"), "table auth.users");
  EXPECT_EQ(MessageOf(status), "table auth.users: gone");
  EXPECT_EQ(CodeOf(status), "PGC-X");
  EXPECT_EQ(RemedyOf(status), "stop");
  EXPECT_EQ(VerdictOf(status), Verdict::kFenced);
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
}

absl::StatusOr<std::unique_ptr<int>> Boxed(bool ok) {
  if (!ok) {
    return InputError("PGC-X", "no box");
  }
  return std::make_unique<int>(7);
}

absl::StatusOr<int> Unboxed(bool ok) {
  PGC_ASSIGN_OR_RETURN(const std::unique_ptr<int> box, Boxed(ok));
  PGC_RETURN_IF_ERROR(absl::OkStatus());
  return *box;
}

TEST(ErrorMacros, PassValuesOnAndLeaveOnErrors) {
  EXPECT_EQ(*Unboxed(true), 7);
  EXPECT_EQ(CodeOf(Unboxed(false).status()), "PGC-X");
}

}  // namespace
}  // namespace pgconvoy
