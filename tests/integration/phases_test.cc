// Every phase forward and back, repeated and fenced.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "tests/integration/phases_fixture.h"
#include "worker/phases/databases.h"
#include "worker/phases/reconcile.h"

namespace pgconvoy::testing {
namespace {

using ::testing::HasSubstr;

using PhasesTest = PhasesFixture;

TEST_F(PhasesTest, OneAttemptIsolatesAProject) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunAll(*attempt, kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotIsolated(fleet_.refs()[0]), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(PhasesTest, EveryPhaseCanBeRepeatedByTheNextAttempt) {
  for (const Phase phase : kForward) {
    {
      const auto attempt = NewAttempt();
      ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
      ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
      // Its report never arrived.
      done_.pop_back();
    }
    const auto attempt = NewAttempt();
    ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
    ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
  }
  EXPECT_EQ(fleet_.WhyNotIsolated(fleet_.refs()[0]), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(PhasesTest, RollbackFromEveryPhaseLeavesNothing) {
  const std::string before = fleet_.SourceHash(fleet_.refs()[0]);
  for (size_t last = 0; last < std::size(kForward); ++last) {
    SCOPED_TRACE(Name(kForward[last]));
    done_.clear();
    {
      const auto attempt = NewAttempt();
      for (size_t i = 0; i <= last; ++i) {
        ASSERT_EQ(Describe(Run(*attempt, kForward[i])), "OK");
      }
    }
    const auto attempt = NewAttempt(Direction::kRollback);
    ASSERT_EQ(Describe(RunAll(*attempt, kRollback)), "OK");
    EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[0]), "");
    EXPECT_EQ(fleet_.Leftovers(), "");
  }
  EXPECT_EQ(fleet_.SourceHash(fleet_.refs()[0]), before);
}

// Its triggers would run with the registrar's rights.
TEST_F(PhasesTest, ControlTablesThatSomebodyElseHasMadeAreNotUsed) {
  fleet_.source().Exec("platform",
                       "CREATE ROLE stranger; CREATE SCHEMA pgconvoy AUTHORIZATION stranger;"
                       "GRANT ALL ON SCHEMA pgconvoy TO PUBLIC");
  const auto refused = [this] { return Describe(Run(*NewAttempt(), Phase::kFence)); };
  EXPECT_THAT(refused(), HasSubstr("PGC-CONTROL-FOREIGN"));
  fleet_.source().Exec("platform",
                       "ALTER SCHEMA pgconvoy OWNER TO pgconvoy_registrar;"
                       "CREATE TABLE pgconvoy.fence (store_id text, project text, fence bigint,"
                       " raised_at timestamptz DEFAULT now(), PRIMARY KEY (store_id, project));"
                       "ALTER TABLE pgconvoy.fence OWNER TO stranger; GRANT ALL ON pgconvoy.fence TO PUBLIC");
  EXPECT_THAT(refused(), HasSubstr("belongs to \"stranger\" and not to \"pgconvoy_registrar\""));
  EXPECT_EQ(fleet_.source().QueryValue("platform", "SELECT count(*) FROM pgconvoy.fence"), "0");
  fleet_.source().Exec("platform", "DROP OWNED BY stranger; DROP ROLE stranger");
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunAll(*attempt, kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotIsolated(fleet_.refs()[0]), "");
}

TEST_F(PhasesTest, AnOlderAttemptIsRefusedByTheFence) {
  const auto old = NewAttempt();
  ASSERT_EQ(Describe(Run(*old, Phase::kFence)), "OK");
  const auto young = NewAttempt();
  ASSERT_EQ(Describe(Run(*young, Phase::kFence)), "OK");
  for (const Phase phase : {Phase::kFence, Phase::kFreeze, Phase::kCredentials}) {
    const absl::Status refused = Run(*old, phase);
    EXPECT_EQ(VerdictOf(refused), Verdict::kFenced) << Describe(refused);
  }
}

// What a failover to a standby without the last commits, or an older copy, does: the next attempt raises it again.
TEST_F(PhasesTest, AServerThatHasForgottenTheFenceIsNotTakenForANewerAttempt) {
  const struct {
    PgCluster& server;
    std::string database;
    Phase phase;
  } places[] = {{fleet_.source(), "platform", Phase::kFreeze}, {fleet_.target(), "pgconvoy", Phase::kCredentials}};
  for (const auto& place : places) {
    for (const char* const forget : {"UPDATE pgconvoy.fence SET fence = fence - 1", "DELETE FROM pgconvoy.fence"}) {
      const auto attempt = NewAttempt();
      ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
      place.server.Exec(place.database, forget);
      const absl::Status refused = Run(*attempt, place.phase);
      EXPECT_EQ(CodeOf(refused), "PGC-FENCE-FORGOTTEN") << forget << ": " << Describe(refused);
      EXPECT_EQ(VerdictOf(refused), Verdict::kTransient);
    }
  }
}

// Its writes would have gone on until the registry sent them elsewhere.
TEST_F(PhasesTest, AProjectWhoseFreezeIsGoneIsNotCutOver) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kVerify)), "OK");
  fleet_.source().Exec("platform", "DELETE FROM pgconvoy.freeze");
  const absl::Status refused = Run(*attempt, Phase::kCutover);
  EXPECT_EQ(CodeOf(refused), "PGC-CUT-NOT-FROZEN") << Describe(refused);
  EXPECT_EQ(VerdictOf(refused), Verdict::kPermanent);
  EXPECT_EQ(fleet_.source().QueryValue("platform", "SELECT count(*) FROM pgconvoy.cutover"), "0");
}

TEST_F(PhasesTest, WhoeverElseCouldConnectIsNamed) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kCutover)), "OK");
  const std::string project = "\"project_" + fleet_.refs()[0] + "\"";
  fleet_.target().Exec("postgres",
                       "CREATE ROLE grp; CREATE ROLE outsider LOGIN; CREATE ROLE direct_member LOGIN IN ROLE grp; "
                       "CREATE ROLE between IN ROLE grp; CREATE ROLE indirect_member LOGIN IN ROLE between; "
                       "CREATE ROLE without_inheritance LOGIN NOINHERIT IN ROLE grp");
  const std::string connect = " CONNECT ON DATABASE " + project;
  const struct {
    std::string let_in;
    std::string take_back;
    std::string named;
  } ways[] = {
      {"GRANT" + connect + " TO PUBLIC", "REVOKE" + connect + " FROM PUBLIC", "outsider"},
      {"GRANT" + connect + " TO outsider", "REVOKE" + connect + " FROM outsider", "database: outsider (REVOKE"},
      {"GRANT" + connect + " TO grp", "REVOKE" + connect + " FROM grp",
       "database: direct_member, indirect_member (REVOKE"},
      {"GRANT " + project + " TO outsider", "REVOKE " + project + " FROM outsider", "database: outsider (REVOKE"},
  };
  for (const auto& way : ways) {
    fleet_.target().Exec("postgres", way.let_in);
    EXPECT_THAT(Describe(Run(*attempt, Phase::kPostValidation)),
                ::testing::AllOf(HasSubstr("nobody-else-connects"), HasSubstr(way.named)))
        << way.let_in;
    fleet_.target().Exec("postgres", way.take_back);
  }
  EXPECT_EQ(Describe(Run(*attempt, Phase::kPostValidation)), "OK");
}

TEST_F(PhasesTest, ASourceThatWasWrittenToIsNotCutOver) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kVerify)), "OK");
  fleet_.source().Exec(
      "platform",
      "SET session_replication_role = replica; UPDATE auth.users SET aud = 'changed' WHERE id = (SELECT "
      "id FROM auth.users WHERE project_ref = '" +
          fleet_.refs()[0] + "' LIMIT 1)");
  EXPECT_EQ(CodeOf(Run(*attempt, Phase::kCutover)), "PGC-CUT-SOURCE-DIRTY");
}

TEST_F(PhasesTest, ATargetThatWasWrittenToIsNotRolledBack) {
  {
    const auto attempt = NewAttempt();
    ASSERT_EQ(Describe(RunAll(*attempt, kForward)), "OK");
  }
  const std::string ref = fleet_.refs()[0];
  fleet_.target().Exec("project_" + ref, "UPDATE auth.sessions SET tag = 'written by the tenant'");
  const std::string written = fleet_.TargetHash(ref);
  {
    const auto attempt = NewAttempt(Direction::kRollback);
    const absl::Status refused = RunAll(*attempt, kRollback);
    EXPECT_EQ(CodeOf(refused), "PGC-ROLLBACK-WRITES") << Describe(refused);
    EXPECT_EQ(VerdictOf(refused), Verdict::kOperator);
  }
  EXPECT_EQ(fleet_.TargetHash(ref), written);
  EXPECT_EQ(fleet_.target().QueryValue("postgres",
                                       "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'project_" + ref + "'"),
            "t");
}

TEST_F(PhasesTest, AMisspeltColumnIsNamedWithTheNearestOne) {
  v1::Plan& plan = fleet_.plan();
  plan.mutable_tables(0)->set_where("projekt_ref = {ref}");
  plan.mutable_links(0)->set_from("auth.refresh_tokens.userid");
  (*plan.mutable_cutover()->mutable_set())["database_nam"] = "x";
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
  const std::string error = Describe(Run(*attempt, Phase::kPreValidation));
  EXPECT_THAT(error, HasSubstr("did you mean \"project_ref\"?"));
  EXPECT_THAT(error, HasSubstr("did you mean \"user_id\"?"));
  EXPECT_THAT(error, HasSubstr("did you mean \"database_name\"?"));
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

TEST_F(PhasesTest, ColumnsArriveWithTheirNewValues) {
  v1::Table& users = *fleet_.plan().mutable_tables(0);
  ASSERT_EQ(users.table(), "auth.users");
  v1::Column& email = *users.add_columns();
  email.set_name("email");
  email.set_expression("upper(email)");
  v1::Column& aud = *users.add_columns();
  aud.set_name("aud");
  (*aud.mutable_values())["authenticated"] = "member";
  const std::string sum = "SELECT md5(string_agg(upper(email) || '|member', ',' ORDER BY id)) FROM auth.users";
  const std::string expected = fleet_.source().QueryValue("platform", sum + " WHERE project_ref = '" + ref() + "'");
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunAll(*attempt, kForward)), "OK");
  EXPECT_EQ(fleet_.target().QueryValue(
                "project_" + ref(), "SELECT md5(string_agg(email || '|' || aud, ',' ORDER BY id)) FROM auth.users"),
            expected);
}

TEST_F(PhasesTest, AValueWithoutANewOneStopsTheProjectBeforeAnythingIsMade) {
  v1::Column& aud = *fleet_.plan().mutable_tables(0)->add_columns();
  aud.set_name("aud");
  (*aud.mutable_values())["somebody"] = "member";
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
  EXPECT_THAT(Describe(Run(*attempt, Phase::kPreValidation)), HasSubstr("auth.users.aud holds \"authenticated\""));
  EXPECT_EQ(fleet_.WhyNotUntouched(ref()), "");
}

// Other projects' logins come and go while one is looked at.
TEST_F(PhasesTest, LoginsThatEndMeanwhileAreNobodyWhoConnects) {
  const auto attempt = NewAttempt();
  for (const Phase phase : {Phase::kFence, Phase::kPreValidation, Phase::kFreeze, Phase::kCredentials,
                            Phase::kProvision, Phase::kBackup, Phase::kCopy, Phase::kVerify, Phase::kCutover}) {
    ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
  }
  std::string create;
  std::string drop;
  for (int i = 0; i < 100; ++i) {
    create += "CREATE ROLE passing_" + std::to_string(i) + " LOGIN; ";
    drop += "DROP ROLE passing_" + std::to_string(i) + "; ";
  }
  std::atomic<bool> stop = false;
  std::thread others([&] {
    while (!stop) {
      fleet_.target().Exec("postgres", create);
      fleet_.target().Exec("postgres", drop);
    }
  });
  for (int i = 0; i < 200; ++i) {
    const std::string outcome = Describe(Run(*attempt, Phase::kPostValidation));
    EXPECT_EQ(outcome, "OK");
    if (outcome != "OK") {
      break;
    }
  }
  stop = true;
  others.join();
}

// The reconciler of another worker may be faster.
TEST_F(PhasesTest, ADatabaseThatIsGoneAlreadyNeedNotBeDropped) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
  auto provisioner = attempt->Provisioner();
  ASSERT_TRUE(provisioner.ok()) << Describe(provisioner.status());
  worker::DatabaseInfo database;
  database.name = attempt->names().DoomedDatabase(7);
  database.own = true;
  EXPECT_EQ(Describe(worker::DoomAndDrop(**provisioner, *attempt, database, 0)), "OK");
}

// An attempt died between the two steps that doom a database.
TEST_F(PhasesTest, ADatabaseThatWasShutToBeDroppedIsDroppedAndMadeAgain) {
  {
    const auto attempt = NewAttempt();
    for (const Phase phase :
         {Phase::kFence, Phase::kPreValidation, Phase::kFreeze, Phase::kCredentials, Phase::kProvision}) {
      ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
    }
  }
  fleet_.target().Exec("postgres", "ALTER DATABASE \"project_" + ref() + "\" ALLOW_CONNECTIONS false");
  const auto next = NewAttempt();
  ASSERT_EQ(Describe(Run(*next, Phase::kFence)), "OK");
  for (const Phase phase : {Phase::kProvision, Phase::kBackup, Phase::kCopy, Phase::kVerify, Phase::kCutover,
                            Phase::kPostValidation, Phase::kCleanup}) {
    ASSERT_EQ(Describe(Run(*next, phase)), "OK");
  }
  EXPECT_EQ(fleet_.WhyNotIsolated(ref()), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

// Nothing but its name keeps CREATE DATABASE from harm: one that was on its way may arrive at any time.
TEST_F(PhasesTest, ARollbackRemovesTheDatabaseThatAnOlderAttemptMakesBehindIt) {
  const auto zombie = NewAttempt();
  for (const Phase phase : {Phase::kFence, Phase::kPreValidation, Phase::kFreeze, Phase::kCredentials}) {
    ASSERT_EQ(Describe(Run(*zombie, phase)), "OK");
  }
  const auto attempt = NewAttempt(Direction::kRollback);
  for (const Phase phase : kRollback) {
    if (phase == Phase::kVerify) {
      auto provisioner = zombie->Provisioner();
      ASSERT_TRUE(provisioner.ok()) << Describe(provisioner.status());
      const std::string create = "CREATE DATABASE " + zombie->names().temporary_database;
      ASSERT_EQ(Describe((*provisioner)->ExecScript(create)), "OK");
    }
    ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
  }
  EXPECT_EQ(fleet_.WhyNotUntouched(fleet_.refs()[0]), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(PhasesTest, TheReconcilerRemovesWhatADeadAttemptLeft) {
  {
    const auto attempt = NewAttempt();
    for (const Phase phase : {Phase::kFence, Phase::kPreValidation, Phase::kCredentials, Phase::kProvision,
                              Phase::kBackup, Phase::kCopy}) {
      ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
    }
  }
  const std::string left = fleet_.Leftovers();
  EXPECT_NE(left, "");
  const auto& server = fleet_.plan().servers().at("isolated");
  v1::ReconcileTask task;
  task.add_live_refs(fleet_.refs()[0]);
  task.set_next_fence(fence_ + 1);
  std::vector<std::string> removed;
  const auto reconcile = [&] {
    removed.clear();
    return Describe(worker::Reconcile(pool_, server, "store-under-test", task,
                                      [&](const std::string& what) { removed.push_back(what); }));
  };
  EXPECT_EQ(reconcile(), "OK");
  EXPECT_TRUE(removed.empty());
  task.clear_live_refs();
  task.set_next_fence(fence_);
  EXPECT_EQ(reconcile(), "OK");
  EXPECT_EQ(fleet_.Leftovers(), left) << "it may have begun after the list was read";
  task.set_next_fence(fence_ + 1);
  EXPECT_EQ(reconcile(), "OK");
  EXPECT_FALSE(removed.empty());
  EXPECT_EQ(fleet_.Leftovers(), "");
}

}  // namespace
}  // namespace pgconvoy::testing
