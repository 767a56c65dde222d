// Backups that nobody can alter: every kind of damage to a real project's sealed backup is refused before the first row
// of the target changes. tests/unit/backup/corruption_test.cc has what the reader alone sees.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "tests/integration/in_place_fleet.h"
#include "tests/integration/phases_fixture.h"
#include "worker/backup/backup.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;

void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
}

std::string WithFlippedBit(std::string contents, size_t bit) {
  contents[bit / 8] = static_cast<char>(contents[bit / 8] ^ (1 << (bit % 8)));
  return contents;
}

std::vector<std::string> FilesIn(const std::string& folder) {
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files.insert(entry.path().filename().string());
  }
  return {files.begin(), files.end()};
}

void CopyFolder(const std::string& from, const std::string& to) {
  fs::remove_all(to);
  fs::copy(from, to, fs::copy_options::recursive);
}

// One way to damage a folder that holds a sealed backup.
struct Damage {
  std::string name;
  std::function<void(const std::string& folder)> apply;
};

// Those of one file, whatever is in it.
void AddDamageOfFile(const std::string& file,
                     const std::string& good,
                     std::mt19937& random,
                     std::vector<Damage>& all) {
  const auto rewrite = [&](const std::string& what, std::string bad) {
    all.push_back(
        {what + " " + file, [file, bad](const std::string& folder) { WriteFile(folder + "/" + file, bad); }});
  };
  const size_t bits = good.size() * 8;
  // Both ends hold headers and checksums of the formats.
  std::set<size_t> flips = {0, 7, 8, 32, 40, bits / 2, bits - 8, bits - 1};
  while (flips.size() < 30) {
    flips.insert(random() % bits);
  }
  for (const size_t bit : flips) {
    rewrite("bit " + std::to_string(bit) + " of", WithFlippedBit(good, bit));
  }
  for (const size_t size : {size_t{0}, size_t{1}, good.size() / 2, good.size() - 1, random() % good.size()}) {
    rewrite("first " + std::to_string(size) + " bytes of", good.substr(0, size));
  }
  rewrite("one more byte in", good + "x");
  rewrite("a page of zeros behind", good + std::string(4096, '\0'));
  rewrite("twice", good + good);
  rewrite("only zeros in", std::string(good.size(), '\0'));
  all.push_back({"no " + file, [file](const std::string& folder) { fs::remove(folder + "/" + file); }});
  all.push_back({"another name of " + file,
                 [file](const std::string& folder) { fs::rename(folder + "/" + file, folder + "/x" + file); }});
  all.push_back({"a directory for " + file, [file](const std::string& folder) {
                   fs::remove(folder + "/" + file);
                   fs::create_directory(folder + "/" + file);
                 }});
  all.push_back({"a pipe for " + file, [file](const std::string& folder) {
                   fs::remove(folder + "/" + file);
                   ASSERT_EQ(mkfifo((folder + "/" + file).c_str(), 0600), 0);
                 }});
  all.push_back({"a link for " + file, [file](const std::string& folder) {
                   fs::rename(folder + "/" + file, folder + "/elsewhere");
                   fs::create_symlink("elsewhere", folder + "/" + file);
                 }});
  all.push_back({"an endless device for " + file, [file](const std::string& folder) {
                   fs::remove(folder + "/" + file);
                   fs::create_symlink("/dev/zero", folder + "/" + file);
                 }});
}

void AddExchanges(const std::map<std::string, std::string>& files, std::vector<Damage>& all) {
  for (auto one = files.begin(); one != files.end(); ++one) {
    for (auto other = std::next(one); other != files.end(); ++other) {
      all.push_back({one->first + " and " + other->first + " in each other's place",
                     [a = *one, b = *other](const std::string& folder) {
                       WriteFile(folder + "/" + a.first, b.second);
                       WriteFile(folder + "/" + b.first, a.second);
                     }});
    }
  }
}

// Files of a backup that is in order, but another one.
void AddForeignFiles(const std::string& whose,
                     const std::string& other,
                     const std::map<std::string, std::string>& files,
                     std::vector<Damage>& all) {
  for (const auto& [file, good] : files) {
    const std::string foreign = ReadFile(other + "/" + file);
    if (!foreign.empty() && foreign != good) {
      all.push_back({whose + "'s " + file,
                     [file = file, foreign](const std::string& folder) { WriteFile(folder + "/" + file, foreign); }});
    }
  }
  all.push_back({"the whole backup of " + whose, [other](const std::string& folder) { CopyFolder(other, folder); }});
}

using Edit = std::function<void(backup::Manifest& manifest)>;

// A manifest that says something else, in good form. What it refers to is made to fit where that is possible.
void AddForgedManifest(const std::string& what, const Edit& edit, std::vector<Damage>& all) {
  all.push_back({"a manifest with " + what, [edit](const std::string& folder) {
                   auto manifest = backup::FromJson(ReadFile(folder + "/manifest.json"));
                   ASSERT_TRUE(manifest.ok()) << Describe(manifest.status());
                   edit(*manifest);
                   WriteFile(folder + "/manifest.json", backup::ToJson(*manifest));
                 }});
}

void AddForgedManifests(std::vector<Damage>& all) {
  using backup::Manifest;
  AddForgedManifest(
      "another fence", [](Manifest& m) { m.fence += 1; }, all);
  AddForgedManifest(
      "another project", [](Manifest& m) { m.project_ref = "other"; }, all);
  AddForgedManifest(
      "another store", [](Manifest& m) { m.store_id += "x"; }, all);
  AddForgedManifest(
      "another migration", [](Manifest& m) { m.migration_id = "4711"; }, all);
  AddForgedManifest(
      "another plan", [](Manifest& m) { m.plan_hash = "x"; }, all);
  AddForgedManifest(
      "a later snapshot", [](Manifest& m) { m.snapshot_time = "2099-01-01T00:00:00.000Z"; }, all);
  AddForgedManifest(
      "one table less", [](Manifest& m) { m.tables.pop_back(); }, all);
  AddForgedManifest(
      "no table", [](Manifest& m) { m.tables.clear(); }, all);
  AddForgedManifest(
      "no sequence",
      [](Manifest& m) {
        m.sequences.push_back({"auth.made_up", 1, true});
      },
      all);
  AddForgedManifest(
      "tables the other way round", [](Manifest& m) { std::reverse(m.tables.begin(), m.tables.end()); }, all);
  AddForgedManifest(
      "columns the other way round",
      [](Manifest& m) { std::reverse(m.tables[0].columns.begin(), m.tables[0].columns.end()); }, all);
  AddForgedManifest(
      "another type", [](Manifest& m) { m.tables[0].types[0] = "bytea"; }, all);
  AddForgedManifest(
      "rows only",
      [](Manifest& m) {
        m.scope = backup::kScopeData;
        m.schema = {};
      },
      all);
  AddForgedManifest(
      "the first table emptied",
      [](Manifest& m) {
        m.tables[0].chunks.clear();
        m.tables[0].rows = m.tables[0].bytes = 0;
        m.tables[0].digest = std::string(32, '0');
      },
      all);
}

// A project of isolate-projects whose target holds the rows of an older backup, and whose newest one is to be loaded.
class CorruptBackup : public PhasesOn<Fleet> {
 protected:
  CorruptBackup() : PhasesOn({.projects = 2, .alike = true}) {
    fleet_.plan().mutable_backup()->set_chunk_bytes(64 << 10);
  }

  absl::Status RunThese(worker::Attempt& attempt, std::initializer_list<Phase> phases) {
    return RunAll(attempt, std::vector<Phase>(phases));
  }

  std::string FolderOf(const std::string& ref, int64_t fence) const {
    return fleet_.backup_dir() + "/store-store-under-test/" + ref + "/" + std::to_string(fence);
  }

  // Every row of every table with the transaction that wrote it, ledger and pgconvoy.load included, where the tables'
  // files are, every sequence, and the cluster's logins.
  std::string Target() const {
    const std::string relations = fleet_target().QueryValue("project_" + ref_, R"sql(
SELECT md5(string_agg(c.oid::regclass || ' ' || c.relfilenode || ' ' || (xpath('/row/x/text()', query_to_xml(format(
  'SELECT count(*) || coalesce(md5(string_agg(xmin || ctid::text || t::text, E''\n'' ORDER BY ctid)), '''') AS x '
  'FROM %s t',
  c.oid::regclass), false, true, '')))[1], E'\n' ORDER BY c.oid))
  || (SELECT coalesce(string_agg(s::text, ',' ORDER BY schemaname, sequencename), '') FROM pg_sequences s)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
)sql");
    return relations + fleet_target().QueryValue("postgres",
                                                 "SELECT md5(string_agg(rolname || rolcanlogin, ',' ORDER "
                                                 "BY rolname)) FROM pg_roles");
  }
  PgCluster& fleet_target() const { return const_cast<Fleet&>(fleet_).target(); }

  // Two backups of the first project, with other rows in each; the target holds those of the older one.
  void LoadOlderAndSealNewer() {
    ASSERT_EQ(
        Describe(RunThese(*NewAttempt(), {Phase::kFence, Phase::kPreValidation, Phase::kFreeze, Phase::kCredentials,
                                          Phase::kProvision, Phase::kBackup, Phase::kCopy})),
        "OK");
    older_ = FolderOf(ref_, fence_);
    fleet_.source().Exec("platform",
                         "SET session_replication_role = replica; UPDATE auth.users SET aud = 'later' WHERE "
                         "project_ref = '" +
                             ref_ +
                             "'; UPDATE auth.sessions SET user_agent = (SELECT string_agg(md5(id::text || i), '') "
                             "FROM generate_series(1, 60) i) WHERE "
                             "project_ref = '" +
                             ref_ +
                             "'; UPDATE storage.objects SET version = 'later' WHERE "
                             "project_ref = '" +
                             ref_ + "'");
    attempt_ = NewAttempt();
    ASSERT_EQ(Describe(RunThese(*attempt_, {Phase::kFence, Phase::kBackup})), "OK");
    folder_ = FolderOf(ref_, fence_);
    ASSERT_TRUE(fs::exists(folder_ + "/auth.sessions.00002.copy.zst")) << "no table has more than one chunk";
  }

  std::string BackUpOtherProject() {
    const std::string ref = ref_;
    const auto done = done_;
    BeginMigration("2", fleet_.refs()[1]);
    EXPECT_EQ(Describe(RunThese(*NewAttempt(), {Phase::kFence, Phase::kPreValidation, Phase::kFreeze,
                                                Phase::kCredentials, Phase::kProvision, Phase::kBackup})),
              "OK");
    const std::string folder = FolderOf(ref_, fence_);
    BeginMigration("1", ref);
    done_ = done;
    return folder;
  }

  std::vector<Damage> AllDamage(const std::string& other_project) {
    std::map<std::string, std::string> files;
    for (const std::string& file : FilesIn(folder_)) {
      files[file] = ReadFile(folder_ + "/" + file);
    }
    std::mt19937 random(4711);
    std::vector<Damage> all;
    for (const auto& [file, good] : files) {
      AddDamageOfFile(file, good, random, all);
    }
    AddExchanges(files, all);
    AddForeignFiles("an older backup", older_, files, all);
    AddForeignFiles("another project", other_project, files, all);
    AddForgedManifests(all);
    all.push_back({"no folder", [](const std::string& folder) { fs::remove_all(folder); }});
    all.push_back({"an empty folder", [](const std::string& folder) {
                     fs::remove_all(folder);
                     fs::create_directory(folder);
                   }});
    all.push_back({"a file for the folder", [](const std::string& folder) {
                     fs::remove_all(folder);
                     WriteFile(folder, "x");
                   }});
    all.push_back({"a consistent backup with another row", [this](const std::string& folder) { Forge(folder); }});
    return all;
  }

  // The same backup as a worker would have written it from other rows: nothing but its digest in the store differs.
  void Forge(const std::string& folder) const {
    const auto digest = done_.back().backup().manifest_digest();
    const auto reader =
        backup::BackupReader::Open(fleet_.backup_dir(), "store-under-test", ref_, fence_of_newest_, digest);
    ASSERT_TRUE(reader.ok()) << Describe(reader.status());
    const TempDir root;
    backup::Manifest header = (*reader)->manifest();
    const auto writer = backup::BackupWriter::Create({root.path(), 1, 64 << 10}, header);
    ASSERT_TRUE(writer.ok()) << Describe(writer.status());
    ASSERT_EQ((*writer)->WriteSchema((*reader)->ReadSchema().value_or("")), absl::OkStatus());
    for (const backup::TableEntry& table : (*reader)->manifest().tables) {
      ASSERT_EQ((*writer)->BeginTable(table.table, table.columns, table.types), absl::OkStatus());
      std::string rows;
      for (const backup::ChunkEntry& chunk : table.chunks) {
        rows += (*reader)->ReadChunk(chunk).value_or("");
      }
      // One row less.
      for (size_t at = rows.find('\n') + 1; at < rows.size();) {
        const size_t end = rows.find('\n', at) + 1;
        ASSERT_EQ((*writer)->AddRow(std::string_view(rows).substr(at, end - at)), absl::OkStatus());
        at = end;
      }
      ASSERT_EQ((*writer)->EndTable(), absl::OkStatus());
    }
    (*writer)->SetSequences(header.sequences);
    ASSERT_TRUE((*writer)->Seal().ok());
    CopyFolder(root.path() + "/store-store-under-test/" + ref_ + "/" + std::to_string(fence_of_newest_), folder);
  }

  std::string older_;
  // The newest backup.
  std::string folder_;
  int64_t fence_of_newest_ = 0;
  std::unique_ptr<worker::Attempt> attempt_;
};

TEST_F(CorruptBackup, IsRefusedBeforeTheTargetIsTouched) {
  LoadOlderAndSealNewer();
  ASSERT_FALSE(HasFatalFailure());
  fence_of_newest_ = fence_;
  const std::vector<Damage> all = AllDamage(BackUpOtherProject());
  const std::string good = fleet_.folder() + "/good";
  CopyFolder(folder_, good);
  const std::string target = Target();
  for (const Damage& damage : all) {
    SCOPED_TRACE(damage.name);
    damage.apply(folder_);
    const absl::Status refused = Run(*attempt_, Phase::kCopy);
    const std::string code = CodeOf(refused);
    EXPECT_TRUE(code == "PGC-BACKUP-CORRUPT" || code == "PGC-BACKUP-MISSING" || code == "PGC-BACKUP-DIR")
        << Describe(refused);
    EXPECT_EQ(VerdictOf(refused), Verdict::kPermanent);
    ASSERT_EQ(Target(), target);
    fs::remove_all(folder_);
    CopyFolder(good, folder_);
  }
  EXPECT_GE(all.size(), 500U);
  RecordProperty("damaged backups", static_cast<int>(all.size()));

  // The whole one is loaded in their place.
  ASSERT_EQ(Describe(RunThese(
                *attempt_, {Phase::kCopy, Phase::kVerify, Phase::kCutover, Phase::kPostValidation, Phase::kCleanup})),
            "OK");
  EXPECT_EQ(fleet_.WhyNotIsolated(ref_), "");
}

// With the real command line, coordinator and worker: neither the rows nor the migration are touched.
TEST(CorruptBackupInPlace, IsRefusedByARollbackToItBeforeAnythingIsUndone) {
  InPlaceFleet fleet("consolidate-roles", 2, "30s");
  const std::string ref = fleet.refs()[0];
  const std::string before = fleet.Everything(ref);
  fleet.plan().mutable_backup()->set_chunk_bytes(64 << 10);
  fleet.StartCoordinator();
  const std::string migration = fleet.Submit();
  ASSERT_EQ(fleet.Run(migration).state(), v1::MIGRATION_SUCCEEDED) << fleet.WorkerLog("w");
  const auto backup_of = [&](const std::string& project) {
    std::string id;
    const v1::Project found = fleet.GetProject(migration, project);
    for (const v1::PhaseResult& result : found.results()) {
      id = result.has_backup() ? result.backup().backup_id() : id;
    }
    return id;
  };
  const std::string store_folder =
      fleet.backup_dir() + "/store-" + fleet.store().QueryValue("postgres", "SELECT store_id FROM pgconvoy.leader");
  const std::string backup = backup_of(ref);
  const std::string folder = store_folder + "/" + backup;
  const auto roll_back = [&] {
    return RunToEnd({.argv = {BinaryPath("pgconvoy"), "--address", fleet.address(), "rollback", migration,
                              "--to-backup", backup, "--yes"},
                     .env = fleet.env()});
  };
  fleet.server().Exec(ref, "UPDATE user_profiles SET full_name = 'renamed' WHERE email LIKE 'user1%'");
  const std::string written = fleet.Everything(ref);

  std::map<std::string, std::string> files;
  for (const std::string& file : FilesIn(folder)) {
    files[file] = ReadFile(folder + "/" + file);
  }
  std::mt19937 random(4711);
  std::vector<Damage> all;
  for (const auto& [file, good] : files) {
    AddDamageOfFile(file, good, random, all);
  }
  AddExchanges(files, all);
  AddForeignFiles("another project", store_folder + "/" + backup_of(fleet.refs()[1]), files, all);
  AddForgedManifests(all);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(30);
  CopyFolder(folder, fleet.folder() + "/good");
  for (const Damage& damage : all) {
    SCOPED_TRACE(damage.name);
    damage.apply(folder);
    const Finished refused = roll_back();
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_NE(refused.err.find("PGC-BACKUP-"), std::string::npos) << refused.out << refused.err;
    ASSERT_EQ(fleet.Everything(ref), written);
    ASSERT_EQ(fleet.GetProject(migration, ref).state(), v1::SUCCEEDED);
    fs::remove_all(folder);
    CopyFolder(fleet.folder() + "/good", folder);
  }
  const Finished done = roll_back();
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err << fleet.WorkerLog("w");
  EXPECT_EQ(fleet.Everything(ref), before);
}

}  // namespace
}  // namespace pgconvoy::testing
