#include "common/pg/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>

#include "common/base/error.h"
#include "common/pg/pg_error.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace pgconvoy::pg {
namespace {

using ::pgconvoy::testing::Eventually;
using ::pgconvoy::testing::PgCluster;
using ::testing::HasSubstr;
using ::testing::Not;

class ConnectionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = new PgCluster();
    cluster_->Exec("postgres", "CREATE ROLE tenant LOGIN PASSWORD 'tenant-password'");
    cluster_->Exec("postgres", "CREATE DATABASE tenant_db OWNER tenant");
  }
  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }

  static std::unique_ptr<Connection> MustOpen(const Endpoint& endpoint, const SessionOptions& options = {}) {
    auto connection = Connection::Open(endpoint, options);
    EXPECT_TRUE(connection.ok()) << Describe(connection.status());
    return connection.ok() ? *std::move(connection) : nullptr;
  }

  static Endpoint Tenant() { return cluster_->EndpointFor("tenant", "tenant-password", "tenant_db"); }

  static std::string Setting(Connection& connection, const std::string& name) {
    const auto result = connection.Exec("SELECT current_setting($1)", {name});
    return result.ok() ? result->Text(0, 0) : Describe(result.status());
  }

  static PgCluster* cluster_;
};

PgCluster* ConnectionTest::cluster_ = nullptr;

// Everything that the owner of a database may set, which changes what a session reads, writes or resolves.
const std::map<std::string, std::pair<std::string, std::string>>& HostileSettings() {
  static const std::map<std::string, std::pair<std::string, std::string>> settings = {
      {"search_path", {"evil, public, pg_catalog", "pg_catalog,pg_temp"}},
      {"role", {"tenant", "none"}},
      {"DateStyle", {"'German, DMY'", "ISO, MDY"}},
      {"IntervalStyle", {"iso_8601", "postgres"}},
      {"TimeZone", {"'Asia/Kathmandu'", "UTC"}},
      {"extra_float_digits", {"-15", "1"}},
      {"bytea_output", {"escape", "hex"}},
      {"client_encoding", {"SQL_ASCII", "UTF8"}},
      {"standard_conforming_strings", {"off", "on"}},
      {"quote_all_identifiers", {"on", "off"}},
      {"row_security", {"on", "off"}},
      {"array_nulls", {"off", "on"}},
      {"transform_null_equals", {"on", "off"}},
      {"xmloption", {"document", "content"}},
      {"statement_timeout", {"'1ms'", "0"}},
      {"lock_timeout", {"'1ms'", "10s"}},
      {"idle_in_transaction_session_timeout", {"'1ms'", "1min"}},
      {"idle_session_timeout", {"'10ms'", "0"}},
      {"client_connection_check_interval", {"0", "1s"}},
      {"synchronous_commit", {"off", "on"}},
      {"default_transaction_isolation", {"serializable", "read committed"}},
      {"default_transaction_read_only", {"on", "off"}},
      {"default_transaction_deferrable", {"on", "off"}},
      {"client_min_messages", {"debug5", "error"}},
      {"restrict_nonsystem_relation_kind", {"''", "view,foreign-table"}},
  };
  return settings;
}

TEST_F(ConnectionTest, PinsItsSettingsAgainstTheOwnerOfTheDatabase) {
  cluster_->Exec("postgres", "CREATE DATABASE hijacked OWNER tenant");
  // By the tenant itself: the point is that an owner without any privilege can do this.
  const auto tenant = MustOpen(cluster_->EndpointFor("tenant", "tenant-password", "hijacked"));
  ASSERT_NE(tenant, nullptr);
  for (const auto& [name, values] : HostileSettings()) {
    ASSERT_EQ(tenant->Exec("ALTER DATABASE hijacked SET " + name + " = " + values.first).status(), absl::OkStatus())
        << name;
  }
  const auto connection = MustOpen(cluster_->Superuser("hijacked"));
  ASSERT_NE(connection, nullptr);
  for (const auto& [name, values] : HostileSettings()) {
    EXPECT_EQ(Setting(*connection, name), values.second) << name;
  }
  EXPECT_EQ(connection->Exec("SELECT current_user")->Text(0, 0), "postgres");
}

TEST_F(ConnectionTest, GetsInWhereTheOwnerLoadsALibraryThatIsNotThere) {
  cluster_->Exec("postgres", "CREATE DATABASE locked OWNER tenant");
  cluster_->Exec("postgres", "ALTER DATABASE locked SET local_preload_libraries = 'nothing'");
  EXPECT_NE(MustOpen(cluster_->EndpointFor("tenant", "tenant-password", "locked")), nullptr);
}

TEST_F(ConnectionTest, KeepsNothingWhenItIsToldSo) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  ASSERT_EQ(Describe(connection->ExecScript("CREATE SCHEMA own; CREATE TABLE own.t (i int)")), "OK");
  connection->KeepNothing();
  const std::string set = "SELECT set_config($1, $2, false)";
  EXPECT_EQ(connection->Exec(set, {"search_path", "own"})->Text(0, 0), "own");
  EXPECT_EQ(Setting(*connection, "search_path"), "pg_catalog,pg_temp");
  EXPECT_EQ(Setting(*connection, "transaction_read_only"), "on");
  for (const char* const write : {"INSERT INTO own.t VALUES (1)", "ALTER ROLE tenant PASSWORD 'x'"}) {
    EXPECT_EQ(SqlStateOf(connection->Exec(write).status()), "25006") << write;
    EXPECT_EQ(SqlStateOf(connection->CopyOut(write, [](std::string_view) { return absl::OkStatus(); })), "25006");
  }
  // A way out, taken one statement before.
  EXPECT_TRUE(connection->Exec(set, {"default_transaction_read_only", "off"}).ok());
  EXPECT_TRUE(connection->Exec(set, {"transaction_read_only", "off"}).ok() == false);
  EXPECT_EQ(SqlStateOf(connection->Exec("INSERT INTO own.t VALUES (1)").status()), "25006");
  {
    const auto transaction = Transaction::Begin(*connection, "ISOLATION LEVEL REPEATABLE READ");
    ASSERT_TRUE(transaction.ok());
    EXPECT_TRUE(connection->Exec(set, {"search_path", "own"}).ok());
    EXPECT_EQ(SqlStateOf(connection->Exec("INSERT INTO own.t VALUES (1)").status()), "25006");
  }
  {
    const auto transaction = Transaction::Begin(*connection);
    ASSERT_TRUE(transaction.ok());
    EXPECT_TRUE(connection->Exec(set, {"search_path", "own"}).ok());
    EXPECT_EQ(Describe((*transaction)->Commit()), "OK");
  }
  EXPECT_EQ(Setting(*connection, "search_path"), "pg_catalog,pg_temp");
  EXPECT_EQ(connection->ExecPrepared("one", "SELECT 1")->Text(0, 0), "1");
  EXPECT_EQ(connection->ExecPrepared("one", "SELECT 1")->Text(0, 0), "1");
  int rows = 0;
  EXPECT_EQ(Describe(connection->CopyOut("COPY (SELECT generate_series(1, 3)) TO STDOUT",
                                         [&rows](std::string_view) {
                                           ++rows;
                                           return absl::OkStatus();
                                         })),
            "OK");
  EXPECT_EQ(rows, 3);
  EXPECT_EQ(Describe(connection->Rename("renamed")), "OK");
  EXPECT_EQ(Setting(*connection, "application_name"), "renamed");
  EXPECT_EQ(SqlStateOf(connection->Exec("SELECT 1/0").status()), "22012");
  EXPECT_EQ(connection->Exec("SELECT $1::int + 1", {"1"})->Text(0, 0), "2");
  cluster_->Exec("postgres", "SELECT pg_terminate_backend(" + std::to_string(connection->backend_pid()) + ")");
  EXPECT_FALSE(connection->Exec("SELECT 1").ok());
  EXPECT_TRUE(connection->broken());
}

TEST_F(ConnectionTest, AnalyzesWithoutPlanningOrRunning) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  connection->KeepNothing();
  EXPECT_EQ(Describe(connection->Analyze("SELECT 1/0 FROM pg_class")), "OK");
  EXPECT_EQ(SqlStateOf(connection->Analyze("SELECT nothing FROM pg_class")), "42703");
  EXPECT_EQ(connection->Exec("SELECT 1")->Text(0, 0), "1");
}

TEST_F(ConnectionTest, SetsTheTimeoutsThatWereAskedFor) {
  SessionOptions options;
  options.statement_timeout_ms = 5'400'000;
  options.lock_timeout_ms = 1'500;
  options.idle_in_transaction_timeout_ms = 86'400'000;
  options.synchronous_commit = false;
  const auto connection = MustOpen(Tenant(), options);
  ASSERT_NE(connection, nullptr);
  EXPECT_EQ(Setting(*connection, "statement_timeout"), "90min");
  EXPECT_EQ(Setting(*connection, "lock_timeout"), "1500ms");
  EXPECT_EQ(Setting(*connection, "idle_in_transaction_session_timeout"), "1d");
  EXPECT_EQ(Setting(*connection, "synchronous_commit"), "off");
}

TEST_F(ConnectionTest, BoundsTheWaitOfBothSidesOnADeadNetwork) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  EXPECT_EQ(Setting(*connection, "tcp_keepalives_idle"), "3");
  EXPECT_EQ(Setting(*connection, "tcp_keepalives_interval"), "1");
  EXPECT_EQ(Setting(*connection, "tcp_keepalives_count"), "3");
}

TEST_F(ConnectionTest, RefusesConninfoThatSmugglesKeywords) {
  for (const char* const bad :
       {"options=-csearch_path=evil", "user=postgres", "password=x", "dbname=postgres", "application_name=x"}) {
    Endpoint endpoint = Tenant();
    endpoint.conninfo += std::string(" ") + bad;
    EXPECT_EQ(CodeOf(Connection::Open(endpoint, {}).status()), "PGC-PG-CONNINFO") << bad;
  }
}

TEST_F(ConnectionTest, DoesNotRepeatAConninfoThatItCannotParse) {
  Endpoint endpoint = Tenant();
  endpoint.conninfo += " sslkey='s3cret";
  const auto status = Connection::Open(endpoint, {}).status();
  EXPECT_EQ(CodeOf(status), "PGC-PG-CONNINFO");
  EXPECT_THAT(Describe(status), Not(HasSubstr("s3cret")));
}

TEST_F(ConnectionTest, CallsAWrongPasswordPermanentAndDoesNotPrintIt) {
  const auto status = Connection::Open(cluster_->EndpointFor("tenant", "wr0ng-s3cret", "tenant_db"), {}).status();
  EXPECT_EQ(CodeOf(status), "PGC-PG-AUTH");
  EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
  EXPECT_EQ(SqlStateOf(status), "28P01");
  EXPECT_THAT(Describe(status), Not(HasSubstr("s3cret")));
}

TEST_F(ConnectionTest, CallsARoleWithoutLoginPermanent) {
  cluster_->Exec("postgres", "CREATE ROLE shut NOLOGIN PASSWORD 'p'");
  const auto status = Connection::Open(cluster_->EndpointFor("shut", "p", "tenant_db"), {}).status();
  EXPECT_EQ(CodeOf(status), "PGC-PG-AUTH");
  EXPECT_EQ(SqlStateOf(status), "28000");
}

TEST_F(ConnectionTest, CallsAMissingDatabasePermanent) {
  const auto status = Connection::Open(cluster_->Superuser("absent"), {}).status();
  EXPECT_EQ(CodeOf(status), "PGC-PG-NO-DATABASE");
  EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
}

TEST_F(ConnectionTest, CallsADatabaseThatTakesNoConnectionsPermanent) {
  // What an interrupted DROP DATABASE leaves behind.
  cluster_->Exec("postgres", "CREATE DATABASE half_dropped");
  cluster_->Exec("postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half_dropped'");
  for (const char* const database : {"half_dropped", "template0"}) {
    const auto status = Connection::Open(cluster_->Superuser(database), {}).status();
    EXPECT_EQ(CodeOf(status), "PGC-PG-CLOSED-DATABASE") << Describe(status);
    EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
    EXPECT_THAT(MessageOf(status), HasSubstr(database));
  }
}

TEST_F(ConnectionTest, CallsANameThatDoesNotResolveUnreachable) {
  Endpoint endpoint = Tenant();
  endpoint.conninfo = "host=no-such-host.invalid";
  EXPECT_EQ(CodeOf(Connection::Open(endpoint, {}).status()), "PGC-PG-UNREACHABLE");
}

TEST_F(ConnectionTest, CallsARefusedPortTransient) {
  Endpoint endpoint = Tenant();
  endpoint.conninfo = "host=127.0.0.1 port=" + std::to_string(::pgconvoy::testing::FreePort());
  const auto status = Connection::Open(endpoint, {}).status();
  EXPECT_EQ(CodeOf(status), "PGC-PG-UNREACHABLE");
  EXPECT_EQ(VerdictOf(status), Verdict::kTransient);
}

TEST_F(ConnectionTest, TriesTheNextHostWhenTheFirstRefuses) {
  Endpoint endpoint = Tenant();
  endpoint.conninfo = "host=127.0.0.1,127.0.0.1 port=" + std::to_string(::pgconvoy::testing::FreePort()) + "," +
                      std::to_string(cluster_->port());
  EXPECT_NE(MustOpen(endpoint), nullptr);
}

TEST_F(ConnectionTest, BindsParametersAndReadsValues) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  const auto result =
      connection->Exec("SELECT $1::text AS a, $2::text, 42::int8, true", {"it's \\ {x}", std::nullopt});
  ASSERT_TRUE(result.ok()) << Describe(result.status());
  EXPECT_EQ(result->rows(), 1);
  EXPECT_EQ(result->columns(), 4);
  EXPECT_EQ(result->column_name(0), "a");
  EXPECT_EQ(result->Get(0, 0), "it's \\ {x}");
  EXPECT_EQ(result->Get(0, 1), std::nullopt);
  EXPECT_EQ(result->Text(0, 1), "");
  EXPECT_EQ(result->Int(0, 2), 42);
  EXPECT_EQ(result->Int(0, 1), 0);
  EXPECT_TRUE(result->Bool(0, 3));
  EXPECT_EQ(result->Get(1, 0), std::nullopt);
}

TEST_F(ConnectionTest, RefusesANulByteInsteadOfCuttingTheValueThere) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  EXPECT_EQ(CodeOf(connection->Exec("SELECT $1::text", {std::string("a\0b", 3)}).status()), "PGC-PG-NUL");
  EXPECT_EQ(CodeOf(connection->ExecScript(std::string("SELECT 1\0; x", 12))), "PGC-PG-NUL");
}

TEST_F(ConnectionTest, NamesTableAndConstraintButNoRowData) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  ASSERT_TRUE(connection
                  ->ExecScript("CREATE TEMP TABLE t (v text CONSTRAINT only_one UNIQUE, n int);"
                               "INSERT INTO t VALUES ('s3cret')")
                  .ok());
  const auto unique = connection->Exec("INSERT INTO t VALUES ('s3cret')").status();
  EXPECT_EQ(CodeOf(unique), "PGC-PG-23505");
  EXPECT_EQ(VerdictOf(unique), Verdict::kPermanent);
  EXPECT_THAT(MessageOf(unique), HasSubstr("only_one"));
  EXPECT_THAT(MessageOf(unique), Not(HasSubstr("s3cret")));
  const auto syntax = connection->Exec("INSERT INTO t VALUES ('', 's3cret')").status();
  EXPECT_EQ(SqlStateOf(syntax), "22P02");
  EXPECT_THAT(MessageOf(syntax), Not(HasSubstr("s3cret")));
}

TEST_F(ConnectionTest, ReportsATerminatedSessionAsTransientAndBroken) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  cluster_->Exec("postgres", "SELECT pg_terminate_backend(" + std::to_string(connection->backend_pid()) + ", 5000)");
  const auto status = connection->Exec("SELECT 1").status();
  EXPECT_EQ(VerdictOf(status), Verdict::kTransient) << Describe(status);
  EXPECT_EQ(CodeOf(status), "PGC-PG-LOST");
  EXPECT_TRUE(connection->broken());
}

TEST_F(ConnectionTest, InterruptsAStatementFromAnotherThread) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  const std::string running =
      "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)' AND pid = " +
      std::to_string(connection->backend_pid());
  std::thread interrupter([&] {
    EXPECT_TRUE(Eventually([&] { return cluster_->QueryValue("postgres", running) == "1"; }));
    connection->Interrupt();
  });
  const auto status = connection->Exec("SELECT pg_sleep(600)").status();
  interrupter.join();
  EXPECT_EQ(SqlStateOf(status), "57014");
  EXPECT_TRUE(connection->Exec("SELECT 1").ok());
}

TEST_F(ConnectionTest, GivesUpOnAServerThatIsSilentForTooLong) {
  for (const bool copy : {false, true}) {
    const auto connection = MustOpen(Tenant());
    connection->SetSilenceLimit(100);
    const absl::Status status = copy ? connection->CopyOut("COPY (SELECT pg_sleep(600)) TO STDOUT",
                                                           [](std::string_view) { return absl::OkStatus(); })
                                     : connection->ExecScript("SELECT pg_sleep(600)");
    EXPECT_EQ(CodeOf(status), "PGC-PG-SILENT") << Describe(status);
    EXPECT_EQ(VerdictOf(status), Verdict::kTransient);
    EXPECT_TRUE(connection->broken());
  }
}

TEST_F(ConnectionTest, SurvivesACopyInAPlainStatement) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  ASSERT_TRUE(connection->ExecScript("CREATE TEMP TABLE t (n int)").ok());
  EXPECT_EQ(CodeOf(connection->Exec("COPY (SELECT generate_series(1, 100000)) TO STDOUT").status()), "PGC-PG-COPY");
  EXPECT_EQ(CodeOf(connection->Exec("COPY t FROM STDIN").status()), "PGC-PG-COPY");
  EXPECT_EQ(CodeOf(connection->ExecScript("COPY (SELECT 1) TO STDOUT; COPY (SELECT 2) TO STDOUT; SELECT 3")),
            "PGC-PG-COPY");
  EXPECT_EQ(connection->Exec("SELECT 4")->Int(0, 0), 4);
}

TEST_F(ConnectionTest, DoesNotKeepTheNoticesOfATenant) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(
      connection->ExecScript("SET client_min_messages = notice; DO $$ BEGIN RAISE NOTICE 's3cret'; END $$").ok());
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(ConnectionTest, CommitsAndRollsBack) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  ASSERT_TRUE(connection->ExecScript("CREATE TEMP TABLE t (n int)").ok());
  {
    const auto dropped = Transaction::Begin(*connection);
    ASSERT_TRUE(dropped.ok());
    ASSERT_TRUE(connection->Exec("INSERT INTO t VALUES (1)").ok());
  }
  EXPECT_EQ(connection->Exec("SELECT count(*) FROM t")->Int(0, 0), 0);
  const auto kept = Transaction::Begin(*connection, "ISOLATION LEVEL REPEATABLE READ");
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(Setting(*connection, "transaction_isolation"), "repeatable read");
  EXPECT_EQ(connection->Exec("INSERT INTO t VALUES (1), (2)")->affected(), 2);
  EXPECT_EQ((*kept)->Commit(), absl::OkStatus());
  EXPECT_EQ(connection->Exec("SELECT count(*) FROM t")->Int(0, 0), 2);
}

TEST_F(ConnectionTest, DoesNotTakeACommitThatRolledBackForSuccess) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  ASSERT_TRUE(connection->Begin().ok());
  ASSERT_FALSE(connection->Exec("SELECT 1/0").ok());
  EXPECT_EQ(CodeOf(connection->Commit()), "PGC-PG-ROLLED-BACK");
}

TEST_F(ConnectionTest, KnowsThatAnErrorAnswerToCommitIsNotInDoubt) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  ASSERT_TRUE(connection
                  ->ExecScript("CREATE TEMP TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
                               "BEGIN; INSERT INTO t VALUES (1), (1)")
                  .ok());
  const auto status = connection->Commit();
  EXPECT_EQ(SqlStateOf(status), "23505");
  EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
}

TEST_F(ConnectionTest, KnowsThatNothingIsInDoubtBeforeCommitIsSent) {
  const auto connection = MustOpen(Tenant());
  ASSERT_NE(connection, nullptr);
  ASSERT_TRUE(connection->Begin().ok());
  cluster_->Exec("postgres", "SELECT pg_terminate_backend(" + std::to_string(connection->backend_pid()) + ", 5000)");
  ASSERT_FALSE(connection->Exec("SELECT 1").ok());
  EXPECT_EQ(VerdictOf(connection->Commit()), Verdict::kTransient);
}

TEST(CommitTest, IsInDoubtWhenTheServerDiesUnderIt) {
  PgCluster cluster;
  cluster.Exec("postgres",
               "CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
               "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
               " $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$;"
               "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
               " FOR EACH ROW EXECUTE FUNCTION slow()");
  auto connection = Connection::Open(cluster.Superuser(), {});
  ASSERT_TRUE(connection.ok()) << Describe(connection.status());
  ASSERT_TRUE((*connection)->ExecScript("BEGIN; INSERT INTO public.t VALUES (1)").ok());
  std::thread killer([&] {
    EXPECT_TRUE(Eventually([&] {
      return cluster.QueryValue("postgres",
                                "SELECT count(*) FROM pg_stat_activity"
                                " WHERE query = 'COMMIT' AND state = 'active'") == "1";
    }));
    cluster.Kill();
  });
  const auto status = (*connection)->Commit();
  killer.join();
  EXPECT_EQ(VerdictOf(status), Verdict::kInDoubt);
  EXPECT_EQ(CodeOf(status), "PGC-PG-IN-DOUBT");
  cluster.Start();
  EXPECT_EQ(cluster.QueryValue("postgres", "SELECT count(*) FROM t"), "0");
}

}  // namespace
}  // namespace pgconvoy::pg
