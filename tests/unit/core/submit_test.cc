#include "tests/unit/core/harness.h"

namespace pgconvoy::core {
namespace {

using SubmitTest = Harness;

struct RefusalCase {
  const char* name;
  std::vector<std::string> refs;
  const char* code;
};

class Refusal : public Harness, public ::testing::WithParamInterface<RefusalCase> {};

TEST_P(Refusal, ChangesNothing) {
  std::vector<ProjectInput> projects;
  for (const std::string& ref : GetParam().refs) {
    projects.push_back({ref, "", 0, "source", "target"});
  }
  const Reply reply = TrySubmit(Spec(), projects);
  EXPECT_EQ(reply.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(reply.status), GetParam().code);
  EXPECT_TRUE(rows.migrations().empty());
  EXPECT_TRUE(rows.projects().empty());
  EXPECT_TRUE(rows.events().empty());
}

INSTANTIATE_TEST_SUITE_P(Submit,
                         Refusal,
                         ::testing::Values(RefusalCase{"empty", {}, "PGC-SUBMIT-EMPTY"},
                                           RefusalCase{"duplicate", {"a", "b", "a"}, "PGC-SUBMIT-DUPLICATE"},
                                           RefusalCase{"illegal", {"a", "B"}, "PGC-SUBMIT-REF"},
                                           RefusalCase{"control", {"a\x1b[31m"}, "PGC-SUBMIT-REF"}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(SubmitTest, RefusesPhasesThatDoNotBeginWithFence) {
  MigrationSpec spec = Spec();
  spec.phases = {Phase::kCleanup};
  EXPECT_EQ(CodeOf(TrySubmit(spec, Inputs(1)).status), "PGC-SUBMIT-SPEC");
}

TEST_F(SubmitTest, AnswersAKnownRequestWithItsMigration) {
  const MigrationId migration = Submit(3, Spec());
  const Reply again = TrySubmit(Spec(), Inputs(3));
  EXPECT_TRUE(again.status.ok());
  EXPECT_TRUE(again.existed);
  EXPECT_EQ(again.migration, migration);
  EXPECT_EQ(rows.migrations().size(), 1u);
}

TEST_F(SubmitTest, KnowsTheRequestOfAnEndedMigrationAfterAReload) {
  const MigrationId migration = Submit(1, Spec());
  Order(CommandKind::kCancel, migration);
  EXPECT_EQ(StateOf(migration), MigrationState::kCancelled);
  Reload();
  const Reply again = TrySubmit(Spec(), Inputs(1));
  EXPECT_TRUE(again.existed);
  EXPECT_EQ(again.migration, migration);
}

TEST_F(SubmitTest, NamesTenBusyProjectsAndTheirMigration) {
  Submit(12, Spec());
  const Reply reply = TrySubmit(Spec("r2"), Inputs(12));
  EXPECT_EQ(CodeOf(reply.status), "PGC-PROJECT-BUSY");
  EXPECT_NE(MessageOf(reply.status).find("p9 (migration 1) and 2 more"), std::string::npos)
      << MessageOf(reply.status);
  EXPECT_EQ(rows.migrations().size(), 1u);
}

TEST_F(SubmitTest, TakesAProjectAgainOnceItsMigrationHasEnded) {
  const MigrationId first = Submit(1, Spec());
  EXPECT_EQ(CodeOf(TrySubmit(Spec("r2"), Inputs(1)).status), "PGC-PROJECT-BUSY");
  Order(CommandKind::kCancel, first);
  EXPECT_TRUE(TrySubmit(Spec("r3"), Inputs(1)).status.ok());
}

TEST_F(SubmitTest, CutsBatchesByServerPairSizeAndBytes) {
  MigrationSpec spec = Spec();
  spec.batch_size = 2;
  spec.batch_bytes = 100;
  const Reply reply = TrySubmit(spec, {{"a", "", 10, "s1", "t1"},
                                       {"b", "", 0, "s2", "t1"},
                                       {"c", "", 60, "s1", "t1"},
                                       {"d", "", 60, "s1", "t1"},
                                       {"e", "", 10, "s1", "t1"},
                                       {"f", "", 500, "s1", "t1"}});
  ASSERT_TRUE(reply.status.ok());
  std::vector<std::string> batches;
  for (const auto& [id, batch] : rows.batches()) {
    std::string refs = batch.source_server + ":";
    for (const auto& [project_id, project] : rows.projects()) {
      if (project.batch == id) refs += project.ref;
    }
    batches.push_back(refs + ":" + std::to_string(batch.estimated_bytes));
  }
  EXPECT_EQ(batches, (std::vector<std::string>{"s1:f:500", "s1:c:60", "s1:da:70", "s1:e:10", "s2:b:0"}));
  EXPECT_EQ(rows.migration(reply.migration).estimated_bytes, 640);
}

TEST_F(SubmitTest, KeepsTheOrderOfTheInputWithoutEstimates) {
  Submit(9, Spec());
  ProjectId before;
  for (int i = 0; i < 9; ++i) {
    const ProjectRow& row = rows.project(MigrationId{1}, "p" + std::to_string(i));
    EXPECT_LT(before, row.id);
    EXPECT_EQ(row.batch.value, 1 + i / 4);
    before = row.id;
  }
}

}  // namespace
}  // namespace pgconvoy::core
