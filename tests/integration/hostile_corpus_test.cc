// The hostile tenant: the owner of a database, or of rows in shared tables, who tries to gain from being migrated.
// tests/integration/hostile has what it leaves behind. What it reaches is judged by what no rollback takes back: the
// servers' logs, roles, memberships, settings, and canaries in other databases.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "tests/integration/phases_fixture.h"
#include "tests/integration/relocation.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;
using ::testing::Not;
using ::testing::StartsWith;

// One run of the tenant's code, as evil.strike reports it.
struct Strike {
  std::string vector;
  std::string session_user;
  std::string current_user;
  bool superuser = false;
  bool read_only = false;
  // The blows that the server did not refuse.
  std::string landed;
};

std::string Shown(const Strike& strike) {
  return strike.vector + " as " + strike.session_user + "/" + strike.current_user +
         (strike.superuser ? " SUPERUSER" : "") + (strike.read_only ? " read-only" : "") + strike.landed;
}

std::vector<Strike> StrikesIn(const std::string& log) {
  std::vector<Strike> strikes;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find("LOG:  HOSTILE|");
    if (at == std::string::npos) {
      continue;
    }
    std::vector<std::string> fields;
    std::istringstream rest(line.substr(at));
    for (std::string field; std::getline(rest, field, '|');) {
      fields.push_back(field);
    }
    fields.resize(7);
    strikes.push_back({fields[1], fields[2], fields[3], fields[4] == "on", fields[5] == "on", fields[6]});
  }
  return strikes;
}

// What a server says about who may do what, and what came into databases that are not the tenant's.
std::set<std::string> Standing(PgCluster& cluster) {
  std::set<std::string> lines;
  for (const auto& row : cluster.QueryRows("postgres", R"sql(
      SELECT 'role ' || rolname || ' ' || concat_ws(',', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
             rolreplication, rolbypassrls, rolconnlimit) || ' ' || coalesce(rolpassword, '') FROM pg_authid
      UNION ALL SELECT 'member ' || roleid::regrole || ' ' || member::regrole || ' ' || admin_option
        FROM pg_auth_members
      UNION ALL SELECT 'setting ' || coalesce(d.datname, '') || ' ' || s.setrole::regrole || ' ' || s.setconfig::text
        FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
      UNION ALL SELECT 'database ' || datname || ' ' || datdba::regrole || ' ' || coalesce(datacl::text, '')
        FROM pg_database
      UNION ALL SELECT 'canary ' || what FROM canary
      UNION ALL SELECT 'file ' || sourcefile || ' ' || name || ' ' || setting FROM pg_file_settings
        WHERE sourcefile ~ 'auto.conf'
    )sql")) {
    lines.insert(row[0]);
  }
  return lines;
}

void PlantCanary(PgCluster& cluster) {
  cluster.Exec("postgres", "CREATE TABLE canary (what text)");
  // The current folder of whatever the server starts.
  std::ofstream(cluster.QueryValue("postgres", "SHOW data_directory") + "/canary.conninfo")
      << cluster.SocketConninfo("postgres");
}

std::set<std::string> Minus(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::set<std::string> left;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(left, left.end()));
  return left;
}

class HostileOwner : public PhasesOn<Relocation> {
 protected:
  explicit HostileOwner(int projects = 2) : PhasesOn({.projects = projects}) {
    PlantCanary(fleet_.old_server());
    PlantCanary(fleet_.new_server());
    tenant_password_ = fleet_.env()["PGCONVOY_DEMO_TENANT_PASSWORD"];
  }

  // By a login of its own: a superuser who has only changed its role could change back.
  std::unique_ptr<pg::Connection> OpenTenant() {
    auto session = pg::Connection::Open(
        fleet_.old_server().EndpointFor("legacy_app", tenant_password_, fleet_.database(ref_)), {});
    if (!session.ok()) {
      throw std::runtime_error(Describe(session.status()));
    }
    return *std::move(session);
  }
  void AsTenant(const std::string& sql) {
    if (const absl::Status done = OpenTenant()->ExecScript(sql); !done.ok()) {
      throw std::runtime_error(Describe(done));
    }
  }
  // What it makes runs its own code, too, which has changed the tenant's own password since.
  void Plant(const std::string& file) {
    AsTenant(ReadFile(SourceFile("tests/integration/hostile/" + file)));
    TakeBackThePassword();
  }
  void TakeBackThePassword() {
    fleet_.old_server().Exec(
        "postgres", "ALTER ROLE legacy_app PASSWORD '" + tenant_password_ + "'; ALTER ROLE legacy_app RESET ALL");
  }
  // From here on, everything that happens is the migration's doing.
  void Watch() {
    old_standing_ = Standing(fleet_.old_server());
    new_standing_ = Standing(fleet_.new_server());
    old_log_ = fleet_.old_server().log().size();
    new_log_ = fleet_.new_server().log().size();
  }
  std::vector<Strike> OldStrikes() { return StrikesIn(fleet_.old_server().log().substr(old_log_)); }
  std::vector<Strike> NewStrikes() { return StrikesIn(fleet_.new_server().log().substr(new_log_)); }

  absl::Status Migrate() { return RunAll(*NewAttempt(), kForward); }

  // Nothing but what the plan promises: the project's role and database on the new server.
  void ExpectNothingGained() {
    EXPECT_THAT(Minus(Standing(fleet_.old_server()), old_standing_), IsEmpty());
    EXPECT_THAT(Minus(old_standing_, Standing(fleet_.old_server())), IsEmpty());
    EXPECT_THAT(Minus(new_standing_, Standing(fleet_.new_server())), IsEmpty());
    const std::string user = "vision_" + ref_;
    for (const std::string& line : Minus(Standing(fleet_.new_server()), new_standing_)) {
      EXPECT_THAT(line, AnyOf(StartsWith("role " + user + " f,t,f,f,t,f,f,-1 SCRAM-SHA-256$"),
                              StartsWith("setting " + fleet_.database(ref_) + " - "),
                              StartsWith("database " + fleet_.database(ref_) + " " + user + " {" + user + "="),
                              StartsWith("database pgconvoy pgconvoy_provisioner {pgconvoy_provisioner="),
                              // Of the template: it owns nothing that is the platform's and cannot log in.
                              StartsWith("role pgc_tmplo_"), StartsWith("database pgc_tmpl_"),
                              StartsWith("member pgc_tmplo_"), StartsWith("setting  pgc_tmplo_")));
    }
  }

  static void ExpectReadOnlyReader(const Strike& strike) {
    EXPECT_EQ(strike.session_user, "pgconvoy_reader") << Shown(strike);
    EXPECT_TRUE(strike.read_only && !strike.superuser) << Shown(strike);
    for (const char* const blow : {"ALTER", "CREATE", "GRANT", "COPY", "lo_import"}) {
      EXPECT_THAT(strike.landed, Not(HasSubstr(blow)));
    }
  }

  std::map<std::string, std::string> ends_;
  std::string tenant_password_;
  std::set<std::string> old_standing_;
  std::set<std::string> new_standing_;
  size_t old_log_ = 0;
  size_t new_log_ = 0;
};

// The corpus can do harm: whoever loads these rows as a superuser has made the tenant one.
TEST_F(HostileOwner, WinsWhereASuperuserTouchesItsTables) {
  Plant("strike.sql");
  Plant("vectors.sql");
  Watch();
  fleet_.OnSource(ref_, "SET ROLE legacy_app; INSERT INTO evil.checked VALUES (4)");
  const std::vector<Strike> strikes = OldStrikes();
  ASSERT_EQ(strikes.size(), 1U);
  EXPECT_TRUE(strikes[0].superuser) << Shown(strikes[0]);
  const std::set<std::string> gained = Minus(Standing(fleet_.old_server()), old_standing_);
  EXPECT_THAT(gained, ::testing::Contains(StartsWith("role evil_admin t,")));
  EXPECT_THAT(gained, ::testing::Contains("canary program"));
  fleet_.OnSource(ref_, "SELECT FROM evil.partial");
  EXPECT_EQ(OldStrikes().back().vector, "index predicate") << "the planner does not run it";
}

TEST_F(HostileOwner, GainsNothingFromBeingMigrated) {
  Plant("strike.sql");
  Plant("vectors.sql");
  Plant("shadows.sql");
  AsTenant("ALTER DATABASE " + fleet_.database(ref_) + " SET search_path = evil, public, pg_catalog");
  Watch();
  const absl::Status moved = Migrate();
  EXPECT_EQ(Describe(moved), "OK");
  ExpectNothingGained();
  std::set<std::string> run;
  for (const Strike& strike : OldStrikes()) {
    // Only a query reads generated columns.
    EXPECT_EQ(strike.vector, "predicate beside a generated column");
    ExpectReadOnlyReader(strike);
  }
  for (const Strike& strike : NewStrikes()) {
    EXPECT_FALSE(strike.superuser) << Shown(strike);
    EXPECT_THAT(strike.session_user, AnyOf(StartsWith("pgc_a_"), StartsWith("pgc_tmplo_"))) << Shown(strike);
    run.insert(strike.vector);
  }
  EXPECT_THAT(run, ::testing::IsSupersetOf({"check", "domain", "index expression", "security definer"}));
  EXPECT_EQ(fleet_.Leftovers(), "");
  // Last: this is a superuser who touches the tables.
  EXPECT_EQ(fleet_.Dump("old", ref_), fleet_.Dump("new", ref_));
}

// A plan's own statements have to be planned.
TEST_F(HostileOwner, GainsNothingFromTheChecksOfAPlan) {
  Plant("strike.sql");
  AsTenant(
      "CREATE INDEX ON app.users (locale) WHERE evil.still('users'); CREATE INDEX ON app.invoice_lines (quantity) "
      "WHERE evil.still('lines'); CREATE INDEX ON app.job_results (score) WHERE evil.still('results')");
  TakeBackThePassword();
  Watch();
  EXPECT_EQ(Describe(Migrate()), "OK");
  ExpectNothingGained();
  std::set<std::string> run;
  for (const Strike& strike : OldStrikes()) {
    ExpectReadOnlyReader(strike);
    run.insert(strike.vector);
  }
  EXPECT_THAT(run, ::testing::Contains("users")) << "this test shows nothing";
}

// What the tenant's code does to its own target while the rows come in. Whatever becomes of the migration, it is OK or
// one clear error, a second attempt and a rollback are possible, and nothing is left.
TEST_F(HostileOwner, CannotStopARollbackOrANewAttempt) {
  const char* const sabotage[] = {
      "RESET ROLE; PERFORM pg_catalog.lo_create(0)",
      "RESET ROLE; CREATE TABLE IF NOT EXISTS app.of_the_login (i int)",
      "EXECUTE pg_catalog.format('GRANT SELECT ON app.users TO %I', session_user)",
      "EXECUTE pg_catalog.format('ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO %I', session_user)",
      "EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO PUBLIC', pg_catalog.current_database())",
      "EXECUTE pg_catalog.format('ALTER DATABASE %I SET statement_timeout = 1', pg_catalog.current_database())",
      "EXECUTE pg_catalog.format('ALTER ROLE %I PASSWORD ''known''', session_user)",
      "SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'Asia/Kathmandu'; SET search_path = "
      "app",
      "DROP SCHEMA pgconvoy CASCADE",
      "DELETE FROM pgconvoy.ledger",
      "RAISE EXCEPTION 'canary-of-a-row'",
  };
  const std::string instant = "SELECT extract(epoch FROM at) FROM app.trap";
  for (const char* const act : sabotage) {
    SCOPED_TRACE(act);
    // Only where it is loaded.
    AsTenant(
        "DROP TABLE IF EXISTS app.trap; CREATE OR REPLACE FUNCTION app.spring() RETURNS boolean LANGUAGE plpgsql AS "
        "$$ "
        "BEGIN IF session_user ~ '^pgc_a_' THEN " +
        std::string(act) +
        "; END IF; RETURN true; END $$; CREATE TABLE app.trap (at timestamptz, i int CHECK (app.spring())); INSERT "
        "INTO app.trap VALUES ('2026-01-02 03:04:05.678', 1)");
    done_.clear();
    reporter_.intents.clear();
    schemas_.Forget(*NewAttempt());
    // The first attempt is gone after COPY.
    const absl::Status first = RunTo(*NewAttempt(), Phase::kCopy);
    const absl::Status second = first.ok() ? Migrate() : first;
    EXPECT_THAT(Describe(second), AnyOf("OK", StartsWith("PGC-")));
    EXPECT_THAT(Describe(second), Not(HasSubstr("canary-of-a-row")));
    if (second.ok()) {
      EXPECT_EQ(fleet_.Leftovers(), "");
      EXPECT_EQ(fleet_.OnTarget(ref_, instant), fleet_.old_server().QueryValue(fleet_.database(ref_), instant));
    } else {
      EXPECT_NE(VerdictOf(second), Verdict::kTransient) << Describe(second);
    }
    ends_[act] = CodeOf(second);
    discard_writes_ = true;
    EXPECT_EQ(Describe(RunAll(*NewAttempt(Direction::kRollback), kRollback)), "OK");
    discard_writes_ = false;
    EXPECT_EQ(fleet_.WhyNotUntouched(ref_), "");
    EXPECT_EQ(fleet_.Leftovers(), "");
  }
  // What is no attack arrives: somebody's function leaves settings behind, or something of the login's own.
  for (const int harmless : {0, 2, 3, 7}) {
    EXPECT_EQ(ends_[sabotage[harmless]], "") << sabotage[harmless];
  }
}

// What the owner of a database can set, except what is refused by name.
TEST_F(HostileOwner, IsReadTheSameWhateverItHasSetForItsDatabase) {
  const std::pair<const char*, const char*> settings[] = {
      {"search_path", "evil, public, pg_catalog"},
      {"DateStyle", "'German, DMY'"},
      {"IntervalStyle", "iso_8601"},
      {"TimeZone", "'Asia/Kathmandu'"},
      {"extra_float_digits", "-15"},
      {"bytea_output", "escape"},
      {"client_encoding", "SQL_ASCII"},
      {"standard_conforming_strings", "off"},
      {"quote_all_identifiers", "on"},
      {"row_security", "off"},
      {"array_nulls", "off"},
      {"transform_null_equals", "on"},
      {"xmloption", "document"},
      {"statement_timeout", "'1ms'"},
      {"lock_timeout", "'1ms'"},
      {"idle_in_transaction_session_timeout", "'1ms'"},
      {"idle_session_timeout", "'1ms'"},
      {"client_connection_check_interval", "0"},
      {"synchronous_commit", "off"},
      {"default_transaction_isolation", "serializable"},
      {"default_transaction_read_only", "on"},
      {"default_transaction_deferrable", "on"},
      {"client_min_messages", "debug5"},
      {"password_encryption", "md5"},
      {"restrict_nonsystem_relation_kind", "''"},
  };
  const std::string rows =
      "SELECT (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM app.images t), (SELECT count(*) FROM "
      "audit.events)";
  const auto before = fleet_.old_server().QueryRows(fleet_.database(ref_), "SET timezone = 'UTC'; " + rows);
  const auto tenant = OpenTenant();
  for (const auto& [name, value] : settings) {
    ASSERT_EQ(
        Describe(tenant->ExecScript("ALTER DATABASE " + fleet_.database(ref_) + " SET " + name + " = " + value)),
        "OK")
        << name;
  }
  Watch();
  ASSERT_EQ(Describe(Migrate()), "OK");
  ExpectNothingGained();
  const std::string of_database =
      "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE "
      "d.datname = '" +
      fleet_.database(ref_) + "' ORDER BY 1";
  EXPECT_EQ(fleet_.old_server().QueryRows("postgres", of_database),
            fleet_.new_server().QueryRows("postgres", of_database));
  fleet_.new_server().Exec("postgres", "ALTER DATABASE " + fleet_.database(ref_) + " RESET ALL");
  EXPECT_EQ(fleet_.new_server().QueryRows(fleet_.database(ref_), "SET timezone = 'UTC'; " + rows), before);
}

TEST_F(HostileOwner, IsRefusedByNameForWhatWouldChangeWhoItsSessionsAre) {
  for (const std::string setting : {"role", "local_preload_libraries"}) {
    SCOPED_TRACE(setting);
    // By a superuser: after the second one, nobody else gets in without a setting of its own.
    fleet_.old_server().Exec("postgres", "ALTER DATABASE " + fleet_.database(ref_) + " RESET ALL; ALTER DATABASE " +
                                             fleet_.database(ref_) + " SET " + setting + " = 'legacy_app'");
    schemas_.Forget(*NewAttempt());
    const absl::Status refused = RunTo(*NewAttempt(), Phase::kPreValidation);
    EXPECT_EQ(CodeOf(refused), "PGC-SRC-UNSUPPORTED") << Describe(refused);
    EXPECT_THAT(MessageOf(refused), HasSubstr(": " + setting));
    EXPECT_EQ(fleet_.WhyNotUntouched(ref_), "");
  }
}

// 100 rows or an error.
TEST_F(HostileOwner, HidesNoRowsFromTheReader) {
  AsTenant(
      "CREATE TABLE app.hidden AS SELECT generate_series(1, 100) AS i; ALTER TABLE app.hidden ENABLE ROW LEVEL "
      "SECURITY; ALTER TABLE app.hidden FORCE ROW LEVEL SECURITY; CREATE POLICY few ON app.hidden USING (i <= 10)");
  fleet_.old_server().Exec("postgres", "ALTER ROLE pgconvoy_reader NOBYPASSRLS");
  const absl::Status refused = RunTo(*NewAttempt(), Phase::kPreValidation);
  EXPECT_EQ(CodeOf(refused), "PGC-CHECK-FAILED") << Describe(refused);
  EXPECT_THAT(Describe(refused), HasSubstr("BYPASSRLS"));
  fleet_.old_server().Exec("postgres", "ALTER ROLE pgconvoy_reader BYPASSRLS");
  done_.clear();
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*attempt, Phase::kProvision)), "OK");
  // The right goes between the check and the read.
  fleet_.old_server().Exec("postgres", "ALTER ROLE pgconvoy_reader NOBYPASSRLS");
  EXPECT_EQ(CodeOf(Run(*attempt, Phase::kBackup)), "PGC-PG-DENIED");
  fleet_.old_server().Exec("postgres", "ALTER ROLE pgconvoy_reader BYPASSRLS");
  ASSERT_EQ(Describe(Migrate()), "OK");
  EXPECT_EQ(fleet_.OnTarget(ref_, "SELECT count(*) FROM app.hidden"), "100");
}

// In every other moment the table is a view that runs the tenant's code.
TEST_F(HostileOwner, SwapsATableForAViewInVain) {
  Plant("strike.sql");
  AsTenant("CREATE TABLE evil.swapped AS SELECT generate_series(1, 100) AS i");
  const auto first = NewAttempt();
  ASSERT_EQ(Describe(RunTo(*first, Phase::kProvision)), "OK");
  Watch();
  std::atomic<bool> stop = false;
  std::atomic<int> swaps = 0;
  const auto tenant = OpenTenant();
  std::thread swapper([&] {
    while (!stop) {
      const absl::Status there = tenant->ExecScript(
          "BEGIN; ALTER TABLE evil.swapped RENAME TO real; CREATE VIEW evil.swapped AS SELECT i FROM evil.real WHERE "
          "evil.yes('swap'); COMMIT");
      tenant->Rollback();
      const absl::Status back =
          tenant->ExecScript("BEGIN; DROP VIEW evil.swapped; ALTER TABLE evil.real RENAME TO swapped; COMMIT");
      tenant->Rollback();
      swaps += (there.ok() ? 1 : 0) + (back.ok() ? 1 : 0);
    }
  });
  std::set<std::string> ends;
  for (int round = 0; round < 300 && (swaps < 300 || ends.size() < 2); ++round) {
    const auto attempt = NewAttempt();
    EXPECT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
    const absl::Status read = Run(*attempt, Phase::kBackup);
    ends.insert(read.ok() ? "OK" : CodeOf(read));
    const v1::BackupResult backup = read.ok() ? done_.back().backup() : v1::BackupResult();
    for (const v1::TableDigest& table : backup.tables()) {
      EXPECT_TRUE(table.table() != "evil.swapped" || table.rows() == 100) << table.rows();
    }
  }
  stop = true;
  swapper.join();
  EXPECT_GE(swaps.load(), 300);
  EXPECT_GE(ends.size(), 2U) << "no read met a swap";
  for (const std::string& end : ends) {
    EXPECT_THAT(end, AnyOf("OK", StartsWith("PGC-SRC-"), StartsWith("PGC-PG-"), "PGC-SCHEMA-DUMP"));
  }
  EXPECT_THAT(OldStrikes(), IsEmpty());
}

// ---- names -------------------------------------------------------------------------------------------------------

std::string Within(const std::string& text, char quote) {
  std::string quoted(1, quote);
  for (const char c : text) {
    quoted += std::string(c == quote ? 2 : 1, c);
  }
  return quoted + quote;
}

std::vector<std::string> HostileNames() {
  std::vector<std::string> names = {"\"",
                                    "'",
                                    "\\",
                                    "a\nb",
                                    "$$",
                                    "\\!",
                                    "\\copy",
                                    "\xe2\x80\xae-evil",
                                    "\x1b]0;owned\x07",
                                    "\x1b[2J",
                                    "%s%n",
                                    "; DROP TABLE x; --",
                                    "\"; DROP DATABASE postgres; --",
                                    "'||(SELECT 1)||'",
                                    "{ref}",
                                    "{{",
                                    "${env:HOME}",
                                    "a.b",
                                    "a\".\"b",
                                    ".",
                                    "..",
                                    "../../etc",
                                    "a/b",
                                    " ",
                                    "\t",
                                    "\r\n",
                                    "*",
                                    "a*",
                                    "COPY x FROM stdin;",
                                    "\\.",
                                    "-- Name: x; Type: TABLE",
                                    "\\unrestrict x",
                                    "select",
                                    "\xc3\x9cn\xc3\xaf",
                                    "\xf0\x9f\x92\xa3",
                                    "null",
                                    "\\N",
                                    ",",
                                    "{a,b}",
                                    "\"{\"",
                                    "=CMD()",
                                    std::string(63, 'n'),
                                    std::string(62, 'm') + "\"",
                                    std::string(31, '"')};
  const std::string pieces[] = {"\"",       "'",  "\\", "\n", "\r", "$",    "$$",   ";",    "--",
                                "/*",       "*/", ".",  ",",  "(",  ")",    "{",    "}",    "%",
                                "a",        "B",  " ",  "\t", "::", "\x1b", "\x7f", "\x01", "\xe2\x80\xae",
                                "\xc3\xbc", "E'", "|"};
  std::mt19937 random(20261122);
  while (names.size() < 250) {
    std::string name;
    for (size_t left = 1 + random() % 16; left > 0; --left) {
      name += pieces[random() % std::size(pieces)];
    }
    names.push_back(name);
  }
  std::set<std::string> seen;
  std::erase_if(names, [&seen](const std::string& name) { return !seen.insert(name).second; });
  return names;
}

// One of each kind of object under this name.
std::string ObjectsNamed(const std::string& name, bool own_schema) {
  const std::string quoted = Within(name, '"');
  const std::string schema = own_schema ? quoted : "app";
  const std::string of_schema = schema + "." + quoted;
  // A table has a type of its own name, and an index is a relation, too.
  const auto beside = [&](const char* prefix) { return Within(prefix + name.substr(0, 60), '"'); };
  return (own_schema ? "CREATE SCHEMA " + quoted + ";" : "") + "CREATE TABLE " + of_schema + " (" + quoted +
         " int CONSTRAINT " + quoted + " CHECK (" + quoted + " > 0), k serial, t text); CREATE TYPE " + schema + "." +
         beside("e:") + " AS ENUM ('calm', " + Within(name, '\'') + "); CREATE INDEX " + beside("i:") + " ON " +
         of_schema + " (" + quoted + "); CREATE SEQUENCE " + schema + "." + beside("s:") + "; CREATE POLICY " +
         quoted + " ON " + of_schema + " USING (true); CREATE TRIGGER " + quoted + " BEFORE INSERT ON " + of_schema +
         " EXECUTE FUNCTION app.nothing(); COMMENT ON TABLE " + of_schema +
         " IS E'x\\n\\\\! false\\n\\\\.\\n'; INSERT INTO " + of_schema + " (" + quoted +
         ", t) SELECT n, E'\\\\.\\n' || n FROM generate_series(1, 2) n;";
}

void ExpectNothingRaw(const std::string& log) {
  for (const char* const raw : {"\x1b", "\x07", "\xe2\x80\xae"}) {
    EXPECT_THAT(log, Not(HasSubstr(raw)));
  }
}

TEST(HostileNames, ArriveAsTheyAreAndReachNoLogRaw) {
  Relocation fleet({.projects = 1, .lease_ttl = "30s"});
  PlantCanary(fleet.new_server());
  const std::string& ref = fleet.refs()[0];
  std::string sql =
      "SET ROLE legacy_app; CREATE FUNCTION app.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; "
      "END';";
  size_t schemas = 40;
  for (const std::string& name : HostileNames()) {
    sql += ObjectsNamed(name, schemas > 0);
    schemas -= schemas > 0 ? 1 : 0;
  }
  fleet.OnSource(ref, sql);
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  const std::string migration = fleet.Submit();
  EXPECT_EQ(fleet.WaitEnded(migration, 150).state(), v1::MIGRATION_SUCCEEDED)
      << fleet.GetProject(migration, ref).ShortDebugString();
  EXPECT_EQ(fleet.WhyNotRelocated(ref), "");
  EXPECT_EQ(fleet.new_server().QueryValue("postgres", "SELECT count(*) FROM canary"), "0");
  ExpectNothingRaw(fleet.WorkerLog("a") + fleet.CoordinatorLog());
}

// ---- rows of shared tables ---------------------------------------------------------------------------------------

// All that a tenant of shared tables has are values, in every place that takes a text.
std::string RowsOf(const std::string& ref, const std::string& value, size_t n) {
  const std::string text = Within(value, '\'');
  const std::string of = "('" + ref + "', ";
  const std::string id = "md5('" + ref + "/" + std::to_string(n) + "')::uuid";
  return "INSERT INTO auth.users (project_ref, id, email, phone, aud, encrypted_password, raw_user_meta_data) "
         "VALUES " +
         of + id + ", " + text + ", " + text + ", " + text + ", " + text + ", jsonb_build_object(" + text + ", " +
         text + ")); INSERT INTO auth.sessions (project_ref, id, user_id, user_agent, tag, scopes) VALUES " + of +
         id + ", " + id + ", " + text + ", " + text + ", " + text +
         "); INSERT INTO auth.refresh_tokens (project_ref, token, user_id, parent) VALUES " + of + text + ", " + id +
         "::text, " + text + "); INSERT INTO storage.buckets (project_ref, id, name, allowed_mime_types) VALUES " +
         of + text + ", " + text + ", ARRAY[" + text +
         "]); INSERT INTO storage.objects (project_ref, bucket_id, name, owner, version) VALUES " + of + text + ", " +
         text + ", " + id + ", " + text + ");";
}

TEST(HostileRows, ArriveAsTheyAreAndReachNoLog) {
  Fleet fleet({.projects = 3, .lease_ttl = "30s"});
  PlantCanary(fleet.source());
  PlantCanary(fleet.target());
  std::string sql = "SET session_replication_role = replica;";
  size_t n = 0;
  for (const std::string& value : HostileNames()) {
    sql += RowsOf(fleet.refs()[0], value, ++n);
  }
  fleet.source().Exec("platform", sql);
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  const std::string migration = fleet.Submit();
  EXPECT_EQ(fleet.WaitEnded(migration, 120).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("a");
  for (const std::string& ref : fleet.refs()) {
    EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
  }
  EXPECT_EQ(fleet.target().QueryValue("postgres", "SELECT count(*) FROM canary"), "0");
  EXPECT_EQ(fleet.source().QueryValue("postgres", "SELECT count(*) FROM canary"), "0");
  ExpectNothingRaw(fleet.WorkerLog("a") + fleet.CoordinatorLog());
}

// Neither would the rows of the other tenant move with them, nor may the others wait for whoever has planted them.
TEST(HostileRows, ThatReferToAnothersStopTheirOwnProjectOnly) {
  Fleet fleet({.projects = 4, .lease_ttl = "30s"});
  const std::string& by_key = fleet.refs()[0];
  const std::string& by_link = fleet.refs()[1];
  const std::string victim =
      "(SELECT min(id::text)::uuid FROM auth.users WHERE project_ref = '" + fleet.refs()[2] + "')";
  fleet.source().Exec(
      "platform", "SET session_replication_role = replica; UPDATE auth.sessions SET user_id = " + victim +
                      " WHERE id = (SELECT min(id::text)::uuid FROM auth.sessions WHERE project_ref = '" + by_key +
                      "'); UPDATE storage.objects SET owner = " + victim +
                      " WHERE id = (SELECT min(id::text)::uuid FROM storage.objects WHERE project_ref = '" + by_link +
                      "')");
  const std::string rows = fleet.SourceHash(by_key) + fleet.SourceHash(by_link);
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  const std::string migration = fleet.Submit();
  EXPECT_EQ(fleet.WaitEnded(migration, 120).state(), v1::MIGRATION_FAILED);
  for (const std::string& ref : {by_key, by_link}) {
    const v1::Project project = fleet.GetProject(migration, ref);
    // One is seen before anything is made.
    EXPECT_EQ(project.state(), ref == by_key ? v1::FAILED : v1::ROLLED_BACK) << project.error().ShortDebugString();
    EXPECT_EQ(project.error().verdict(), v1::PERMANENT) << project.error().ShortDebugString();
    EXPECT_EQ(fleet.WhyNotUntouched(ref), "");
  }
  EXPECT_EQ(fleet.SourceHash(by_key) + fleet.SourceHash(by_link), rows);
  EXPECT_EQ(fleet.WhyNotIsolated(fleet.refs()[2]), "");
  EXPECT_EQ(fleet.WhyNotIsolated(fleet.refs()[3]), "");
}

// ---- who gets in where -------------------------------------------------------------------------------------------

TEST(LoginMatrix, EveryProjectGetsIntoItsOwnDatabaseOnly) {
  Fleet fleet({.projects = 6, .lease_ttl = "30s"});
  fleet.StartCoordinator();
  fleet.StartWorker("a");
  ASSERT_EQ(fleet.WaitEnded(fleet.Submit(), 120).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("a");
  const auto tries = [&](const std::string& user, const std::string& password, const std::string& database) {
    const auto session = pg::Connection::Open(fleet.target().EndpointFor(user, password, database), {});
    return session.ok() ? "in" : CodeOf(session.status());
  };
  std::vector<std::string> databases = {"pgconvoy"};
  for (const std::string& ref : fleet.refs()) {
    databases.push_back("project_" + ref);
    // Who gets in where must not hang on the password.
    fleet.target().Exec("postgres", "ALTER ROLE \"project_" + ref + "\" PASSWORD 'of the matrix'");
  }
  const std::string platform_password = fleet.env()["PGCONVOY_DEMO_TENANT_PASSWORD"];
  for (const std::string& database : databases) {
    for (const std::string& ref : fleet.refs()) {
      const std::string end = tries("project_" + ref, "of the matrix", database);
      EXPECT_EQ(end, database == "project_" + ref ? "in" : "PGC-PG-DENIED") << ref << " into " << database;
    }
    for (const char* const other : {"app_fallback", "tenant_other"}) {
      EXPECT_EQ(tries(other, platform_password, database), "PGC-PG-DENIED") << other << " into " << database;
    }
    EXPECT_EQ(fleet.target().QueryValue("postgres",
                                        "SELECT has_database_privilege('public', '" + database + "', 'CONNECT')"),
              "f");
  }
  EXPECT_EQ(fleet.target().QueryValue(
                "postgres", "SELECT count(*) FROM pg_auth_members WHERE roleid::regrole::text ~ '^.?project_'"),
            "0");
}

}  // namespace
}  // namespace pgconvoy::testing
