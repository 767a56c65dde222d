// Customers' data in odd places, and rollbacks that must not lose it.
#include <algorithm>
#include <iterator>

#include "tests/integration/phases_fixture.h"

namespace pgconvoy::testing {
namespace {

class CustomerDataTest : public PhasesFixture {
 protected:
  std::string database() const { return "project_" + ref_; }
  absl::Status Forward() { return RunAll(*NewAttempt(), kForward); }
  absl::Status RollBack() { return RunAll(*NewAttempt(Direction::kRollback), kRollback); }
  std::string OnTarget(const std::string& sql) { return fleet_.target().QueryValue(database(), sql); }
  std::string TargetHas(const std::string& name) {
    return fleet_.target().QueryValue("postgres", "SELECT count(*) FROM pg_database WHERE datname = '" + name + "'");
  }
  std::string Verifier() {
    return fleet_.target().QueryValue(
        "postgres", "SELECT rolpassword || rolcanlogin FROM pg_authid WHERE rolname = '" + database() + "'");
  }
  void OnSource(const std::string& sql) {
    fleet_.source().Exec("platform", "SET session_replication_role = replica; " + sql);
  }
};

TEST_F(CustomerDataTest, ASecondMigrationTouchesNothingThatAnEarlierOneMade) {
  fleet_.plan().clear_checks();
  ASSERT_EQ(Describe(Forward()), "OK");
  fleet_.target().Exec(database(), "UPDATE auth.sessions SET tag = 'written by the tenant'");
  const std::string rows = fleet_.TargetHash(ref());
  const std::string verifier = Verifier();
  BeginMigration("2", ref());
  EXPECT_EQ(CodeOf(Forward()), "PGC-CHECK-FAILED");
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
  EXPECT_EQ(CodeOf(Run(*attempt, Phase::kCredentials)), "PGC-CRED-EXISTS");
  EXPECT_EQ(CodeOf(Run(*attempt, Phase::kProvision)), "PGC-DB-EXISTS");
  EXPECT_EQ(Describe(RollBack()), "OK");
  EXPECT_EQ(Verifier(), verifier);
  ASSERT_EQ(TargetHas(database()), "1");
  EXPECT_EQ(fleet_.TargetHash(ref()), rows);
}

TEST_F(CustomerDataTest, RowsInATableThatThePlanDoesNotMoveAreWritesToo) {
  OnSource("CREATE TABLE auth.audit_log (id integer, line text)");
  ASSERT_EQ(Describe(Forward()), "OK");
  fleet_.target().Exec(database(), "INSERT INTO auth.audit_log VALUES (1, 'by the tenant')");
  EXPECT_EQ(CodeOf(RollBack()), "PGC-ROLLBACK-WRITES");
  EXPECT_EQ(OnTarget("SELECT count(*) FROM auth.audit_log"), "1");
}

TEST_F(CustomerDataTest, LargeObjectsAreWritesToo) {
  ASSERT_EQ(Describe(Forward()), "OK");
  fleet_.target().Exec(database(), "SELECT lo_from_bytea(0, 'by the tenant')");
  EXPECT_EQ(CodeOf(RollBack()), "PGC-ROLLBACK-WRITES");
}

TEST_F(CustomerDataTest, ATableThatTheTenantMadeElsewhereIsAWriteBeforeCleanupToo) {
  {
    const auto attempt = NewAttempt();
    for (const Phase phase : kForward) {
      if (phase != Phase::kCleanup) {
        ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
      }
    }
  }
  fleet_.target().Exec(database(), "CREATE SCHEMA app; CREATE TABLE app.notes (id integer)");
  EXPECT_EQ(CodeOf(RollBack()), "PGC-ROLLBACK-WRITES");
}

TEST_F(CustomerDataTest, SequencesThatNoColumnOwnsGoOnWhereTheyWere) {
  OnSource(
      "CREATE SEQUENCE auth.ticket_numbers; SELECT setval('auth.ticket_numbers', 4711); ALTER TABLE auth.sessions "
      "ADD "
      "COLUMN ticket bigint DEFAULT nextval('auth.ticket_numbers')");
  ASSERT_EQ(Describe(Forward()), "OK");
  EXPECT_EQ(OnTarget("SELECT last_value FROM auth.ticket_numbers"),
            fleet_.source().QueryValue("platform", "SELECT last_value FROM auth.ticket_numbers"));
}

TEST_F(CustomerDataTest, ARegistryColumnThatWritesItsValuesInAnotherWayCanBeSwitchedBack) {
  OnSource(
      "ALTER TABLE public.projects ADD COLUMN generation numeric(6,2) DEFAULT 1, ADD COLUMN isolated boolean DEFAULT "
      "false");
  (*fleet_.plan().mutable_cutover()->mutable_set())["generation"] = "2";
  (*fleet_.plan().mutable_cutover()->mutable_set())["isolated"] = "yes";
  ASSERT_EQ(Describe(Forward()), "OK");
  ASSERT_EQ(Describe(RollBack()), "OK");
  EXPECT_EQ(fleet_.source().QueryValue(
                "platform", "SELECT generation || ' ' || isolated FROM public.projects WHERE ref = '" + ref() + "'"),
            "1.00 false");
}

TEST_F(CustomerDataTest, RowsOfInheritingTablesAreNotMovedIntoTheirParent) {
  OnSource("CREATE TABLE auth.old_sessions (note text) INHERITS (auth.sessions)");
  OnSource("INSERT INTO auth.old_sessions SELECT *, 'note' FROM ONLY auth.sessions WHERE project_ref = '" + ref() +
           "' LIMIT 1");
  EXPECT_EQ(CodeOf(Forward()), "PGC-SRC-TABLE");
}

TEST_F(CustomerDataTest, ARollbackThatFailsWhileItSetsADatabaseAsideIsFinishedByTheNext) {
  ASSERT_EQ(Describe(Forward()), "OK");
  fleet_.target().Exec(database(), "UPDATE auth.sessions SET tag = 'written by the tenant'");
  const std::string rows = fleet_.TargetHash(ref());
  discard_writes_ = true;
  // The first one cannot rename the role, for its new name is taken.
  const std::string taken = worker::AttemptNames("store-under-test", ref(), fence_ + 1).kept;
  fleet_.target().Exec("postgres", "CREATE ROLE " + taken);
  EXPECT_FALSE(RollBack().ok());
  ASSERT_EQ(Describe(RollBack()), "OK");
  const std::string kept =
      fleet_.target().QueryValue("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'pgc_kept_%'");
  ASSERT_NE(kept, "");
  fleet_.target().Exec("postgres", "ALTER DATABASE " + kept + " ALLOW_CONNECTIONS true");
  EXPECT_EQ(fleet_.target().QueryValue(kept, "SELECT count(*) > 0 FROM auth.sessions WHERE tag LIKE 'written%'"),
            "t");
}

TEST_F(CustomerDataTest, ATenantThatWritesACommentOnItsDatabaseDoesNotLoseItsWrites) {
  ASSERT_EQ(Describe(Forward()), "OK");
  fleet_.target().Exec(database(), "UPDATE auth.sessions SET tag = 'written by the tenant'; COMMENT ON DATABASE \"" +
                                       database() + "\" IS 'mine'");
  const absl::Status refused = RollBack();
  EXPECT_EQ(VerdictOf(refused), Verdict::kOperator) << Describe(refused);
  EXPECT_EQ(
      fleet_.source().QueryValue("platform", "SELECT database_name FROM public.projects WHERE ref = '" + ref() + "'"),
      database());
}

TEST_F(CustomerDataTest, ARegistryRowThatSomebodyChangedStopsARollbackBeforeTheTenantIsStopped) {
  ASSERT_EQ(Describe(Forward()), "OK");
  fleet_.source().Exec("platform",
                       "UPDATE public.projects SET credential_status = 'rotated' WHERE ref = '" + ref() + "'");
  EXPECT_EQ(CodeOf(RollBack()), "PGC-ROLLBACK-REGISTRY");
  EXPECT_EQ(
      fleet_.target().QueryValue("postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = '" + database() + "'"),
      "t");
}

TEST_F(CustomerDataTest, ARegistryRowThatSomebodyChangedBeforeTheCutoverDoesNotStopARollback) {
  {
    const auto attempt = NewAttempt();
    for (const Phase phase : {Phase::kFence, Phase::kPreValidation, Phase::kFreeze, Phase::kCredentials}) {
      ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
    }
  }
  fleet_.source().Exec("platform",
                       "UPDATE public.projects SET credential_status = 'rotated' WHERE ref = '" + ref() + "'");
  EXPECT_EQ(Describe(RollBack()), "OK");
}

TEST_F(CustomerDataTest, RowsThatBreakACheckWhichWasNeverValidatedMoveAsTheyAre) {
  OnSource("ALTER TABLE auth.sessions ADD CONSTRAINT tagged CHECK (tag = 'none of them') NOT VALID");
  ASSERT_EQ(Describe(Forward()), "OK");
}

TEST_F(CustomerDataTest, ADefinitionThatChangedSinceTheWorkerReadItIsNotMissed) {
  ASSERT_EQ(Describe(Forward()), "OK");
  OnSource("CREATE POLICY own ON auth.users USING (id = auth.uid())");
  BeginMigration("2", fleet_.refs()[1]);
  EXPECT_EQ(CodeOf(Forward()), "PGC-VERIFY-SCHEMA");
  ASSERT_EQ(Describe(RollBack()), "OK");
  ASSERT_EQ(Describe(Forward()), "OK");
  EXPECT_EQ(OnTarget("SELECT count(*) FROM pg_policy"), "1");
}

TEST_F(CustomerDataTest, WithoutACutoverARollbackLooksForWritesAllTheSame) {
  fleet_.plan().clear_cutover();
  fleet_.plan().clear_checks();
  const auto no_cutover = [](const auto& phases) {
    std::vector<Phase> left;
    std::copy_if(std::begin(phases), std::end(phases), std::back_inserter(left),
                 [](Phase phase) { return phase != Phase::kCutover; });
    return left;
  };
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), no_cutover(kForward))), "OK");
  fleet_.target().Exec(database(), "UPDATE auth.sessions SET tag = 'written by the tenant'");
  EXPECT_EQ(CodeOf(RunAll(*NewAttempt(Direction::kRollback), no_cutover(kRollback))), "PGC-ROLLBACK-WRITES");
  ASSERT_EQ(TargetHas(database()), "1");
  discard_writes_ = true;
  ASSERT_EQ(Describe(RunAll(*NewAttempt(Direction::kRollback), no_cutover(kRollback))), "OK");
  EXPECT_EQ(TargetHas(database()), "0");
}

TEST_F(CustomerDataTest, NamesWithCapitalsDotsAndQuotesMove) {
  OnSource(R"(CREATE TABLE auth."Odd.""Table" (project_ref text, "Col ""x" text, "number" serial);
              INSERT INTO auth."Odd.""Table" SELECT ref, E'\\.' FROM public.projects)");
  auto* const table = fleet_.plan().add_tables();
  table->set_table(R"(auth."Odd.""Table")");
  table->set_where("project_ref = {ref}");
  ASSERT_EQ(Describe(Forward()), "OK");
  EXPECT_EQ(OnTarget(R"(SELECT string_agg(project_ref || "Col ""x", ',') FROM auth."Odd.""Table")"), ref() + "\\.");
}

TEST_F(CustomerDataTest, ASchemaWithABackslashIsComparedToo) {
  OnSource(R"(CREATE SCHEMA "we\ird"; CREATE TABLE "we\ird".t (id integer))");
  fleet_.plan().mutable_target()->add_schemas("we\\ird");
  const auto attempt = NewAttempt();
  const auto schema = schemas_.Get(*attempt);
  ASSERT_TRUE(schema.ok()) << Describe(schema.status());
  EXPECT_TRUE(std::any_of((*schema)->objects.begin(), (*schema)->objects.end(),
                          [](const std::string& object) { return object.find("we\\ird") != std::string::npos; }));
}

TEST_F(CustomerDataTest, FilledMaterializedViewsAreFilledAgain) {
  OnSource("CREATE MATERIALIZED VIEW auth.counted AS SELECT count(*) AS users FROM auth.users");
  ASSERT_EQ(Describe(Forward()), "OK");
  EXPECT_EQ(OnTarget("SELECT users = (SELECT count(*) FROM auth.users) FROM auth.counted"), "t");
}

TEST_F(CustomerDataTest, AConditionStaysACondition) {
  fleet_.plan().mutable_tables(1)->set_where("project_ref = {ref} LIMIT 1");
  EXPECT_FALSE(Forward().ok());
  EXPECT_EQ(fleet_.source().QueryValue("platform", "SELECT count(database_name) FROM public.projects"), "0");
}

TEST_F(CustomerDataTest, APlanThatNoWorkerCanRunIsRefusedAtOnce) {
  v1::Plan plan = fleet_.plan();
  plan.clear_target();
  worker::AttemptGrant grant;
  grant.ref = ref();
  const auto attempt = worker::Attempt::Create(plan, grant, pool_, schemas_, reporter_);
  EXPECT_EQ(CodeOf(attempt.status()), "PGC-PLAN-TARGET");
}

}  // namespace
}  // namespace pgconvoy::testing
