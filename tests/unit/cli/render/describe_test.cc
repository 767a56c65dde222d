#include "cli/render/describe.h"

#include <gtest/gtest.h>

namespace pgconvoy::render {
namespace {

constexpr int64_t kNow = 1'772'358'730'000;

ProjectView Waiting() {
  ProjectView view;
  view.ref = "acme-17";
  view.migration_id = "7";
  view.batch_id = "3";
  view.state = ProjectState::kWaiting;
  view.phase = "COPY";
  view.fence = 41;
  view.attempts = 2;
  view.wait_cause = "TARGET_TOKENS";
  view.attributes = {{"tier", "gold"}};
  view.rows_copied = 812;
  view.bytes_copied = 1536;
  view.update_ms = kNow;
  view.history = {{1, 40, Direction::kForward, "w-17", kNow - 5000, kNow - 3000, "COPY", "lost", {}},
                  {2, 41, Direction::kForward, "w-03", kNow - 2000, kNow, "COPY", "failed",
                   ErrorView{"TRANSIENT", "PGC-PG-08006", "connection lost", "tried again"}}};
  view.results = {{"BACKUP", Direction::kForward, 40, 1300, "2 tables, 812 rows, 1.5 KiB"}};
  return view;
}

TEST(DescribeProject, OpensWithTheStateAndWhyItWaits) {
  EXPECT_EQ(DescribeProject(Waiting(), {}),
            "acme-17  ⧗ WAITING in COPY (attempt 2, fence 41)\n"
            "TARGET_TOKENS: every token of the target server is in use; it goes on when a project there ends\n"
            "\n"
            "migration   7\n"
            "batch       3\n"
            "copied      812 rows, 1.5 KiB\n"
            "updated     2026-03-01 09:52:10Z\n"
            "attribute   tier=gold\n"
            "\n"
            "Attempts\n"
            "#  FENCE  DIRECTION  LAST PHASE  OUTCOME   TOOK  WORKER\n"
            "1     40  FORWARD    COPY        lost     2.0 s  w-17\n"
            "2     41  FORWARD    COPY        failed   2.0 s  w-03\n"
            "  #2 PGC-PG-08006: connection lost; tried again\n"
            "\n"
            "Phases done\n"
            "PHASE   FENCE   TOOK  RESULT\n"
            "BACKUP     40  1.3 s  2 tables, 812 rows, 1.5 KiB\n");
}

TEST(DescribeProject, SaysWhatAnOperatorCanDo) {
  ProjectView view = Waiting();
  view.state = ProjectState::kNeedsOperator;
  view.direction = Direction::kRollback;
  view.error = ErrorView{"OPERATOR", "PGC-ROLLBACK-WRITES", "the tenant has written", "use --discard-writes"};
  const std::string text = DescribeProject(view, {});
  EXPECT_NE(text.find("! NEEDS_OPERATOR in COPY of the rollback"), std::string::npos) << text;
  EXPECT_NE(text.find("pgconvoy retry 7 --project acme-17 or pgconvoy rollback 7 --project acme-17\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("error       PGC-ROLLBACK-WRITES: the tenant has written; use --discard-writes\n"),
            std::string::npos)
      << text;
}

TEST(DescribeProject, EveryWaitCauseHasASentence) {
  for (const char* cause :
       {"PAUSED_BY_USER", "RETRY_BACKOFF", "SOURCE_TOKENS", "TARGET_TOKENS", "NO_WORKER", "BATCH_ORDER"}) {
    EXPECT_NE(WaitSentence(cause), "") << cause;
  }
  EXPECT_EQ(WaitSentence("SOMETHING_NEW"), "");
}

TEST(DescribeMigration, NamesTheNextStep) {
  MigrationView view;
  view.progress.id = "7";
  view.progress.state = MigrationState::kFailed;
  view.progress.total = 2;
  view.progress.failed = 1;
  view.progress.need_operator = 1;
  view.phases = {"FENCE", "COPY"};
  const std::string needs = DescribeMigration(view, {});
  EXPECT_NE(needs.find("next   1 need you: pgconvoy get projects --migration 7 --state NEEDS_OPERATOR\n"),
            std::string::npos)
      << needs;
  EXPECT_NE(needs.find("phases      FENCE COPY\n"), std::string::npos) << needs;
  view.progress.need_operator = 0;
  const std::string failed = DescribeMigration(view, {});
  EXPECT_NE(failed.find("--state FAILED,ROLLED_BACK\n"), std::string::npos) << failed;
}

}  // namespace
}  // namespace pgconvoy::render
