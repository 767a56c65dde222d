// Backups that nobody can read: encrypted to the operator's public key, with the private key at hand and without.
#include <gmock/gmock.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/integration/in_place_fleet.h"
#include "tests/integration/phases_fixture.h"
#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kKilled = 128 + SIGKILL;

// Where the plan says that the private key is; whether it is there, a test decides.
std::string KeyFile(const Installation& fleet) { return fleet.folder() + "/backup.key"; }

void Encrypt(Installation& fleet) {
  fleet.plan().mutable_backup()->set_encrypt_to("${env:PGCONVOY_RECIPIENT}");
  fleet.plan().mutable_backup()->set_key("${file:" + KeyFile(fleet) + "}");
}

void PutKey(const Installation& fleet, const Secret& key) {
  std::ofstream(KeyFile(fleet)) << key.Reveal() << "\n";
  fs::permissions(KeyFile(fleet), fs::perms::owner_read | fs::perms::owner_write);
}

Finished Cli(Installation& fleet, std::vector<std::string> args) {
  args.insert(args.begin(), {BinaryPath("pgconvoy"), "--address", fleet.address(), "--no-input"});
  return RunToEnd({.argv = args, .env = fleet.env()});
}

// Ids of the sealed backups of a project, oldest first.
std::vector<std::string> BackupsOf(Installation& fleet, const std::string& migration, const std::string& ref) {
  const v1::Project project = fleet.GetProject(migration, ref);
  std::vector<std::string> ids;
  for (const v1::PhaseResult& result : project.results()) {
    if (result.has_backup()) {
      ids.push_back(result.backup().backup_id());
      EXPECT_EQ(result.backup().encrypted_to(), fleet.env()["PGCONVOY_RECIPIENT"]);
    }
  }
  return ids;
}

// Names of the files below `folder` that hold `text`.
std::set<std::string> FilesThatHold(const std::string& folder, const std::string& text) {
  std::set<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && ReadFile(entry.path()).find(text) != std::string::npos) {
      found.insert(entry.path().filename());
    }
  }
  return found;
}

class EncryptedPhases : public PhasesOn<Fleet> {
 protected:
  EncryptedPhases() : PhasesOn({.projects = 2}) {
    Encrypt(fleet_);
    fleet_.source().Exec("platform",
                         "SET session_replication_role = replica; UPDATE auth.users SET email = id || "
                         "'@canary.example', encrypted_password = 'canary-hash' WHERE project_ref = '" +
                             ref_ + "'");
  }

  // Of an attempt that has ended with its backup sealed.
  void BackUp() {
    ASSERT_EQ(
        Describe(RunAll(*NewAttempt(), std::vector<Phase>{Phase::kFence, Phase::kPreValidation, Phase::kFreeze,
                                                          Phase::kCredentials, Phase::kProvision, Phase::kBackup})),
        "OK");
  }
  absl::Status CopyByTheNextAttempt() {
    attempt_ = NewAttempt();
    EXPECT_EQ(Describe(Run(*attempt_, Phase::kFence)), "OK");
    return Run(*attempt_, Phase::kCopy);
  }

  std::unique_ptr<worker::Attempt> attempt_;
};

TEST_F(EncryptedPhases, OneAttemptMovesAProjectWithoutThePrivateKeyAndLeavesNoRowInTheClear) {
  ASSERT_EQ(Describe(RunAll(*NewAttempt(), kForward)), "OK");
  EXPECT_EQ(fleet_.WhyNotIsolated(ref_), "");
  EXPECT_EQ(FilesThatHold(fleet_.backup_dir(), "canary"), std::set<std::string>());
  EXPECT_EQ(FilesThatHold(fleet_.backup_dir(), "CREATE TABLE"), std::set<std::string>());
  // Compression alone would hide words as well: it begins with these bytes.
  EXPECT_EQ(FilesThatHold(fleet_.backup_dir(), "\x28\xb5\x2f\xfd"), std::set<std::string>());
  // What the documentation says that it shows.
  EXPECT_EQ(FilesThatHold(fleet_.backup_dir(), "auth.users"), std::set<std::string>({"manifest.json"}));
}

TEST_F(EncryptedPhases, TheNextAttemptNeedsTheRightPrivateKey) {
  BackUp();
  const absl::Status without = CopyByTheNextAttempt();
  EXPECT_EQ(CodeOf(without), "PGC-BACKUP-LOCKED");
  EXPECT_EQ(VerdictOf(without), Verdict::kTransient) << "the coordinator has another backup taken";
  EXPECT_EQ(fleet_.target().QueryValue("project_" + ref_, "SELECT count(*) FROM auth.users"), "0");

  PutKey(fleet_, GenerateKeyPair().private_key);
  const absl::Status wrong = CopyByTheNextAttempt();
  EXPECT_EQ(CodeOf(wrong), "PGC-BACKUP-LOCKED");
  EXPECT_EQ(Describe(wrong).find(ReadFile(KeyFile(fleet_)).substr(0, 20)), std::string::npos) << "a key is shown";

  PutKey(fleet_, fleet_.private_key());
  ASSERT_EQ(Describe(CopyByTheNextAttempt()), "OK");
  ASSERT_EQ(Describe(RunAll(*attempt_, std::vector<Phase>{Phase::kVerify, Phase::kCutover, Phase::kPostValidation,
                                                          Phase::kCleanup})),
            "OK");
  EXPECT_EQ(fleet_.WhyNotIsolated(ref_), "");
}

TEST_F(EncryptedPhases, PreValidationRefusesAPrivateKeyThatIsAnothers) {
  PutKey(fleet_, GenerateKeyPair().private_key);
  const auto attempt = NewAttempt();
  ASSERT_EQ(Describe(Run(*attempt, Phase::kFence)), "OK");
  const absl::Status refused = Run(*attempt, Phase::kPreValidation);
  EXPECT_EQ(CodeOf(refused), "PGC-CHECK-FAILED");
  EXPECT_THAT(Describe(refused), HasSubstr("backup-key"));
}

// With `true` the private key is on the workers.
class KilledAfterBackup : public ::testing::TestWithParam<bool> {};

TEST_P(KilledAfterBackup, TheProjectIsMovedByTheNextWorker) {
  const bool has_key = GetParam();
  Fleet fleet({.projects = 1});
  Encrypt(fleet);
  if (has_key) {
    PutKey(fleet, fleet.private_key());
  }
  fleet.plan().mutable_execution()->set_initial_backoff_ms(100);
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  const std::string& ref = fleet.refs()[0];
  ASSERT_EQ(fleet.StartWorker("w", "worker.phase.COPY.started=kill").Wait(), kKilled);
  fleet.StartWorker("w");
  EXPECT_EQ(fleet.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.WhyNotIsolated(ref), "");
  EXPECT_EQ(fleet.Leftovers(), "");
  const std::vector<std::string> backups = BackupsOf(fleet, migration, ref);
  EXPECT_EQ(backups.size(), has_key ? 1U : 2U);
  EXPECT_EQ(fleet.WorkerLog("w").find("PGC-BACKUP-LOCKED") == std::string::npos, has_key);

  const Finished shown = Cli(fleet, {"backup", "show", backups.back()});
  EXPECT_THAT(shown.out, HasSubstr(fleet.env()["PGCONVOY_RECIPIENT"]));
  const Finished verified = Cli(fleet, {"backup", "verify", backups.back()});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  EXPECT_EQ(verified.out.find("only the stored bytes") == std::string::npos, has_key) << verified.out;
  const Finished content = Cli(fleet, {"backup", "verify", backups.back(), "--content"});
  EXPECT_EQ(content.exit_code == 0, has_key) << content.err;
  const std::string out = fleet.folder() + "/export";
  fs::create_directory(out);
  const Finished exported = Cli(fleet, {"backup", "export", backups.back(), "--out", out});
  EXPECT_EQ(exported.exit_code == 0, has_key) << exported.err;
  EXPECT_EQ(fs::is_empty(out), !has_key);
  if (!has_key) {
    EXPECT_THAT(content.err, HasSubstr("PGC-BACKUP-KEY"));
    EXPECT_THAT(content.err, HasSubstr(KeyFile(fleet))) << "where the key belongs";
    EXPECT_THAT(exported.err, HasSubstr("PGC-BACKUP-KEY"));
  }
}

INSTANTIATE_TEST_SUITE_P(Key,
                         KilledAfterBackup,
                         ::testing::Bool(),
                         [](const ::testing::TestParamInfo<bool>& has_key) {
                           return std::string(has_key.param ? "WithTheKey" : "WithoutAKey");
                         });

TEST(EncryptedRestore, ANewDatabaseComesOutOfItWithThePrivateKeyOnly) {
  Fleet fleet({.projects = 1, .lease_ttl = "30s"});
  const std::string& ref = fleet.refs()[0];
  const std::string plan = fleet.folder() + "/plan.yaml";
  const std::string off =
      "  # encrypt_to: ${env:PGCONVOY_BACKUP_RECIPIENT}\n  # key: ${file:/etc/pgconvoy/backup.key}\n";
  std::string text = ReadFile(SourceFile("plans/isolate-projects.yaml"));
  ASSERT_NE(text.find(off), std::string::npos);
  text.replace(text.find(off), off.size(),
               "  encrypt_to: ${env:PGCONVOY_RECIPIENT}\n  key: ${file:" + KeyFile(fleet) + "}\n");
  std::ofstream(plan) << text;
  std::ofstream(fleet.folder() + "/one.csv") << "ref\n" << ref << "\n";
  fleet.StartCoordinator();
  ASSERT_TRUE(Eventually([&] { return Cli(fleet, {"get", "migrations"}).exit_code == 0; }));
  fleet.StartWorker("w");
  const Finished made =
      Cli(fleet, {"backup", "create", plan, "--projects", fleet.folder() + "/one.csv", "--full", "--wait"});
  ASSERT_EQ(made.exit_code, 0) << made.err << fleet.WorkerLog("w");
  const std::vector<std::string> backups = BackupsOf(fleet, "1", ref);
  ASSERT_EQ(backups.size(), 1U);

  const std::vector<std::string> restore = {"backup",     "restore",  backups[0], "--plan", plan,
                                            "--database", "restored", "--yes",    "--wait"};
  const Finished refused = Cli(fleet, restore);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_EQ(fleet.GetProject("2", ref).error().code(), "PGC-BACKUP-KEY") << refused.out << refused.err;
  EXPECT_EQ(fleet.target().QueryValue("postgres",
                                      "SELECT (SELECT count(*) FROM pg_database WHERE datname = 'restored') + "
                                      "(SELECT count(*) FROM pg_roles WHERE rolname = 'restored')"),
            "0");
  EXPECT_EQ(fleet.Leftovers(), "");

  PutKey(fleet, fleet.private_key());
  const Finished done = Cli(fleet, restore);
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.TargetHashOf("restored"), fleet.SourceHash(ref));
  EXPECT_EQ(fleet.Leftovers(), "");
  EXPECT_THAT(fleet.WorkerLog("w") + done.out + done.err, Not(HasSubstr(fleet.private_key().Reveal())));
}

TEST(EncryptedInPlace, ARollbackToABackupWaitsForThePrivateKeyAndThenRestoresIt) {
  InPlaceFleet fleet("consolidate-roles", 1, "30s");
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref);
  Encrypt(fleet);
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.Run(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  const std::vector<std::string> backups = BackupsOf(fleet, migration, ref);
  ASSERT_EQ(backups.size(), 1U);
  fleet.server().Exec(ref, "UPDATE user_profiles SET full_name = 'renamed' WHERE email LIKE 'user1%'");
  const std::string written = fleet.Everything(ref);

  const std::vector<std::string> back = {"rollback", migration, "--to-backup", backups[0], "--yes"};
  const Finished refused = Cli(fleet, back);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("PGC-BACKUP-KEY"));
  EXPECT_EQ(fleet.Everything(ref), written);
  EXPECT_EQ(fleet.GetProject(migration, ref).state(), v1::SUCCEEDED) << "nothing is undone for a backup that is shut";

  PutKey(fleet, fleet.private_key());
  const Finished done = Cli(fleet, back);
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.Everything(ref), before);
  EXPECT_THAT(fleet.WorkerLog("w") + done.out + done.err, Not(HasSubstr(fleet.private_key().Reveal())));
}

}  // namespace
}  // namespace pgconvoy::testing
