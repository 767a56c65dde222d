#include "cli/render/progress.h"

#include <gtest/gtest.h>

namespace pgconvoy::render {
namespace {

ProgressView Running() {
  ProgressView view;
  view.id = "7";
  view.name = "isolate-projects";
  view.total = 1000;
  view.succeeded = 370;
  view.warned = 8;
  view.failed = 2;
  view.need_operator = 1;
  view.running = 16;
  view.waiting = 3;
  view.pending = 600;
  view.rows_copied = 1'234'567;
  view.bytes_copied = 17'825'792;
  view.estimated_bytes = 53'477'376;
  view.now_ms = 1'772'358'730'000;
  view.elapsed_ms = 185'000;
  return view;
}

TEST(Progress, DrawsABlockForATerminalOf80Columns) {
  ProgressView view = Running();
  view.projects_per_second = 2.05;
  view.bytes_per_second = 96'000;
  view.eta_ms = 302'000;
  EXPECT_EQ(ProgressBlock(view, {.width = 80}),
            "migration 7  isolate-projects  ▶ RUNNING  09:52:10 UTC\n"
            "done   381/1,000 █████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 38.1%\n"
            "state  ✔ SUCCEEDED 370  ⚠ SUCCEEDED_WITH_WARNINGS 8  ✖ FAILED 2\n"
            "       ! NEEDS_OPERATOR 1  ▶ RUNNING 16  ⧗ WAITING 3  · PENDING 600\n"
            "copied 17.0 MiB of about 51.0 MiB  1,234,567 rows  93.8 KiB/s\n"
            "time   3m05s  123.0 projects/min  ETA in 5m02s\n");
}

TEST(Progress, DrawsABlockInAscii) {
  const std::string block = ProgressBlock(Running(), {.ascii = true, .width = 80});
  for (const char c : block) {
    EXPECT_LT(static_cast<unsigned char>(c), 0x80) << block;
  }
}

TEST(Progress, NoLineOfTheBlockIsWiderThanTheTerminal) {
  ProgressView view = Running();
  view.name = std::string(63, 'n');
  view.state = MigrationState::kSucceededWithWarnings;
  for (const int width : {40, 60, 80, 200}) {
    const std::string block = ProgressBlock(view, {.width = width});
    for (size_t from = 0; from < block.size();) {
      const size_t end = block.find('\n', from);
      EXPECT_LE(Columns(block.substr(from, end - from)), static_cast<size_t>(width)) << block;
      from = end + 1;
    }
  }
}

TEST(Progress, HasNoEstimateBeforeThereIsARate) {
  EXPECT_NE(ProgressBlock(Running(), {.width = 80}).find("ETA –"), std::string::npos);
  EXPECT_EQ(ProgressLine(Running()).find("eta_s"), std::string::npos);
}

TEST(Progress, WritesALineOfKeysAndValues) {
  EXPECT_EQ(
      ProgressLine(Running()),
      "2026-03-01 09:52:10Z migration=7 state=RUNNING done=381/1000 percent=38.1 succeeded=370 warned=8 failed=2 "
      "need_operator=1 running=16 waiting=3 pending=600 rows=1234567 bytes=17825792\n");
}

TEST(Progress, ReachesAHundredPercentOnlyAtTheEndAndNeverMore) {
  EXPECT_EQ(Permille(999'999, 1'000'000), 999);
  EXPECT_EQ(Permille(1'000'000, 1'000'000), 1000);
  EXPECT_EQ(Permille(7, 5), 1000);
  EXPECT_EQ(Permille(-1, 5), 0);
  EXPECT_EQ(Permille(0, 0), 0);
  EXPECT_EQ(Permille(INT64_MAX / 2, INT64_MAX), 499);
}

TEST(Progress, TheOutcomeNamesEveryStateThatOccurs) {
  ProgressView view;
  view.id = "7";
  view.state = MigrationState::kFailed;
  view.total = 3;
  view.succeeded = 2;
  view.rolled_back = 1;
  view.rows_copied = 12;
  view.elapsed_ms = 1500;
  EXPECT_EQ(OutcomeLine(view, {}), "migration 7 ✖ FAILED after 1.5 s: 2 SUCCEEDED 1 ROLLED_BACK; 12 rows, 0 B\n");
}

}  // namespace
}  // namespace pgconvoy::render
