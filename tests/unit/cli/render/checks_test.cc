#include "cli/render/checks.h"

#include <gtest/gtest.h>

namespace pgconvoy::render {
namespace {

CheckView Check(const std::string& ref, const std::string& name, Verdict verdict) {
  return {ref,
          name,
          verdict,
          verdict == Verdict::kPassed ? "" : "is wrong",
          "",
          "",
          verdict == Verdict::kPassed ? "" : "run: GRANT"};
}

TEST(Checks, ACheckThatSaysTheSameOfManyProjectsIsOneLine) {
  std::vector<CheckView> checks;
  for (int i = 0; i < 4000; ++i) {
    checks.push_back(Check("p" + std::to_string(i), "select", Verdict::kFailed));
    checks.push_back(Check("p" + std::to_string(i), "login", Verdict::kPassed));
  }
  EXPECT_EQ(DrawChecks(checks, {}),
            "VERDICT   CHECK   TIMES  FOUND\n"
            "✖ FAILED  select  4,000  is wrong\n"
            "✔ ok      login   4,000\n"
            "\n"
            "select (p0, p1, p2, p3, p4, …): run: GRANT\n"
            "\n"
            "4,000 projects: 4,000 checks ok, 0 warnings, 4,000 FAILED\n");
}

TEST(Checks, WhatSaysSomethingElseIsALineOfItsOwn) {
  std::vector<CheckView> checks = {Check("a", "disk", Verdict::kFailed), Check("b", "disk", Verdict::kWarning),
                                   Check("c", "disk", Verdict::kFailed)};
  checks[2].message = "is missing";
  const auto groups = GroupChecks(checks);
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].check.message, "is missing");
  EXPECT_EQ(groups[2].check.verdict, Verdict::kWarning);
  EXPECT_EQ(groups[2].refs, std::vector<std::string>{"b"});
}

TEST(Checks, FiguresAreShownWhereAllHaveTheSame) {
  std::vector<CheckView> checks = {Check("a", "disk", Verdict::kFailed), Check("b", "disk", Verdict::kFailed)};
  checks[0].measured = "1 MiB free";
  checks[1].measured = "2 MiB free";
  checks[0].needed = checks[1].needed = "64 MiB";
  const auto groups = GroupChecks(checks);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].check.measured, "");
  EXPECT_EQ(groups[0].check.needed, "64 MiB");
  EXPECT_NE(DrawEachCheck(checks, {}).find("a        ✖ FAILED  disk   is wrong: 1 MiB free, needed 64 MiB\n"),
            std::string::npos)
      << DrawEachCheck(checks, {});
}

TEST(Checks, NamesOfProjectsCannotSteerTheTerminal) {
  std::vector<CheckView> checks = {Check("a", "x\x1b[2J", Verdict::kFailed)};
  checks[0].remedy = "run\x1b[2J";
  EXPECT_EQ(DrawChecks(checks, {}).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace pgconvoy::render
