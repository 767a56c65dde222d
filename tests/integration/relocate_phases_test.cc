// relocate-databases, phase by phase: what does not arrive is refused by name, what goes wrong is one clear error, and
// a rollback from anywhere leaves both servers as they were.
#include <filesystem>
#include <fstream>

#include "common/pg/local_cluster.h"
#include "tests/integration/phases_fixture.h"
#include "tests/integration/relocation.h"
#include "tests/support/temp_dir.h"

namespace pgconvoy::testing {
namespace {

class RelocatePhases : public PhasesOn<Relocation> {
 protected:
  RelocatePhases() : PhasesOn({.projects = 1}) {}

  // Runs the forward phases up to and with `last`.
  absl::Status PreValidation() {
    const auto attempt = NewAttempt();
    const absl::Status status = RunTo(*attempt, Phase::kPreValidation);
    warnings_ = attempt->warnings;
    return status;
  }
  std::string Warnings() const {
    std::string all;
    for (const std::string& warning : warnings_) {
      all += warning + "\n";
    }
    return all;
  }
  void OnSource(const std::string& sql) { fleet_.OnSource(ref_, sql); }
  std::string OnTarget(const std::string& sql) { return fleet_.OnTarget(ref_, sql); }
  // The plan or the source has changed: nothing that is remembered holds.
  void Forget() { schemas_.Forget(*NewAttempt()); }

  std::vector<std::string> warnings_;
};

TEST_F(RelocatePhases, OneAttemptMovesADatabase) {
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(RelocatePhases, RollbackFromEveryPhaseLeavesBothServersAsTheyWere) {
  const std::string before = fleet_.Dump("old", ref_);
  for (const Phase last : kForward) {
    SCOPED_TRACE(Name(last));
    done_.clear();
    ASSERT_EQ(Describe(RunTo(*NewAttempt(), last)), "OK");
    ASSERT_EQ(Describe(RunAll(*NewAttempt(Direction::kRollback), kRollback)), "OK");
    EXPECT_EQ(fleet_.WhyNotUntouched(ref_), "");
    EXPECT_EQ(fleet_.Leftovers(), "");
  }
  EXPECT_EQ(fleet_.Dump("old", ref_), before);
}

// Each statement makes one thing that would not arrive, and the error names it.
TEST_F(RelocatePhases, WhatWouldNotArriveIsRefusedByNameBeforeAnythingIsMade) {
  const std::pair<const char*, const char*> kinds[] = {
      {"SELECT lo_from_bytea(4711, 'x')", "large object: there are 1"},
      {"CREATE FOREIGN DATA WRAPPER elsewhere", "foreign-data wrapper: elsewhere"},
      {"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w", "foreign server: far"},
      {"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w; CREATE USER MAPPING FOR legacy_app "
       "SERVER far",
       "user mapping: legacy_app on far"},
      {"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE app.there (i "
       "int) "
       "SERVER far",
       "foreign table: app.there"},
      {"CREATE TABLE app.parent (i int); CREATE TABLE app.child () INHERITS (app.parent)",
       "table that others inherit from: app.parent"},
      {"CREATE FUNCTION app.e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER watch ON "
       "ddl_command_end EXECUTE FUNCTION app.e()",
       "event trigger: watch"},
      {"CREATE PUBLICATION everything FOR ALL TABLES", "publication: everything"},
      {"CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)",
       "subscription: sub"},
      {"CREATE LANGUAGE mine HANDLER plpgsql_call_handler", "language: mine"},
      {"CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler", "access method: another"},
      {"CREATE OPERATOR CLASS app.c FOR TYPE int4 USING hash AS OPERATOR 1 =, FUNCTION 1 hashint4(int4)",
       "operator class: c"},
      {"CREATE OPERATOR FAMILY app.f USING btree", "operator family: f"},
      {"CREATE TYPE app.raw; CREATE FUNCTION app.raw_in(cstring) RETURNS app.raw LANGUAGE internal IMMUTABLE STRICT "
       "AS "
       "'textin'; CREATE FUNCTION app.raw_out(app.raw) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS "
       "'textout'; "
       "CREATE TYPE app.raw (INPUT = app.raw_in, OUTPUT = app.raw_out)",
       "base type: app.raw"},
      {"CREATE TYPE app.shell", "base type: app.shell"},
      {"CREATE TEXT SEARCH PARSER app.p (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = "
       "prsd_lextype)",
       "text search parser: p"},
      {"CREATE TEXT SEARCH TEMPLATE app.t (LEXIZE = dsimple_lexize)", "text search template: t"},
      {"CREATE CAST (app.box AS text) WITH INOUT; CREATE CAST (bytea AS text) WITHOUT FUNCTION",
       "cast: bytea as text"},
      {"CREATE CONVERSION app.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", "conversion: conv"},
      {"CREATE FUNCTION app.native() RETURNS int LANGUAGE internal AS 'int4um'",
       "function that only a superuser can make: app.native"},
      {"ALTER FUNCTION app.slug(text) LEAKPROOF", "function that only a superuser can make: app.slug"},
      {"CREATE AGGREGATE app.agg(text, text) (sfunc = string_agg_transfn, stype = internal, finalfunc = "
       "string_agg_finalfn)",
       "aggregate that only a superuser can make: app.agg"},
      {"CREATE TABLE app.not_mine (i int); ALTER TABLE app.not_mine OWNER TO postgres",
       "one of several owners: legacy_app ("},
      {"ALTER ROLE legacy_app IN DATABASE vision_v0001 SET work_mem = '8MB'",
       "setting of a login in this database: legacy_app: work_mem=8MB"},
      {"ALTER DATABASE vision_v0001 SET log_min_messages = 'error'", "GRANT SET ON PARAMETER): log_min_messages"},
      {"CREATE FUNCTION app.quiet() RETURNS int LANGUAGE sql SET log_min_messages = 'error' AS 'SELECT 1'",
       "GRANT SET ON PARAMETER): log_min_messages"},
      {"CREATE EXTENSION pageinspect", "extension that the target does not let a plain login install: pageinspect"},
      {"CREATE EXTENSION dblink", "extension that the target does not let a plain login install: dblink"},
      {"CREATE EXTENSION postgres_fdw", "extension that the target does not let a plain login install: postgres_fdw"},
      {"CREATE EXTENSION file_fdw", "extension that the target does not let a plain login install: file_fdw"},
      {"CREATE ROLE only_here; CREATE POLICY odd ON app.images TO only_here USING (true)",
       "role of a policy that the target does not have: only_here"},
  };
  const std::string made = "pgconvoy_reset";
  for (const auto& [sql, named] : kinds) {
    SCOPED_TRACE(named);
    fleet_.old_server().Exec("postgres", "CREATE DATABASE " + made + " TEMPLATE " + fleet_.database(ref_));
    OnSource(sql);
    const absl::Status refused = PreValidation();
    EXPECT_EQ(CodeOf(refused), "PGC-SRC-UNSUPPORTED") << Describe(refused);
    EXPECT_NE(MessageOf(refused).find(named), std::string::npos) << MessageOf(refused);
    EXPECT_EQ(fleet_.WhyNotUntouched(ref_), "");
    if (std::string(sql).find("CREATE SUBSCRIPTION") != std::string::npos) {
      OnSource(
          "ALTER SUBSCRIPTION sub DISABLE; ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub");
    }
    // As it was, for the next one.
    fleet_.old_server().Exec("postgres", "DROP DATABASE " + fleet_.database(ref_) + " WITH (FORCE)");
    fleet_.old_server().Exec("postgres", "ALTER DATABASE " + made + " RENAME TO " + fleet_.database(ref_));
  }
  EXPECT_EQ(fleet_.Leftovers(), "");
}

TEST_F(RelocatePhases, WhatHasNoMeaningThereIsAWarning) {
  OnSource(
      "CREATE ROLE analyst; GRANT SELECT ON app.images TO analyst; ALTER DEFAULT PRIVILEGES FOR ROLE legacy_app "
      "GRANT "
      "SELECT ON TABLES TO analyst; COMMENT ON DATABASE vision_v0001 IS 'of a customer'; ALTER DATABASE vision_v0001 "
      "CONNECTION LIMIT 50; ALTER ROLE legacy_app SET statement_timeout = '1min'");
  ASSERT_EQ(Describe(PreValidation()), "OK");
  EXPECT_EQ(
      Warnings(),
      "not carried: comment on the database\nnot carried: connection limit of the database\nnot carried: default "
      "privileges of legacy_app\nnot carried: grants to analyst\nnot carried: settings of login legacy_app\n");
}

TEST_F(RelocatePhases, ABackupAloneSaysWhatItLacks) {
  OnSource("SELECT lo_from_bytea(4711, 'x')");
  fleet_.plan().mutable_execution()->set_mode(v1::Execution::BACKUP_ONLY);
  ASSERT_EQ(Describe(PreValidation()), "OK");
  EXPECT_EQ(Warnings(), "not in the backup: large object there are 1\n");
}

TEST_F(RelocatePhases, RareKindsOfObjectsArrive) {
  OnSource(R"sql(
    SET ROLE legacy_app;
    CREATE SCHEMA "odd""name";
    CREATE TABLE "odd""name"."a.b *" ("Key" int PRIMARY KEY, "x,y" text[]);
    INSERT INTO "odd""name"."a.b *" VALUES (1, '{"a"}');
    CREATE FUNCTION app.same(app.box, app.box) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.x = $2.x';
    CREATE OPERATOR app.=== (LEFTARG = app.box, RIGHTARG = app.box, FUNCTION = app.same);
    CREATE FUNCTION app.area(app.box) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.width * $1.height';
    CREATE CAST (app.box AS int) WITH FUNCTION app.area(app.box);
    CREATE TEXT SEARCH DICTIONARY app.plain (TEMPLATE = pg_catalog.simple);
    CREATE TEXT SEARCH CONFIGURATION app.words (COPY = pg_catalog.english);
    ALTER TABLE app.tags ADD CONSTRAINT short CHECK (length(label::text) < 3) NOT VALID;
    COMMENT ON SCHEMA public IS 'ours';
    ALTER TABLE app.users DISABLE TRIGGER touch;
    CREATE TABLE app.nothing (i int);
    ALTER TABLE app.nothing REPLICA IDENTITY FULL;
    INSERT INTO app.nothing VALUES (1), (1), (NULL);
  )sql");
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
}

TEST_F(RelocatePhases, PatternsTakeEveryTableOnceAndLeaveOutWhatIsExcepted) {
  fleet_.plan().clear_tables();
  fleet_.plan().clear_links();
  fleet_.plan().clear_checks();
  v1::Table& app = *fleet_.plan().add_tables();
  app.set_table("app.*");
  app.add_except("app.webhook*");
  app.add_except("app.payments");
  fleet_.plan().add_tables()->set_table("audit.event*");
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), kForward)), "OK");
  EXPECT_EQ(OnTarget("SELECT count(*) FROM app.webhooks"), "0");
  EXPECT_EQ(OnTarget("SELECT count(*) FROM app.payments"), "0");
  EXPECT_EQ(OnTarget("SELECT count(*) FROM public.schema_migrations"), "0");
  for (const char* const table : {"app.images", "audit.events", "app.invoice_lines"}) {
    const std::string count = std::string("SELECT count(*) FROM ") + table;
    EXPECT_EQ(OnTarget(count), fleet_.old_server().QueryValue(fleet_.database(ref_), count)) << table;
  }
}

TEST_F(RelocatePhases, PatternsThatTakeNothingOrTheSameTwiceAreErrors) {
  const std::pair<const char*, const char*> faults[] = {
      {"nothing.*", "no table of the source matches nothing.*"},
      {"app.imag*", "two entries of the plan take app.image_tags"},
      {"audit.events_2025", "audit.events_2025 is a partition of audit.events, which moves as a whole"},
      {"app.image", "the source has no table app.image"},
  };
  for (const auto& [pattern, message] : faults) {
    fleet_.plan().clear_tables();
    fleet_.plan().add_tables()->set_table("*.*");
    fleet_.plan().add_tables()->set_table(pattern);
    const absl::Status refused = PreValidation();
    EXPECT_EQ(CodeOf(refused), "PGC-SRC-TABLE") << Describe(refused);
    EXPECT_EQ(MessageOf(refused), std::string("PRE_VALIDATION: ") + message);
  }
}

TEST_F(RelocatePhases, ATableThatAppearsAfterItWasReadIsNotLeftBehind) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kProvision)), "OK");
  OnSource("SET ROLE legacy_app; CREATE TABLE app.late (i int)");
  EXPECT_EQ(CodeOf(Run(*attempt, Phase::kBackup)), "PGC-SRC-DDL");
}

TEST_F(RelocatePhases, OnlyTheColumnsThatAreListedAreCarried) {
  fleet_.plan().mutable_tables(0)->add_except("app.images");
  v1::Table& images = *fleet_.plan().add_tables();
  images.set_table("app.images");
  for (const char* const column : {"id", "board_id", "file_name", "created_at", "updated_at"}) {
    images.add_only_columns(column);
  }
  fleet_.plan().clear_checks();
  ASSERT_EQ(Describe(RunTo(*NewAttempt(), Phase::kVerify)), "OK");
  EXPECT_EQ(OnTarget("SELECT count(*) FROM app.images WHERE width IS NOT NULL OR pixels IS NOT NULL"), "0");
  EXPECT_NE(OnTarget("SELECT count(*) FROM app.images WHERE file_name IS NOT NULL"), "0");
}

TEST_F(RelocatePhases, AColumnThatMustHaveAValueIsNotLeftOut) {
  fleet_.plan().mutable_tables(0)->add_except("app.images");
  v1::Table& images = *fleet_.plan().add_tables();
  images.set_table("app.images");
  images.add_exclude_columns("file_name");
  EXPECT_EQ(CodeOf(PreValidation()), "PGC-SRC-COLUMN");
}

TEST_F(RelocatePhases, AForeignKeyThatTheSourceViolatesStopsTheProject) {
  OnSource("SET session_replication_role = replica; DELETE FROM app.invoices WHERE number = 1000");
  const absl::Status refused = PreValidation();
  EXPECT_EQ(CodeOf(refused), "PGC-CHECK-FAILED");
  EXPECT_NE(MessageOf(refused).find("\"app\".\"invoice_lines\".invoice_lines_invoice_fkey: 3 row(s)"),
            std::string::npos)
      << MessageOf(refused);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref_), "");
}

TEST_F(RelocatePhases, AForeignKeyThatTheSourceViolatesCanArriveAsNotValid) {
  OnSource("SET session_replication_role = replica; DELETE FROM app.invoices WHERE number = 1000");
  fleet_.plan().mutable_target()->set_violated_foreign_keys(v1::Target::NOT_VALID);
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), kForward)), "OK");
  EXPECT_EQ(OnTarget("SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint WHERE NOT convalidated"),
            "invoice_lines_invoice_fkey,payments_invoice_fkey");
  EXPECT_EQ(OnTarget("SELECT count(*) FROM app.invoice_lines WHERE invoice = 1000"), "3");
  ASSERT_EQ(Describe(RunAll(*NewAttempt(Direction::kRollback), kRollback)), "OK");
}

// A value that was changed after the load, in one row.
class SwappedValue : public RelocatePhases {
 protected:
  absl::Status VerifyAt(v1::Verification::Level level) {
    fleet_.plan().mutable_verification()->set_level(level);
    const auto attempt = NewAttempt();
    if (absl::Status status = RunTo(*attempt, Phase::kCopy); !status.ok()) {
      return status;
    }
    fleet_.new_server().Exec(fleet_.database(ref_), "UPDATE app.plans SET seats = '[2,5)' WHERE code = 'basic'");
    return Run(*attempt, Phase::kVerify);
  }
};

TEST_F(SwappedValue, IsNotSeenByCounts) { EXPECT_EQ(Describe(VerifyAt(v1::Verification::COUNTS)), "OK"); }

TEST_F(SwappedValue, IsFoundByChecksum) {
  EXPECT_EQ(CodeOf(VerifyAt(v1::Verification::CHECKSUM)), "PGC-VERIFY-MISMATCH");
}

TEST_F(SwappedValue, IsFoundByExact) {
  const absl::Status found = VerifyAt(v1::Verification::EXACT);
  EXPECT_EQ(CodeOf(found), "PGC-VERIFY-MISMATCH");
  EXPECT_NE(MessageOf(found).find("1 of the backup's are not among them"), std::string::npos) << MessageOf(found);
}

TEST_F(RelocatePhases, ExactPassesWhatIsEqualAndLeavesNothing) {
  fleet_.plan().mutable_verification()->set_level(v1::Verification::EXACT);
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotRelocated(ref_), "");
}

TEST_F(RelocatePhases, GeneratedColumnsThatTheTargetComputesDifferentlyAreFound) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kProvision)), "OK");
  fleet_.new_server().Exec(
      fleet_.database(ref_),
      "CREATE OR REPLACE FUNCTION app.slug(title text) RETURNS text LANGUAGE sql IMMUTABLE STRICT "
      "AS $$ SELECT 'x' || title $$");
  ASSERT_EQ(Describe(Run(*attempt, Phase::kBackup)), "OK");
  ASSERT_EQ(Describe(Run(*attempt, Phase::kCopy)), "OK");
  EXPECT_EQ(CodeOf(Run(*attempt, Phase::kVerify)), "PGC-VERIFY-GENERATED");
}

TEST_F(RelocatePhases, ADamagedBackupIsNotLoaded) {
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kBackup)), "OK");
  for (const auto& file : std::filesystem::recursive_directory_iterator(fleet_.backup_dir())) {
    if (file.path().filename().string().starts_with("app.images.")) {
      std::fstream chunk(file.path(), std::ios::in | std::ios::out | std::ios::binary);
      chunk.seekp(100);
      chunk.put('\x7f');
    }
  }
  EXPECT_EQ(CodeOf(Run(*attempt, Phase::kCopy)), "PGC-BACKUP-CORRUPT");
}

TEST_F(RelocatePhases, AMissingPrivilegeIsNamedWithTheGrantThatIsMissing) {
  fleet_.old_server().Exec("postgres", "REVOKE pg_read_all_data FROM pgconvoy_reader");
  OnSource(
      "GRANT USAGE ON SCHEMA app, audit TO pgconvoy_reader; GRANT SELECT ON ALL TABLES IN SCHEMA app, audit, public "
      "TO pgconvoy_reader; GRANT SELECT ON ALL SEQUENCES IN SCHEMA app, audit TO pgconvoy_reader; REVOKE SELECT ON "
      "app.tags FROM pgconvoy_reader");
  const absl::Status refused = PreValidation();
  EXPECT_NE(Describe(refused).find("tags"), std::string::npos) << Describe(refused);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref_), "");
}

// What libpq says in pg_dump's name.
TEST_F(RelocatePhases, ADumpWhoseConnectionBreaksIsTriedAgain) {
  const TempDir binaries;
  const std::string pg_dump = binaries.path() + "/pg_dump";
  const auto of_debian = pg::PostgresBinary("pg_dump");
  ASSERT_TRUE(of_debian.ok());
  ::setenv("PGCONVOY_PG_BINDIR", binaries.path().c_str(), 1);
  for (const char* const complaint :
       {"query failed: server closed the connection unexpectedly",
        "query failed: could not receive data from server: Connection reset by peer",
        "query failed: could not send data to server: Broken pipe", "query failed: no connection to the server",
        "query failed: SSL connection has been closed unexpectedly", "query failed: SSL SYSCALL error: EOF detected",
        "connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  the database system is starting up"}) {
    std::ofstream(pg_dump) << "#!/bin/sh\n[ \"$1\" = --version ] && exec " << *of_debian
                           << " --version\necho 'pg_dump: error: " << complaint << "' >&2\nexit 1\n";
    std::filesystem::permissions(pg_dump, std::filesystem::perms::owner_all);
    const absl::Status failed = PreValidation();
    EXPECT_EQ(CodeOf(failed), "PGC-SCHEMA-DUMP") << complaint;
    EXPECT_EQ(VerdictOf(failed), Verdict::kTransient) << complaint;
  }
  ::unsetenv("PGCONVOY_PG_BINDIR");
}

TEST_F(RelocatePhases, ReadinessSaysHowMuchRoomIsNeeded) {
  ASSERT_EQ(Describe(PreValidation()), "OK");
  std::map<std::string, v1::CheckResult> checks;
  for (const v1::CheckResult& check : done_.back().checks().checks()) {
    checks[check.name()] = check;
  }
  EXPECT_NE(checks["backup-disk"].measured(), "");
  EXPECT_NE(checks["backup-disk"].needed(), "");
  EXPECT_EQ(checks["target-disk"].measured(), "unknown: only a superuser can see the server's disk");
  EXPECT_NE(checks["target-disk"].needed(), "0 MiB");
}

}  // namespace
}  // namespace pgconvoy::testing
