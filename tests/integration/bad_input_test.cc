// What people get wrong. Every mistake has one clear error with code, place and remedy, and the right exit code; it is
// not tried for ever, changes nothing, and shows no password.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/integration/fleet.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kWrongPassword[] = "wrong-password-of-the-tests";
constexpr char kPlaintextElsewhere[] = "host=elsewhere.invalid port=5432 sslmode=disable";
constexpr char kPasswordInPlan[] = "password-inside-a-plan";

constexpr int kFailure = 1;
constexpr int kWarnings = 2;
constexpr int kNeedsHuman = 3;
constexpr int kUsage = 64;
constexpr int kBadInput = 65;
constexpr int kUnavailable = 69;

class BadInput : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(Fleet::Options{.projects = 3});
    fleet_->env()["PGCONVOY_TEST_WRONG_PASSWORD"] = kWrongPassword;
    fleet_->env()["PGCONVOY_TEST_PLAINTEXT"] = kPlaintextElsewhere;
    fleet_->StartCoordinator();
    ASSERT_TRUE(Eventually(
        [] { return fleet_->store().QueryValue("postgres", "SELECT to_regclass('pgconvoy.migration')") != ""; }));
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void SetUp() override {
    plan_ = ReadFile(std::string(std::getenv("PGCONVOY_SOURCE_DIR")) + "/plans/isolate-projects.yaml");
    projects_ = Write("projects.csv", "ref\n" + ref() + "\n");
    migrations_ = Migrations();
    rows_ = Rows();
  }

  void TearDown() override {
    for (const std::string& ref : fleet_->refs()) {
      EXPECT_EQ(fleet_->WhyNotUntouched(ref), "");
    }
    EXPECT_EQ(fleet_->Leftovers(), "");
    EXPECT_EQ(Rows(), rows_);
    ExpectNoSecret();
  }

  static const std::string& ref() { return fleet_->refs()[0]; }

  static std::string Rows() {
    std::string hashes;
    for (const std::string& ref : fleet_->refs()) {
      hashes += fleet_->SourceHash(ref) + "\n";
    }
    return hashes;
  }

  static std::string Migrations() {
    return fleet_->store().QueryValue("postgres", "SELECT count(*) FROM pgconvoy.migration");
  }

  static std::string Write(const std::string& name, const std::string& text) {
    const std::string path = fleet_->folder() + "/" + name;
    std::ofstream(path) << text;
    return path;
  }

  // Puts `text` in the place of the only `present` in the plan.
  void Edit(const std::string& present, const std::string& text) {
    const size_t at = plan_.find(present);
    ASSERT_NE(at, std::string::npos) << present;
    ASSERT_EQ(plan_.find(present, at + 1), std::string::npos) << present;
    plan_.replace(at, present.size(), text);
  }

  // So that whoever is to give up after some attempts does so soon.
  void TryTwice() {
    plan_.replace(plan_.find("  max_attempts: 8"), 17, "  max_attempts: 2\n  initial_backoff_ms: 50");
  }

  std::string PlanPath() const { return Write("plan.yaml", plan_); }

  // "FILE:LINE" of the first line that holds `text`.
  std::string PlaceOf(const std::string& text) const {
    const auto lines = std::count(plan_.begin(), plan_.begin() + static_cast<ptrdiff_t>(plan_.find(text)), '\n');
    return PlanPath() + ":" + std::to_string(lines + 1);
  }

  Finished CliAt(const std::string& address, std::vector<std::string> args) {
    const std::vector<std::string> program = {"pgconvoy", "--address", address, "--no-input"};
    args.insert(args.begin(), program.begin(), program.end());
    Finished done = RunToEnd({.argv = args, .env = {{"HOME", fleet_->folder()}, {"XDG_CONFIG_HOME", ""}}},
                             std::chrono::seconds(120));
    said_ += done.out + done.err;
    return done;
  }
  Finished Cli(const std::vector<std::string>& args) { return CliAt(fleet_->address(), args); }

  Finished DryRun() { return Cli({"submit", PlanPath(), "--projects", projects_, "--dry-run"}); }

  // Submits, waits for the end, and returns what is said about the project.
  std::string RunToTheEnd(int exit_code) {
    const Finished done = Cli({"submit", PlanPath(), "--projects", projects_, "--wait", "--timeout", "100s"});
    EXPECT_EQ(done.exit_code, exit_code) << done.err;
    return Cli({"describe", "project", "latest", ref()}).out;
  }

  // Neither for real nor for show nor as a plan alone; and the coordinator never heard of it.
  void ExpectPlanRefused(const std::string& error) {
    const std::string plan = PlanPath();
    for (const std::vector<std::string>& args : {std::vector<std::string>{"submit", plan, "--projects", projects_},
                                                 {"submit", plan, "--projects", projects_, "--dry-run"},
                                                 {"submit", plan, "--all"},
                                                 {"plan", "validate", plan}}) {
      ExpectRefused(args, error);
    }
  }

  void ExpectRefused(const std::vector<std::string>& args, const std::string& error) {
    const Finished done = Cli(args);
    EXPECT_EQ(done.exit_code, kBadInput) << done.err;
    EXPECT_EQ(done.out, "");
    EXPECT_THAT(done.err, HasSubstr(error));
    EXPECT_EQ(Migrations(), migrations_);
  }

  void NeedWorker() {
    if (!worker_started_) {
      fleet_->StartWorker("a");
      worker_started_ = true;
    }
  }

  // A worker of this test's own: `prefix` runs what follows it with less than the test has.
  Process OwnWorker(std::vector<std::string> prefix) {
    if (worker_started_) {
      fleet_->worker("a").Kill(SIGTERM);
      EXPECT_EQ(fleet_->worker("a").Wait(), 0);
      worker_started_ = false;
    }
    const std::vector<std::string> worker = {BinaryPath("pgconvoy-worker"), "--coordinator", fleet_->address(),
                                             "--worker-id", "own"};
    prefix.insert(prefix.end(), worker.begin(), worker.end());
    const std::string log = fleet_->folder() + "/worker-own.log";
    return Process({.argv = prefix, .env = fleet_->env(), .stdout_path = log, .stderr_path = log});
  }

  void ExpectNoSecret() {
    const std::string everything = said_ + fleet_->CoordinatorLog() + fleet_->WorkerLog("a") +
                                   fleet_->WorkerLog("own") + fleet_->source().log() + fleet_->target().log() +
                                   fleet_->store().log();
    EXPECT_THAT(everything, Not(HasSubstr(kPasswordInPlan)));
    for (const auto& [name, value] : fleet_->env()) {
      if (name.ends_with("_PASSWORD")) {
        EXPECT_EQ(everything.find(value), std::string::npos) << name;
      }
    }
  }

  static inline std::unique_ptr<Fleet> fleet_;
  static inline bool worker_started_ = false;
  std::string plan_;
  std::string projects_;
  std::string migrations_;
  std::string rows_;
  // All that the CLI has said in this test.
  std::string said_;
};

// ---- refused before anything begins ----------------------------------------------------------------------------

TEST_F(BadInput, AnUnknownKeyOfAPlanIsNamedWithWhatWasMeant) {
  Edit("  directory: ${env:", "  direktory: ${env:");
  ExpectPlanRefused("error PGC-PLAN-UNKNOWN-KEY " + PlaceOf("direktory") +
                    ":3 backup.direktory: unknown key; did you mean \"directory\"?");
}

TEST_F(BadInput, AKeyThatOccursTwiceIsRefusedWithBothLines) {
  Edit("version: 1\n", "version: 1\nversion: 1 # again\n");
  ExpectPlanRefused("error PGC-PLAN-DUPLICATE-KEY " + PlaceOf("# again") + ":1: the key \"version\" of line 15");
}

TEST_F(BadInput, AnAnchorIsRefused) {
  Edit("\nsource:", "\nsource: &here");
  ExpectPlanRefused("error PGC-PLAN-ANCHOR " + PlaceOf("&here"));
}

TEST_F(BadInput, AWordInThePlaceOfANumberIsRefused) {
  Edit("batch_size: 20", "batch_size: many");
  ExpectPlanRefused("error PGC-PLAN-TYPE " + PlaceOf("many") + ":15 execution.batch_size: \"many\" is not");
}

TEST_F(BadInput, APasswordInAPlanIsRefusedAndNotRepeated) {
  Edit("${env:PGCONVOY_SHARED_READER_PASSWORD}", kPasswordInPlan);
  ExpectPlanRefused("error PGC-PLAN-SECRET-LITERAL " + PlaceOf(kPasswordInPlan) +
                    ":17 servers.shared.reader.password: a plan may not hold a secret; write ${env:NAME}");
}

TEST_F(BadInput, APasswordInAConninfoIsRefusedAndNotRepeated) {
  Edit("${env:PGCONVOY_SHARED_CONNINFO}", std::string("host=a password=") + kPasswordInPlan);
  ExpectPlanRefused("error PGC-PLAN-CONNINFO " + PlaceOf(kPasswordInPlan) + ":15 servers.shared.conninfo");
}

TEST_F(BadInput, EveryMistakeOfAPlanIsReportedAtOnce) {
  Edit("batch_size: 20", "batch_size: many");
  Edit("    stage: PRE", "    stage: BEFORE");
  ExpectPlanRefused("error PGC-PLAN-TYPE " + PlaceOf("many"));
  ExpectPlanRefused("error PGC-PLAN-ENUM " + PlaceOf("BEFORE"));
}

TEST_F(BadInput, APlanThatIsNoFileIsRefused) {
  ExpectRefused({"submit", fleet_->folder() + "/none.yaml", "--all"},
                "error PGC-PLAN-FILE " + fleet_->folder() + "/none.yaml: there is no such file");
  ExpectRefused({"submit", fleet_->folder(), "--all"}, "is a directory");
}

TEST_F(BadInput, ARefThatOccursTwiceIsRefusedWithBothLines) {
  const std::string csv = Write("twice.csv", "ref\n" + ref() + "\n" + fleet_->refs()[1] + "\n" + ref() + "\n");
  for (const char* const mode : {"--dry-run", "--wait"}) {
    ExpectRefused({"submit", PlanPath(), "--projects", csv, mode},
                  "error PGC-CSV-DUPLICATE " + csv + ":4 ref: the ref of line 2 occurs again in line 4");
  }
}

TEST_F(BadInput, RefsThatCouldHarmAreRefusedWithWhatIsAllowed) {
  for (const std::string& bad : {std::string("Acme"), std::string("a;b"), std::string("../etc"), std::string("-a"),
                                 std::string("a\xe2\x80\xae"), std::string("pg$$"), std::string(41, 'a')}) {
    SCOPED_TRACE(bad);
    const std::string csv = Write("illegal.csv", "ref\n" + ref() + "\n" + bad + "\n");
    for (const char* const mode : {"--dry-run", "--wait"}) {
      ExpectRefused({"submit", PlanPath(), "--projects", csv, mode}, "error PGC-CSV-REF " + csv + ":3 ref: ");
    }
  }
  EXPECT_THAT(said_, HasSubstr("allowed: [a-z0-9][a-z0-9_-]{0,39}"));
  EXPECT_THAT(said_, Not(HasSubstr("\xe2\x80\xae")));
}

TEST_F(BadInput, UsageIsNotTakenForInput) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"submit", PlanPath()},
                                               {"submit", PlanPath(), "--all", "--projects", projects_},
                                               {"submit", PlanPath(), "--projcts", projects_},
                                               {"submt", PlanPath(), "--all"},
                                               {"submit", "--all"}}) {
    const Finished done = Cli(args);
    EXPECT_EQ(done.exit_code, kUsage) << done.err;
    EXPECT_THAT(done.err, HasSubstr("error PGC-CLI-USAGE: "));
  }
  EXPECT_EQ(Migrations(), migrations_);
}

TEST_F(BadInput, ACoordinatorThatIsAwayIsUnavailable) {
  const std::string nobody = "127.0.0.1:" + std::to_string(FreePort());
  for (const char* const mode : {"--dry-run", "--wait"}) {
    const Finished done = CliAt(nobody, {"submit", PlanPath(), "--projects", projects_, mode});
    EXPECT_EQ(done.exit_code, kUnavailable) << done.err;
    EXPECT_THAT(done.err, HasSubstr("error PGC-CLI-UNAVAILABLE: no coordinator answers at " + nobody));
    EXPECT_THAT(done.err, HasSubstr("local up"));
  }
}

TEST_F(BadInput, AWorkerThatTheCoordinatorRefusesEndsAsMisconfigured) {
  const Finished done =
      RunToEnd({.argv = {"pgconvoy-worker", "--coordinator", fleet_->address(), "--worker-id", "a\nb"}});
  EXPECT_EQ(done.exit_code, 3) << done.err;
  EXPECT_THAT(done.err, HasSubstr("PGC-API-ARGUMENT"));
}

TEST_F(BadInput, AFlagThatADaemonCannotUseIsNamed) {
  const struct {
    std::vector<std::string> argv;
    const char* error;
  } table[] = {
      {{"pgconvoy-coordinator"}, "PGC-USAGE-STORE: --store is required"},
      {{"pgconvoy-coordinator", "--store", "embedded:"}, "PGC-USAGE-STORE: --store embedded: names no folder"},
      {{"pgconvoy-coordinator", "--store", "host=a password = b"}, "PGC-USAGE-PASSWORD: "},
      {{"pgconvoy-coordinator", "--store", "host=a port=70000"}, "PGC-STORE-CONNINFO: "},
      {{"pgconvoy-coordinator", "--store", "host=a prot=1"}, "PGC-STORE-CONNINFO: "},
      {{"pgconvoy-coordinator", "--store", "host='a"}, "PGC-STORE-CONNINFO: "},
      {{"pgconvoy-coordinator", "--store", "postgresql://a:70000/b"}, "PGC-STORE-CONNINFO: "},
      {{"pgconvoy-coordinator", "--store", kPlaintextElsewhere}, "PGC-STORE-SSLMODE: --store says sslmode=disable"},
      {{"pgconvoy-coordinator", "--store", "postgresql://elsewhere.invalid/x?sslmode=prefer"}, "PGC-STORE-SSLMODE: "},
      {{"pgconvoy-coordinator", "--store", "x", "--lease-ttl", "5"}, "PGC-USAGE-LEASE-TTL: --lease-ttl \"5\""},
      {{"pgconvoy-coordinator", "--store", "x", "--lease-ttl", "5m30"}, "PGC-USAGE-LEASE-TTL: "},
      {{"pgconvoy-coordinator", "--store", "x", "--lease-ttl", "0s"}, "PGC-USAGE-LEASE-TTL: "},
      {{"pgconvoy-coordinator", "--store", "x", "--lease-ttl", "999999h"}, "PGC-USAGE-LEASE-TTL: "},
      {{"pgconvoy-coordinator", "--bogus"}, "PGC-USAGE: The following argument was not expected: --bogus"},
      {{"pgconvoy-worker", "--slots", "0"}, "PGC-USAGE: --slots: \"0\" is not a whole number from 1 to 256"},
      {{"pgconvoy-worker", "--slots", "0x10"}, "PGC-USAGE: --slots: \"0x10\" is not"},
      {{"pgconvoy-worker", "--slots"}, "PGC-USAGE: --slots"},
      {{"pgconvoy-worker", "--coordinator", "a:1,b:1"}, "PGC-RPC-ADDRESS"},
  };
  for (const auto& bad : table) {
    SCOPED_TRACE(bad.argv.back());
    std::vector<std::string> argv = bad.argv;
    if (argv[0] == "pgconvoy-coordinator") {
      argv.insert(argv.end(), {"--listen", "127.0.0.1:0"});
    }
    const Finished done = RunToEnd({.argv = argv});
    EXPECT_EQ(done.exit_code, kUsage) << done.err;
    EXPECT_EQ(done.out, "");
    EXPECT_THAT(done.err, AllOf(HasSubstr(argv[0] + ": error "), HasSubstr(bad.error)));
  }
}

TEST_F(BadInput, AFileOfFlagsMayNotSayWhatADaemonDoesNotKnow) {
  for (const char* const daemon : {"pgconvoy-coordinator", "pgconvoy-worker"}) {
    const Finished done = RunToEnd({.argv = {daemon, "--config", Write("flags", "log-levle = \"debug\"\n")}});
    EXPECT_EQ(done.exit_code, kUsage);
    EXPECT_THAT(done.err, HasSubstr("log-levle"));
  }
}

TEST_F(BadInput, AVariableBeatsTheFileAndAFlagBeatsBoth) {
  const std::string file = Write("flags", "slots = 3\nexit-when-idle = 1\n");
  const auto slots = [&](std::vector<std::string> more, const std::map<std::string, std::string>& env) {
    std::vector<std::string> argv = {"pgconvoy-worker", "--config",       file, "--worker-id", "counted",
                                     "--coordinator",   fleet_->address()};
    argv.insert(argv.end(), more.begin(), more.end());
    EXPECT_EQ(RunToEnd({.argv = argv, .env = env}).exit_code, 0);
    return fleet_->store().QueryValue("postgres", "SELECT slots FROM pgconvoy.worker WHERE id = 'counted'");
  };
  EXPECT_EQ(slots({}, {}), "3");
  EXPECT_EQ(slots({}, {{"PGCONVOY_SLOTS", "5"}}), "5");
  EXPECT_EQ(slots({"--slots", "7"}, {{"PGCONVOY_SLOTS", "5"}}), "7");
}

// ---- found by a worker -----------------------------------------------------------------------------------------

TEST_F(BadInput, AServerThatIsAwayIsTriedAgainAndThenLeftToAPerson) {
  NeedWorker();
  TryTwice();
  Edit("${env:PGCONVOY_ISOLATED_CONNINFO}", "host=127.0.0.1 port=" + std::to_string(FreePort()));
  const std::string said = RunToTheEnd(kNeedsHuman);
  EXPECT_THAT(said, AllOf(HasSubstr("NEEDS_OPERATOR in FENCE (attempt 2,"), HasSubstr("PGC-RETRIES-EXHAUSTED"),
                          HasSubstr("PGC-PG-UNREACHABLE"), HasSubstr("check that the server runs")));
}

TEST_F(BadInput, ADryRunSaysThatTheSourceIsAway) {
  NeedWorker();
  Edit("${env:PGCONVOY_SHARED_CONNINFO}", "host=127.0.0.1 port=" + std::to_string(FreePort()));
  const Finished done = DryRun();
  EXPECT_EQ(done.exit_code, kFailure);
  EXPECT_THAT(done.err, AllOf(HasSubstr("error PGC-PG-UNREACHABLE: "), HasSubstr("login \"pgconvoy_reader\""),
                              HasSubstr("check that the server runs")));
}

TEST_F(BadInput, AWrongPasswordOfTheReaderEndsTheProjectAtOnce) {
  NeedWorker();
  // A session that another plan opened must not be lent to this one.
  EXPECT_EQ(DryRun().exit_code, 0);
  Edit("PGCONVOY_SHARED_READER_PASSWORD", "PGCONVOY_TEST_WRONG_PASSWORD");
  const Finished dry = DryRun();
  EXPECT_EQ(dry.exit_code, kFailure);
  for (const std::string& said : {dry.err, RunToTheEnd(kFailure)}) {
    EXPECT_THAT(said, AllOf(HasSubstr("PGC-PG-AUTH"), HasSubstr("login \"pgconvoy_reader\" to database \"platform\""),
                            HasSubstr("check the user")));
  }
  EXPECT_THAT(said_, HasSubstr("FAILED in PRE_VALIDATION (attempt 1,"));
}

TEST_F(BadInput, PlaintextWithAServerOnAnotherMachineIsRefusedUnlessTheWorkerAllowsIt) {
  NeedWorker();
  const std::string shipped = plan_;
  for (const std::string conninfo : {kPlaintextElsewhere, "${env:PGCONVOY_TEST_PLAINTEXT}",
                                     "host=192.0.2.1 sslmode=allow", "host=127.0.0.1,192.0.2.1 sslmode=prefer"}) {
    plan_ = shipped;
    Edit("${env:PGCONVOY_SHARED_CONNINFO}", conninfo);
    const Finished dry = DryRun();
    EXPECT_EQ(dry.exit_code, kBadInput);
    for (const std::string& said : {dry.err, RunToTheEnd(kFailure)}) {
      EXPECT_THAT(said, AllOf(HasSubstr("PGC-PLAN-SSLMODE"), HasSubstr("server \"shared\": "),
                              HasSubstr("write sslmode=verify-full, or start the workers with --insecure"),
                              Not(HasSubstr("elsewhere"))))
          << conninfo;
    }
    EXPECT_THAT(said_, HasSubstr("(attempt 1,"));
    said_.clear();
  }
  const Process insecure = OwnWorker({"/bin/sh", "-c", "exec \"$@\" --insecure", "sh"});
  EXPECT_THAT(DryRun().err, AllOf(HasSubstr("PGC-PG-UNREACHABLE"), Not(HasSubstr("PGC-PLAN-SSLMODE"))));
}

TEST_F(BadInput, PlaintextWithAStoreOnAnotherMachineMayBeAllowed) {
  const Finished done =
      RunToEnd({.argv = {"pgconvoy-coordinator", "--store", std::string(kPlaintextElsewhere) + " connect_timeout=2",
                         "--listen", "127.0.0.1:0", "--insecure"}});
  EXPECT_EQ(done.exit_code, kUnavailable) << done.err;
}

TEST_F(BadInput, AWrongPasswordOfTheRegistrarEndsTheProjectAtOnce) {
  NeedWorker();
  EXPECT_EQ(Cli({"submit", PlanPath(), "--all", "--dry-run"}).exit_code, 0);
  Edit("PGCONVOY_SHARED_REGISTRAR_PASSWORD", "PGCONVOY_TEST_WRONG_PASSWORD");
  const Finished discovery = Cli({"submit", PlanPath(), "--all"});
  EXPECT_EQ(discovery.exit_code, kFailure);
  EXPECT_EQ(Migrations(), migrations_);
  for (const std::string& said : {discovery.err, RunToTheEnd(kFailure)}) {
    EXPECT_THAT(said, AllOf(HasSubstr("PGC-PG-AUTH"), HasSubstr("login \"pgconvoy_registrar\"")));
  }
  EXPECT_THAT(said_, HasSubstr("FAILED in FENCE (attempt 1,"));
}

TEST_F(BadInput, ASuperuserInThePlaceOfAReaderIsAWarning) {
  NeedWorker();
  const std::string report = fleet_->folder() + "/checks.txt";
  fleet_->source().Exec("platform", "ALTER ROLE pgconvoy_reader SUPERUSER");
  const Finished done = Cli({"check", PlanPath(), "--projects", projects_, "--save-report", report});
  fleet_->source().Exec("platform", "ALTER ROLE pgconvoy_reader NOSUPERUSER");
  EXPECT_EQ(done.exit_code, kWarnings) << done.err;
  EXPECT_THAT(ReadFile(report), HasSubstr("the reader is a superuser; use a login of its own"));
}

TEST_F(BadInput, AMissingTableIsNamedWithWhatWasMeant) {
  NeedWorker();
  Edit("table: auth.sessions", "table: auth.sesions");
  const Finished dry = DryRun();
  EXPECT_EQ(dry.exit_code, kFailure);
  for (const std::string& said : {dry.err, RunToTheEnd(kFailure)}) {
    EXPECT_THAT(said, AllOf(HasSubstr("PGC-SRC-TABLE: "), HasSubstr("the source has no table auth.sesions"),
                            HasSubstr("did you mean \"auth.sessions\"?")));
  }
  EXPECT_THAT(said_, HasSubstr("FAILED in PRE_VALIDATION (attempt 1,"));
}

TEST_F(BadInput, AForeignDatabaseOfTheSameNameIsLeftAlone) {
  NeedWorker();
  const std::string name = "project_" + ref();
  fleet_->target().Exec("postgres", "CREATE DATABASE \"" + name + "\"");
  fleet_->target().Exec(name, "CREATE TABLE mine AS SELECT 42 AS answer");
  EXPECT_THAT(RunToTheEnd(kFailure),
              AllOf(HasSubstr("FAILED in PRE_VALIDATION (attempt 1,"), HasSubstr("PGC-CHECK-FAILED"),
                    HasSubstr("database \"" + name + "\" exists already on the target and is not ours")));
  EXPECT_EQ(fleet_->target().QueryValue(name, "SELECT answer FROM mine"), "42");
  fleet_->target().Exec("postgres", "DROP DATABASE \"" + name + "\"");
}

TEST_F(BadInput, AForeignRoleOfTheSameNameIsLeftAlone) {
  NeedWorker();
  const std::string name = "project_" + ref();
  const std::string verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = '" + name + "'";
  fleet_->target().Exec("postgres", "CREATE ROLE \"" + name + "\" LOGIN PASSWORD 'somebody else''s'");
  const std::string before = fleet_->target().QueryValue("postgres", verifier);
  EXPECT_THAT(RunToTheEnd(kFailure),
              AllOf(HasSubstr("FAILED in PRE_VALIDATION (attempt 1,"), HasSubstr("PGC-CHECK-FAILED"),
                    HasSubstr("role \"" + name + "\" exists already on the target and is not ours")));
  EXPECT_EQ(fleet_->target().QueryValue("postgres", verifier), before);
  fleet_->target().Exec("postgres", "DROP ROLE \"" + name + "\"");
}

// A mount that only this process and its children see; without root it takes a user namespace, which a machine may
// forbid.
std::vector<std::string> MountsOfItsOwn() {
  const std::vector<std::string> as_user = {"--map-root-user"};
  std::vector<std::string> prefix = {"/usr/bin/unshare", "--mount"};
  prefix.insert(prefix.end(), as_user.begin(), geteuid() == 0 ? as_user.begin() : as_user.end());
  std::vector<std::string> probe = prefix;
  probe.insert(probe.end(), {"/bin/mount", "-t", "tmpfs", "tmpfs", "/mnt"});
  return RunToEnd({.argv = probe}).exit_code == 0 ? prefix : std::vector<std::string>();
}

TEST_F(BadInput, ABackupFolderWithoutRoomStopsAProjectBeforeItIsTouched) {
  std::vector<std::string> prefix = MountsOfItsOwn();
  if (prefix.empty()) {
    GTEST_SKIP() << "mounting in a namespace of its own is not permitted here";
  }
  prefix.insert(prefix.end(),
                {"/bin/sh", "-c", "mount -t tmpfs -o size=8m tmpfs \"$0\" && exec \"$@\"", fleet_->backup_dir()});
  Process worker = OwnWorker(prefix);
  EXPECT_THAT(RunToTheEnd(kFailure),
              AllOf(HasSubstr("FAILED in PRE_VALIDATION (attempt 1,"), HasSubstr("PGC-CHECK-FAILED"),
                    HasSubstr("too little room under " + fleet_->backup_dir())));
  worker.Kill(SIGTERM);
  EXPECT_EQ(worker.Wait(), 0);
}

TEST_F(BadInput, ABackupThatDoesNotFitIsRolledBackWithTheErrorOfTheDisk) {
  // More than the limit even when it is compressed.
  fleet_->source().Exec("platform",
                        "SET session_replication_role = replica; UPDATE auth.users SET raw_user_meta_data = (SELECT "
                        "jsonb_agg(md5(n || 'x')) FROM generate_series(1, 40000) n) WHERE id = (SELECT id FROM "
                        "auth.users WHERE project_ref = '" +
                            ref() + "' LIMIT 1)");
  rows_ = Rows();
  Process worker = OwnWorker({"/usr/bin/prlimit", "--fsize=524288"});
  EXPECT_THAT(RunToTheEnd(kFailure),
              AllOf(HasSubstr("ROLLED_BACK"), HasSubstr("(attempt 2,"), HasSubstr("PGC-BACKUP-DISK-FULL"),
                    HasSubstr("File too large"), HasSubstr("make room in the backup directory")));
  for (const auto& left : std::filesystem::recursive_directory_iterator(fleet_->backup_dir())) {
    EXPECT_FALSE(left.is_regular_file()) << left.path();
  }
  worker.Kill(SIGTERM);
  EXPECT_EQ(worker.Wait(), 0);
}

TEST_F(BadInput, AServerOlderThanFourteenIsRefused) {
  const char* const binaries = std::getenv("PGCONVOY_PG13_BIN");
  if (binaries == nullptr) {
    GTEST_SKIP() << "set PGCONVOY_PG13_BIN to the folder of PostgreSQL 13's initdb, pg_ctl and postgres";
  }
  NeedWorker();
  setenv("PGCONVOY_PG_BINDIR", binaries, 1);
  const PgCluster old;
  unsetenv("PGCONVOY_PG_BINDIR");
  old.Exec("postgres", "CREATE ROLE pgconvoy_provisioner LOGIN CREATEDB CREATEROLE PASSWORD '" +
                           fleet_->env()["PGCONVOY_ISOLATED_PROVISIONER_PASSWORD"] + "'");
  Edit("${env:PGCONVOY_ISOLATED_CONNINFO}", old.TcpConninfo());
  EXPECT_THAT(RunToTheEnd(kFailure), AllOf(HasSubstr("FAILED in FENCE (attempt 1,"), HasSubstr("PGC-PG-VERSION"),
                                           HasSubstr("PostgreSQL 14 or newer is needed")));
}

}  // namespace
}  // namespace pgconvoy::testing
