// Tables that are too large for what is right for small ones: their indexes are made after their rows, by several
// sessions, and before a cutover they are not read again when PostgreSQL can tell that nobody wrote to them.
#include <gmock/gmock.h>

#include "tests/integration/phases_fixture.h"
#include "tests/integration/relocation.h"

namespace pgconvoy::testing {
namespace {

constexpr char kManyRows[] = R"sql(
SET ROLE legacy_app;
CREATE TABLE app.many (
  id bigint PRIMARY KEY,
  code text NOT NULL,
  slot int NOT NULL,
  tags text[],
  span int4range,
  filler text,
  CONSTRAINT many_code UNIQUE (code) INCLUDE (slot) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT many_slot UNIQUE (slot) DEFERRABLE,
  CONSTRAINT many_span EXCLUDE USING gist (span WITH &&)
);
INSERT INTO app.many
SELECT n, 'c' || n, n, ARRAY['a' || n % 7, 'b'], int4range(n * 2, n * 2 + 1), NULL FROM generate_series(1, 12000) n;
CREATE INDEX ON app.many (lower(code) text_pattern_ops, slot DESC NULLS LAST) WITH (fillfactor = 70);
CREATE INDEX many_tags ON app.many USING gin (tags) WHERE slot % 2 = 0;
CREATE INDEX "many ""odd""" ON app.many (slot);
CREATE INDEX many_told ON app.many (slot, id);
COMMENT ON INDEX app.many_told IS 'that somebody has said something about';
CREATE INDEX many_sorted ON app.many (code, id);
ALTER TABLE app.many CLUSTER ON many_sorted;
CREATE UNIQUE INDEX many_identity ON app.many (id, slot);
ALTER TABLE app.many REPLICA IDENTITY USING INDEX many_identity;
CREATE INDEX many_measured ON app.many ((slot + 1));
ALTER INDEX app.many_measured ALTER COLUMN 1 SET STATISTICS 500;
CREATE TABLE app.seen (id bigint PRIMARY KEY, what text);
INSERT INTO app.seen SELECT n, 'x' FROM generate_series(1, 12000) n;
CREATE VIEW app.seen_by_key AS SELECT id, what, count(*) FROM app.seen GROUP BY id;
CREATE TABLE app.child (id int PRIMARY KEY, parent bigint REFERENCES app.many (id), seen bigint REFERENCES app.seen);
INSERT INTO app.child VALUES (1, 5, 6);
)sql";

// Its partitions have indexes of their own, others of all of them, and one is partitioned itself.
constexpr char kParts[] = R"sql(
SET ROLE legacy_app;
CREATE TABLE app.parts (
  id bigint NOT NULL,
  at date NOT NULL,
  what text NOT NULL,
  PRIMARY KEY (id, at),
  CONSTRAINT parts_what UNIQUE (what, at, id) DEFERRABLE INITIALLY DEFERRED
) PARTITION BY RANGE (at);
CREATE TABLE app.parts_old PARTITION OF app.parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE app.parts_new PARTITION OF app.parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
  PARTITION BY HASH (id);
CREATE TABLE app."parts ""new"" 0" PARTITION OF app.parts_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.parts_new_1 PARTITION OF app.parts_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO app.parts SELECT n, '2025-12-01'::date + n % 60, 'w' || n FROM generate_series(1, 12000) n;
CREATE INDEX parts_at ON app.parts (at DESC, lower(what));
CREATE INDEX parts_upper ON app.parts USING hash (upper(what));
CREATE INDEX told ON app.parts (id, what);
COMMENT ON INDEX app.parts_new_1_id_what_idx IS 'that somebody has said something about';
CREATE INDEX parts_odd ON app.parts_old (what) WHERE id % 2 = 1;
CREATE UNIQUE INDEX ON app.parts_new_1 (id);
)sql";

constexpr char kBytes[] = R"sql(
SET ROLE legacy_app;
CREATE TABLE app.wide (id bigint PRIMARY KEY, filler text);
ALTER TABLE app.wide ALTER COLUMN filler SET STORAGE EXTERNAL;
INSERT INTO app.wide SELECT n, repeat(md5(n::text), 64) FROM generate_series(1, 50000) n;
)sql";

class LargeTables : public PhasesOn<Relocation> {
 protected:
  LargeTables() : PhasesOn({.projects = 1}) {}

  // After it only CUTOVER, POST_VALIDATION and CLEANUP are left.
  std::unique_ptr<worker::Attempt> Verified() {
    auto attempt = NewAttempt();
    EXPECT_EQ(Describe(RunTo(*attempt, Phase::kVerify)), "OK");
    return attempt;
  }
  void OnSource(const std::string& sql) { fleet_.OnSource(ref_, sql); }
  std::string Cutover(worker::Attempt& attempt) { return Describe(Run(attempt, Phase::kCutover)); }

  // Makes the backup's record say something else about app.many, as if the backup held other rows than the table does.
  void Falsify(worker::Attempt& attempt) {
    for (v1::PhaseResult result : done_) {
      if (result.phase() == v1::BACKUP) {
        for (v1::TableDigest& table : *result.mutable_backup()->mutable_tables()) {
          if (table.table() == "app.many") {
            table.set_digest(std::string(32, '0'));
          }
        }
        attempt.AddResult(result);
        done_.push_back(result);
        return;
      }
    }
  }
};

TEST_F(LargeTables, ArriveWithAllTheirIndexes) {
  OnSource(kManyRows);
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
  EXPECT_EQ(fleet_.OnTarget(ref_, "SELECT obj_description('app.many_told'::regclass)"),
            "that somebody has said something about");
  EXPECT_EQ(fleet_.OnTarget(ref_,
                            "SELECT count(*) FROM pg_index WHERE indrelid = 'app.many'::regclass AND "
                            "(indisclustered OR indisreplident)"),
            "2");
  EXPECT_EQ(fleet_.OnTarget(ref_,
                            "SELECT max(attstattarget) FROM pg_attribute WHERE attrelid = "
                            "'app.many_measured'::regclass"),
            "500");
}

TEST_F(LargeTables, ThatArePartitionedArriveWithTheIndexesOfAllTheirParts) {
  OnSource(kParts);
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kProvision)), "OK");
  const std::string made_with_the_table = fleet_.OnTarget(ref_, "SELECT 'app.parts_upper'::regclass::oid");
  const std::string told = fleet_.OnTarget(ref_, "SELECT 'app.told'::regclass::oid");
  for (const Phase phase :
       {Phase::kBackup, Phase::kCopy, Phase::kVerify, Phase::kCutover, Phase::kPostValidation, Phase::kCleanup}) {
    ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
  }
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
  EXPECT_NE(fleet_.OnTarget(ref_, "SELECT 'app.parts_upper'::regclass::oid"), made_with_the_table);
  EXPECT_EQ(fleet_.OnTarget(ref_, "SELECT 'app.told'::regclass::oid"), told) << "the comment on a part would be lost";
  EXPECT_EQ(fleet_.OnTarget(ref_,
                            "SELECT count(*) || ' ' || bool_and(i.indisvalid) FROM pg_partition_tree('app.parts') t "
                            "JOIN pg_index i ON i.indrelid = t.relid"),
            "27 true");
}

TEST_F(LargeTables, AreLoadedAndReadBySeveralSessions) {
  OnSource(kManyRows);
  OnSource(kBytes);
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kCopy)), "OK");
  // Four tasks of 32 MiB have each had a transaction of their own, and the sessions are still there.
  EXPECT_GE(std::stoi(fleet_.OnTarget(ref_, "SELECT count(DISTINCT xmin::text) FROM app.wide")), 4);
  EXPECT_EQ(fleet_.OnTarget(ref_,
                            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                            "usename = '" +
                                attempt->names().login + "'"),
            "4");
  for (const Phase phase : {Phase::kVerify, Phase::kCutover, Phase::kPostValidation, Phase::kCleanup}) {
    ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
  }
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(LargeTables, AChangedRowIsFoundInWhicheverRangeItLies) {
  OnSource(kBytes);
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kCopy)), "OK");
  fleet_.OnTarget(ref_, "UPDATE app.wide SET filler = filler || '!' WHERE id = 49990 RETURNING 1");
  EXPECT_THAT(Describe(Run(*attempt, Phase::kVerify)), ::testing::HasSubstr("PGC-VERIFY-MISMATCH"));
}

TEST_F(LargeTables, ARowTooFewIsFoundByCounts) {
  fleet_.plan().mutable_verification()->set_level(v1::Verification::COUNTS);
  OnSource(kManyRows);
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kCopy)), "OK");
  fleet_.OnTarget(ref_, "DELETE FROM app.seen WHERE id = 77 RETURNING 1");
  const std::string why = Describe(Run(*attempt, Phase::kVerify));
  EXPECT_THAT(why, ::testing::HasSubstr("PGC-VERIFY-MISMATCH"));
  EXPECT_THAT(why, ::testing::HasSubstr("app.seen has 11999 rows instead of 12000"));
}

// Its tables are read by one session, in a transaction that is undone; the indexes stay.
TEST_F(LargeTables, ArriveWithAllTheirIndexesWhenEveryRowIsCompared) {
  fleet_.plan().mutable_verification()->set_level(v1::Verification::EXACT);
  OnSource(kManyRows);
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(LargeTables, RowsThatAreNotUniqueAreFoundByTheirIndex) {
  OnSource(kManyRows);
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kBackup)), "OK");
  // Whatever may have gone wrong: the constraint is there before anybody is sent to the database.
  fleet_.OnTarget(ref_,
                  "ALTER TABLE app.many DROP CONSTRAINT many_pkey; INSERT INTO app.many (id, code, slot) VALUES "
                  "(7, 'twice', 0); ALTER TABLE app.many ADD PRIMARY KEY (id); SELECT 1");
  ASSERT_EQ(Describe(Run(*attempt, Phase::kCopy)), "OK");
  const std::string why = Describe(Run(*attempt, Phase::kVerify));
  EXPECT_THAT(why, ::testing::HasSubstr("23505"));
  EXPECT_THAT(why, ::testing::HasSubstr("many_pkey"));
}

// It would hold the lock that a constraint needs.
TEST_F(LargeTables, AreLeftAloneByAutovacuumUntilTheyAreWhole) {
  OnSource(kManyRows);
  OnSource("ALTER TABLE app.many SET (fillfactor = 90, autovacuum_enabled = on)");
  OnSource(kParts);
  const auto options = [this](const std::string& table) {
    return fleet_.OnTarget(ref_, "SELECT reloptions FROM pg_class WHERE oid = 'app." + table + "'::regclass");
  };
  ASSERT_EQ(Describe(RunTo(*NewAttempt(), Phase::kBackup)), "OK");
  // The first attempt dies for a row that was there already.
  fleet_.OnTarget(ref_,
                  "ALTER TABLE app.many DROP CONSTRAINT many_pkey; INSERT INTO app.many (id, code, slot) VALUES "
                  "(7, 'twice', 0); ALTER TABLE app.many ADD PRIMARY KEY (id); SELECT 1");
  const auto failing = NewAttempt();
  ASSERT_EQ(Describe(Run(*failing, Phase::kFence)), "OK");
  ASSERT_EQ(Describe(Run(*failing, Phase::kCopy)), "OK");
  EXPECT_THAT(Describe(Run(*failing, Phase::kVerify)), ::testing::HasSubstr("many_pkey"));
  EXPECT_EQ(options("many"), "{fillfactor=90,autovacuum_enabled=false}");
  EXPECT_EQ(options("parts_old"), "{autovacuum_enabled=false}");
  fleet_.OnTarget(ref_, "DELETE FROM app.many WHERE code = 'twice'; SELECT 1");
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
  for (const Phase phase : {Phase::kCopy, Phase::kVerify, Phase::kCutover, Phase::kPostValidation, Phase::kCleanup}) {
    ASSERT_EQ(Describe(Run(*attempt, phase)), "OK");
  }
  EXPECT_EQ(options("many"), "{fillfactor=90,autovacuum_enabled=on}");
  EXPECT_EQ(options("parts_old"), "");
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
}

// A load of another backup died after it had made an index again and before it made it a constraint.
TEST_F(LargeTables, ArriveOverIndexesThatAreHalfMade) {
  OnSource(kManyRows);
  ASSERT_EQ(Describe(RunTo(*NewAttempt(), Phase::kCopy)), "OK");
  fleet_.OnTarget(ref_, R"sql(
    CREATE UNIQUE INDEX many_pkey ON app.many (id);
    UPDATE pgconvoy.late_index SET made = true WHERE name = 'app.many_pkey';
    CREATE INDEX many_tags ON app.many USING gin (tags) WHERE slot % 2 = 0;
    UPDATE pgconvoy.late_index SET made = true WHERE name = 'app.many_tags';
    UPDATE pgconvoy.load SET backup_id = 'another/1', finished = false;
    SELECT 1)sql");
  const auto next = NewAttempt();
  ASSERT_EQ(Describe(Run(*next, Phase::kFence)), "OK");
  for (const Phase phase : {Phase::kCopy, Phase::kVerify, Phase::kCutover, Phase::kPostValidation, Phase::kCleanup}) {
    ASSERT_EQ(Describe(Run(*next, phase)), "OK");
  }
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(LargeTables, AreNotReadAgainWhenNobodyHasWrittenToThem) {
  OnSource(kManyRows);
  const auto attempt = Verified();
  Falsify(*attempt);
  EXPECT_EQ(Cutover(*attempt), "OK");
}

TEST_F(LargeTables, AreReadAgainByAnAttemptThatDidNotTakeTheBackup) {
  OnSource(kManyRows);
  Falsify(*Verified());
  const auto next = NewAttempt();
  ASSERT_EQ(Describe(Run(*next, Phase::kFence)), "OK");
  EXPECT_THAT(Cutover(*next), ::testing::HasSubstr("PGC-CUT-SOURCE-DIRTY"));
}

TEST_F(LargeTables, AreReadAgainWhenTheSessionOfTheBackupIsGone) {
  OnSource(kManyRows);
  const auto attempt = Verified();
  Falsify(*attempt);
  const int pid = attempt->source_watch.value().reader->backend_pid();
  fleet_.old_server().Exec("postgres", "SELECT pg_terminate_backend(" + std::to_string(pid) + ", 5000)");
  EXPECT_THAT(Cutover(*attempt), ::testing::HasSubstr("PGC-CUT-SOURCE-DIRTY"));
}

TEST_F(LargeTables, EveryKindOfWriteStopsTheCutover) {
  OnSource(kManyRows);
  const auto attempt = Verified();
  const std::pair<const char*, const char*> writes[] = {
      {"INSERT INTO app.many (id, code, slot) VALUES (0, 'new', 0)", "DELETE FROM app.many WHERE id = 0"},
      {"UPDATE app.many SET filler = 'x' WHERE id = 11999", "UPDATE app.many SET filler = NULL WHERE id = 11999"},
      {"DELETE FROM app.seen WHERE id = 9", "INSERT INTO app.seen VALUES (9, 'x')"},
      {"DELETE FROM app.seen WHERE id = 10; INSERT INTO app.seen VALUES (12001, 'x')",
       "DELETE FROM app.seen WHERE id = 12001; INSERT INTO app.seen VALUES (10, 'x')"},
      {"TRUNCATE app.seen CASCADE; INSERT INTO app.seen SELECT n, 'y' FROM generate_series(1, 12000) n",
       "UPDATE app.seen SET what = 'x'; INSERT INTO app.child VALUES (1, 5, 6)"},
  };
  for (const auto& [write, undo] : writes) {
    SCOPED_TRACE(write);
    OnSource(write);
    EXPECT_THAT(Cutover(*attempt), ::testing::HasSubstr("PGC-CUT-SOURCE-DIRTY"));
    OnSource(undo);
  }
  // What was written and written back leaves the rows as they were.
  EXPECT_EQ(Cutover(*attempt), "OK");
}

TEST_F(LargeTables, AWriteThatWasUnderWayAtTheBackupStopsTheCutover) {
  OnSource(kManyRows);
  const auto writer = pg::Connection::Open(fleet_.old_server().Superuser(fleet_.database(ref_)), {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)
                  ->ExecScript("BEGIN; DELETE FROM app.seen WHERE id = 3; INSERT INTO app.seen VALUES (12001, 'x')")
                  .ok());
  const auto attempt = Verified();
  ASSERT_TRUE((*writer)->Commit().ok());
  EXPECT_THAT(Cutover(*attempt), ::testing::HasSubstr("PGC-CUT-SOURCE-DIRTY"));
}

TEST_F(LargeTables, APartitionThatChangesPlacesWithAnotherStopsTheCutover) {
  OnSource(R"sql(
SET ROLE legacy_app;
CREATE TABLE app.parts (id int, what text) PARTITION BY RANGE (id);
CREATE TABLE app.parts_1 PARTITION OF app.parts FOR VALUES FROM (0) TO (10);
INSERT INTO app.parts VALUES (1, 'a');
CREATE TABLE public.other (id int, what text);
INSERT INTO public.other VALUES (1, 'b');
)sql");
  const auto attempt = Verified();
  OnSource(
      "ALTER TABLE app.parts DETACH PARTITION app.parts_1; ALTER TABLE app.parts ATTACH PARTITION public.other FOR "
      "VALUES FROM (0) TO (10)");
  EXPECT_THAT(Cutover(*attempt), ::testing::HasSubstr("PGC-SRC-DDL"));
}

}  // namespace
}  // namespace pgconvoy::testing
