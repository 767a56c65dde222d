#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "fake_service.h"
#include "process.h"

namespace pgconvoy::cli {
namespace {

using testing::Test;

class Steering : public Test {
 protected:
  Steering() {
    server_.service.migrations = {MakeMigration("7", v1::MIGRATION_PAUSED)};
    server_.service.migrations[0].set_projects_succeeded(1204);
    server_.Start();
  }

  std::vector<std::string> Args(std::vector<std::string> args) const {
    args.insert(args.begin(), {"--address", server_.address()});
    return args;
  }

  FakeServer server_;
};

TEST_F(Steering, PassesReasonsOn) {
  const Result result = Pgconvoy(Args({"pause", "7", "--reason", "maintenance"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "migration 7 ‖ PAUSED\n");
  EXPECT_EQ(server_.service.actions, (std::vector<std::string>{"pause reason=maintenance 7"}));
}

TEST_F(Steering, ResumesAndCancelsTheOnlyUnfinishedMigration) {
  EXPECT_EQ(Pgconvoy(Args({"resume"})).code, 0);
  EXPECT_EQ(Pgconvoy(Args({"cancel"})).code, 0);
  EXPECT_EQ(server_.service.actions, (std::vector<std::string>{"resume 7", "cancel 7"}));
}

TEST_F(Steering, RetriesAllThatFailedOrOneProject) {
  EXPECT_EQ(Pgconvoy(Args({"retry", "7", "--failed"})).out, "3 projects of migration 7 changed\n");
  EXPECT_EQ(Pgconvoy(Args({"retry", "7", "--project", "acme-1"})).code, 0);
  EXPECT_EQ(server_.service.actions, (std::vector<std::string>{"retry project= 7", "retry project=acme-1 7"}));
}

TEST_F(Steering, ARefusalIs4WithItsCodeAndRemedy) {
  server_.service.refusal =
      MakeError(Verdict::kPermanent, "PGC-MIGRATION-ENDED", "migration 7 has ended", "use retry");
  const Result result = Pgconvoy(Args({"pause", "7"}));
  EXPECT_EQ(result.code, 4);
  EXPECT_EQ(result.err,
            "error PGC-MIGRATION-ENDED: migration 7 has ended; use retry\nnext: pgconvoy describe migration 7\n");
  EXPECT_EQ(result.out, "");
}

TEST_F(Steering, ARollbackThatNobodyCanConfirmIsRefusedWithTheCommandThatWould) {
  const Result result = Pgconvoy(Args({"rollback", "7", "--project", "acme-1", "--discard-writes"}));
  EXPECT_EQ(result.code, 4);
  EXPECT_NE(result.err.find("next: pgconvoy rollback 7 --project acme-1 --discard-writes --yes\n"), std::string::npos)
      << result.err;
  EXPECT_TRUE(server_.service.actions.empty());
}

TEST_F(Steering, NoInputAsksNobodyOnATerminalEither) {
  EXPECT_EQ(RunOnTerminal(Args({"rollback", "7", "--no-input"}), "isolate-projects\n").code, 4);
  EXPECT_TRUE(server_.service.actions.empty());
}

TEST_F(Steering, AConfirmedRollbackSaysWhatItChanges) {
  const Result result = Pgconvoy(Args({"rollback", "7", "--discard-writes", "--yes"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("1,204 that succeeded"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("rows that tenants wrote after their cutover are discarded"), std::string::npos);
  EXPECT_EQ(server_.service.actions, (std::vector<std::string>{"rollback project= discard 7"}));
}

TEST_F(Steering, ATerminalIsAskedForTheNameOfTheMigration) {
  EXPECT_EQ(RunOnTerminal(Args({"rollback", "7"}), "yes\n").code, 4);
  EXPECT_TRUE(server_.service.actions.empty());
  EXPECT_EQ(RunOnTerminal(Args({"rollback", "7"}), "isolate-projects\n").code, 0);
  EXPECT_EQ(server_.service.actions.size(), 1U);
}

TEST_F(Steering, AnswersInJsonToo) {
  const auto answer = nlohmann::json::parse(Pgconvoy(Args({"retry", "7", "--failed", "-o", "json"})).out);
  EXPECT_EQ(answer["projects_changed"], "3");
}

}  // namespace
}  // namespace pgconvoy::cli
