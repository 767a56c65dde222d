// Backups as operators use them, what is left behind, and projects that somebody has damaged: with the real command
// line, coordinator and workers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/integration/fleet.h"
#include "tests/support/wait.h"
#include "worker/core/names.h"

namespace pgconvoy::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kKilled = 128 + SIGKILL;

class Backups : public ::testing::Test {
 protected:
  Backups() : fleet_({.projects = 2, .lease_ttl = "3s"}) {
    fleet_.StartCoordinator();
    EXPECT_TRUE(Eventually([this] { return Cli({"get", "migrations"}).exit_code == 0; }));
  }

  Finished Cli(std::vector<std::string> args) {
    args.insert(args.begin(), BinaryPath("pgconvoy"));
    args.insert(args.end(), {"--address", fleet_.address(), "--no-input"});
    return RunToEnd({.argv = args, .env = fleet_.env()});
  }

  // Runs a command that must succeed and gives its JSON.
  json Json(std::vector<std::string> args) {
    args.insert(args.end(), {"-o", "json"});
    const Finished done = Cli(args);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    return json::parse(done.out, nullptr, false);
  }

  std::string Csv(const std::string& ref) {
    std::ofstream(fleet_.folder() + "/" + ref + ".csv") << "ref\n" << ref << "\n";
    return fleet_.folder() + "/" + ref + ".csv";
  }

  static std::string Plan() { return SourceFile("plans/isolate-projects.yaml"); }

  // Takes a backup of one project and gives its id.
  std::string Create(const std::string& ref, const std::string& scope = "--full", const std::string& plan = Plan()) {
    const Finished done = Cli({"backup", "create", plan, "--projects", Csv(ref), scope, "--wait"});
    EXPECT_EQ(done.exit_code, 0) << done.out << done.err << fleet_.WorkerLog("w");
    return LatestBackup(ref);
  }

  std::string LatestBackup(const std::string& ref) {
    const json list = Json({"backup", "list", "--project", ref});
    EXPECT_FALSE(list.at("backups").empty());
    return list.at("backups").back().at("backup").at("backup_id");
  }

  std::string StoreFolder() {
    return fleet_.backup_dir() + "/store-" +
           fleet_.store().QueryValue("postgres", "SELECT store_id FROM pgconvoy.leader");
  }

  // Every object of the cluster and of one database, and who may do what.
  static std::string CatalogHash(PgCluster& cluster, const std::string& database) {
    return cluster.QueryValue(
        database,
        "SELECT md5(string_agg(x, E'\\n' ORDER BY x)) FROM ("
        "SELECT 'd ' || datname || coalesce(datacl::text, '') || datallowconn AS x FROM pg_database UNION ALL "
        "SELECT 'r ' || rolname || rolcanlogin || coalesce(rolpassword, '') FROM pg_authid UNION ALL "
        "SELECT 'm ' || roleid || ' ' || member FROM pg_auth_members UNION ALL "
        "SELECT 'n ' || nspname || coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp' "
        "UNION ALL SELECT 'c ' || oid || relname || relfilenode || coalesce(relacl::text, '') FROM pg_class) AS o");
  }

  Fleet fleet_;
};

TEST_F(Backups, ABackupOnlyRunTouchesNeitherSourceNorTarget) {
  fleet_.StartWorker("w");
  const std::string& ref = fleet_.refs()[0];
  const std::string source = CatalogHash(fleet_.source(), "platform");
  const std::string target = CatalogHash(fleet_.target(), "postgres");
  const std::string rows = fleet_.SourceHash(ref);
  const std::string row =
      fleet_.source().QueryValue("platform", "SELECT md5(string_agg(p::text, '')) FROM projects p");

  const std::string full = Create(ref, "--full");
  const std::string schema = Create(ref, "--schema");
  const std::string data = Create(ref, "--data");

  EXPECT_EQ(CatalogHash(fleet_.source(), "platform"), source);
  EXPECT_EQ(CatalogHash(fleet_.target(), "postgres"), target);
  EXPECT_EQ(fleet_.SourceHash(ref), rows);
  EXPECT_EQ(fleet_.source().QueryValue("platform", "SELECT md5(string_agg(p::text, '')) FROM projects p"), row);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref), "");

  EXPECT_EQ(Json({"backup", "show", full}).at("backup").at("scope"), "FULL");
  EXPECT_EQ(Json({"backup", "show", schema}).at("backup").at("scope"), "SCHEMA");
  EXPECT_EQ(Json({"backup", "show", schema}).at("backup").at("tables").size(), 0U);
  EXPECT_EQ(Json({"backup", "show", data}).at("backup").at("schema_bytes"), "0");
  EXPECT_THAT(Cli({"backup", "show", full}).out, HasSubstr("auth.users"));
  EXPECT_TRUE(fs::exists(StoreFolder() + "/" + full + "/schema.sql"));
  EXPECT_FALSE(fs::exists(StoreFolder() + "/" + data + "/schema.sql"));
  for (const std::string& id : {full, schema, data}) {
    EXPECT_EQ(Cli({"backup", "verify", id}).exit_code, 0) << id;
  }
}

TEST_F(Backups, DefinitionsAloneMakeTheSchemaInAnEmptyDatabase) {
  fleet_.StartWorker("w");
  const std::string id = Create(fleet_.refs()[0], "--schema");
  fleet_.target().Exec("postgres", "CREATE DATABASE empty TEMPLATE template0");
  const Finished laid =
      RunToEnd({.argv = {"/usr/bin/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
                         fleet_.target().SocketConninfo("empty"), "-f", StoreFolder() + "/" + id + "/schema.sql"}});
  EXPECT_EQ(laid.exit_code, 0) << laid.err;
  const std::string columns =
      "SELECT md5(string_agg(table_name || column_name || data_type, ',' ORDER BY table_name, ordinal_position)) "
      "FROM information_schema.columns WHERE table_schema IN ('auth', 'storage')";
  EXPECT_EQ(fleet_.target().QueryValue("empty", columns), fleet_.source().QueryValue("platform", columns));
}

TEST_F(Backups, WithFreezeAProjectsWritesAreStoppedAndLetGoAgain) {
  fleet_.StartWorker("w", "worker.backup.before_seal=sleep(1500)");
  const std::string& ref = fleet_.refs()[0];
  const Finished sent = Cli({"backup", "create", Plan(), "--projects", Csv(ref), "--freeze"});
  ASSERT_EQ(sent.exit_code, 0) << sent.err;
  const std::string frozen = "SELECT writes_frozen FROM projects WHERE ref = '" + ref + "'";
  EXPECT_TRUE(Eventually([&] { return fleet_.source().QueryValue("platform", frozen) == "t"; }));
  EXPECT_EQ(fleet_.WaitEnded("1").state(), v1::MIGRATION_SUCCEEDED);
  EXPECT_EQ(fleet_.source().QueryValue("platform", frozen), "f");
}

TEST_F(Backups, AKilledWorkerLosesNoBackup) {
  const std::string& ref = fleet_.refs()[0];
  for (const char* const place : {"worker.phase.FENCE.done", "worker.backup.table", "backup.before_manifest",
                                  "worker.backup.sealed", "worker.phase.BACKUP.done"}) {
    const std::string catalog = CatalogHash(fleet_.target(), "postgres");
    const Finished sent = Cli({"backup", "create", Plan(), "--projects", Csv(ref), "-o", "name"});
    ASSERT_EQ(sent.exit_code, 0) << sent.err;
    const std::string migration = sent.out.substr(0, sent.out.find('\n'));
    ASSERT_EQ(fleet_.StartWorker("w", std::string(place) + "=kill").Wait(), kKilled) << place;
    fleet_.StartWorker("w");
    EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED) << place;
    EXPECT_EQ(Cli({"backup", "verify", LatestBackup(ref)}).exit_code, 0) << place;
    EXPECT_EQ(CatalogHash(fleet_.target(), "postgres"), catalog) << place;
    fleet_.worker("w").Kill(SIGKILL);
  }
}

TEST_F(Backups, ACancelledAndARolledBackRunLeaveNothingButSealedBackups) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.StartWorker("w");
  const std::string id = Create(ref);
  const Finished rolled_back = Cli({"rollback", "latest", "--yes", "--wait"});
  EXPECT_EQ(rolled_back.exit_code, 0) << rolled_back.err;
  EXPECT_EQ(Cli({"backup", "verify", id}).exit_code, 0) << "a sealed backup is kept";

  fleet_.worker("w").Kill(SIGKILL);
  fleet_.StartWorker("w", "worker.backup.table=sleep(3000)");
  ASSERT_EQ(Cli({"backup", "create", Plan(), "--projects", Csv(ref)}).exit_code, 0);
  fleet_.WaitPhase("2", ref, v1::BACKUP);
  fleet_.Cancel("2");
  EXPECT_EQ(fleet_.WaitEnded("2").state(), v1::MIGRATION_CANCELLED);
  // The phase may have come to its end before the worker heard of it; then the backup is sealed and kept.
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(StoreFolder() + "/" + ref)) {
    left.insert(ref + "/" + entry.path().filename().string());
  }
  std::set<std::string> listed;
  const json list = Json({"backup", "list", "--project", ref});
  for (const json& backup : list.at("backups")) {
    listed.insert(backup.at("backup").at("backup_id").get<std::string>());
  }
  EXPECT_EQ(left, listed);
  EXPECT_TRUE(left.contains(id));
}

TEST_F(Backups, VerifyRefusesDefinitionsThatWereChanged) {
  fleet_.StartWorker("w");
  const std::string id = Create(fleet_.refs()[0], "--schema");
  const std::string file = StoreFolder() + "/" + id + "/schema.sql";
  std::string text = ReadFile(file);
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
  std::ofstream(file, std::ios::binary) << text;
  const Finished refused = Cli({"backup", "verify", id});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("PGC-BACKUP-CORRUPT"));
}

TEST_F(Backups, AnExportIsWhatRowToJsonSays) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.source().Exec("platform", R"sql(
CREATE DOMAIN auth.score AS numeric CHECK (VALUE IS NOT NULL OR true);
CREATE DOMAIN auth.scores AS int[];
CREATE TYPE auth.pair AS (a int, b text);
CREATE TABLE auth.odd (
  project_ref text NOT NULL, id int PRIMARY KEY, t text, n numeric, f float8, b boolean, j json, jb jsonb, by bytea,
  ts timestamp, tz timestamptz, d date, i interval, u uuid, e auth.aal_level, ai int[], at text[], aj jsonb[],
  atz timestamptz[], s auth.score, ss auth.scores, c char(5), x xml, "we""ird col" text);
INSERT INTO auth.odd VALUES
  ('@', 1, E'a"b\\c\nd\te\rf\b\f\v\x01', 'NaN', 'Infinity', true, '{"a" : [1, "x\ny"]}', '{"k": null, "q": "\""}',
   '\xdeadbeef00', 'infinity', '-infinity', 'infinity', '1 day 02:03:04', '6ecd8c99-4036-403d-bf84-cf8400f67836',
   'aal2', '{1,NULL,3}', ARRAY['a', NULL, 'NULL', '', 'x,"y\z', '{}'], ARRAY['{"a": 1}', '[2]']::jsonb[],
   ARRAY['2026-01-02 03:04:05+00'::timestamptz], 1.50, '{{1,2},{3,4}}', 'ab', '<a>"b"</a>', 'ü€😀'),
  ('@', 2, '', 12345678901234567890.123, -0.1, false, 'null', '[]', '', '2026-01-02 03:04:05.678', '0044-03-15 BC',
   '2026-01-02', '-3 mons', NULL, 'aal1', '{}', '{}', '{}', '{}', 0, '[0:1]={7,8}', '', '', '\N'),
  ('@', 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL),
  ('@', 4, '\.', -1e-7, 1e300, NULL, '"s"', '1.0', '\x5c', '2026-01-02', '2026-06-02 03:04:05+05:30', '0044-03-15 BC',
   '0', NULL, NULL, '{{1},{2}}', '{"\t"}', NULL, NULL, 'NaN', NULL, NULL, NULL, E'\\')
)sql");
  fleet_.source().Exec("platform", "UPDATE auth.odd SET project_ref = '" + ref + "'");
  std::string yaml = ReadFile(Plan());
  yaml.insert(yaml.find("\n# References"), "  - table: auth.odd\n    where: project_ref = {ref}\n");
  const std::string plan = fleet_.folder() + "/odd.yaml";
  std::ofstream(plan) << yaml;
  fleet_.StartWorker("w");
  const std::string id = Create(ref, "--full", plan);

  const std::string out = fleet_.folder() + "/export";
  fs::create_directory(out);
  const Finished exported = Cli({"backup", "export", id, "--format", "json", "--out", out});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const std::string folder = fs::directory_iterator(out)->path();
  const json metadata = json::parse(ReadFile(folder + "/metadata.json"));
  EXPECT_EQ(metadata.at("projectRef"), ref);
  EXPECT_EQ(metadata.at("databaseName"), "platform");
  EXPECT_EQ(metadata.at("backupPath"), folder);
  for (const std::string table :
       {"auth.odd", "auth.users", "auth.sessions", "auth.refresh_tokens", "storage.buckets", "storage.objects"}) {
    std::string name = table;
    name[name.find('.')] = '_';
    const json found = json::parse(ReadFile(folder + "/" + name + ".json"));
    EXPECT_EQ(metadata.at("rowCounts").at(table), found.size());
    json expected = json::parse(fleet_.source().QueryValue(
        "platform",
        "SET TimeZone = 'UTC'; SET extra_float_digits = 1; SELECT coalesce(json_agg(row_to_json(whole)), '[]') "
        "FROM (SELECT * FROM " +
            table + " WHERE project_ref = '" + ref + "') whole"));
    const auto generated =
        fleet_.source().QueryRows("platform", "SELECT attname FROM pg_attribute WHERE attrelid = '" + table +
                                                  "'::regclass AND attgenerated <> ''");
    for (json& row : expected) {
      for (const auto& column : generated) {
        row.erase(column[0]);
      }
    }
    ASSERT_EQ(found.size(), expected.size()) << table;
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i], expected[i]) << table;
    }
  }
  const Finished again = Cli({"backup", "export", id, "--out", out});
  EXPECT_EQ(again.exit_code, 4);
  EXPECT_THAT(again.err, HasSubstr("PGC-EXPORT-EXISTS"));
}

TEST_F(Backups, ARestoreNeedsTheBackupAlone) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.StartWorker("w");
  const std::string id = Create(ref);
  const std::string rows = fleet_.SourceHash(ref);
  const std::string objects =
      "SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (SELECT indexdef AS x FROM pg_indexes WHERE schemaname IN "
      "('auth', 'storage') UNION ALL SELECT conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint WHERE "
      "connamespace IN ('auth'::regnamespace, 'storage'::regnamespace)) AS o";
  const std::string wanted = fleet_.source().QueryValue("platform", objects);
  EXPECT_EQ(Cli({"backup", "restore", id, "--plan", Plan(), "--database", "Restored {1}"}).exit_code, 4)
      << "a confirmation is missing";

  fleet_.source().Stop();
  const Finished restored =
      Cli({"backup", "restore", id, "--plan", Plan(), "--database", "Restored {1}", "--yes", "--wait"});
  fleet_.source().Start();

  EXPECT_EQ(restored.exit_code, 0) << restored.err << fleet_.WorkerLog("w");
  EXPECT_EQ(fleet_.TargetHashOf("Restored {1}"), rows);
  EXPECT_EQ(fleet_.target().QueryValue("Restored {1}", objects), wanted);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet_.Leftovers(), "");
  EXPECT_EQ(
      Cli({"backup", "restore", id, "--plan", Plan(), "--database", "Restored {1}", "--yes", "--wait"}).exit_code, 1)
      << "what exists is never overwritten";
  EXPECT_EQ(fleet_.TargetHashOf("Restored {1}"), rows);
  EXPECT_EQ(Json({"backup", "list", "--project", ref}).at("backups").size(), 1U) << "a restore makes no backup";
}

TEST_F(Backups, AKilledRestoreIsFinishedByTheNextWorker) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.StartWorker("w");
  const std::string id = Create(ref);
  fleet_.worker("w").Kill(SIGKILL);
  int n = 0;
  for (const char* const place :
       {"worker.provision.created", "worker.phase.BACKUP.done", "worker.copy.after_commit"}) {
    const std::string name = "restored" + std::to_string(++n);
    const Finished sent = Cli({"backup", "restore", id, "--plan", Plan(), "--database", name, "--yes", "-o", "name"});
    ASSERT_EQ(sent.exit_code, 0) << sent.err;
    ASSERT_EQ(fleet_.StartWorker("w", std::string(place) + "=kill").Wait(), kKilled) << place;
    fleet_.StartWorker("w");
    EXPECT_EQ(fleet_.WaitEnded(std::to_string(n + 1)).state(), v1::MIGRATION_SUCCEEDED) << place;
    EXPECT_EQ(fleet_.TargetHashOf(name), fleet_.SourceHash(ref)) << place;
    EXPECT_EQ(fleet_.Leftovers(), "");
    fleet_.worker("w").Kill(SIGKILL);
  }
}

TEST_F(Backups, OnlyFullOnesAreRestored) {
  fleet_.StartWorker("w");
  for (const char* const scope : {"--schema", "--data"}) {
    const std::string id = Create(fleet_.refs()[0], scope);
    const Finished refused = Cli({"backup", "restore", id, "--plan", Plan(), "--database", "x", "--yes", "--wait"});
    EXPECT_EQ(refused.exit_code, 4);
    EXPECT_THAT(refused.err, HasSubstr("PGC-RESTORE-SCOPE"));
  }
}

TEST_F(Backups, PruneRemovesWhatNobodyNeeds) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.StartWorker("w");
  const std::string migration = fleet_.Submit({ref});
  ASSERT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  const std::string first = LatestBackup(ref);
  EXPECT_EQ(Json({"backup", "prune"}).at("backup_ids").size(), 0U) << "younger than the plan's retention";
  json kept = Json({"backup", "prune", "--older-than", "0d"});
  EXPECT_EQ(kept.at("backup_ids").size(), 0U);
  EXPECT_THAT(kept.at("kept")[0].get<std::string>(), HasSubstr("only backup"));

  const std::string second = Create(ref);
  EXPECT_EQ(Json({"backup", "prune", "--older-than", "0d", "--dry-run"}).at("backup_ids")[0], first);
  EXPECT_EQ(Cli({"backup", "verify", first}).exit_code, 0) << "a dry run removes nothing";

  // The worker dies between the two steps of the removal; the next prune finishes it.
  fleet_.worker("w").Kill(SIGKILL);
  fleet_.worker("w").Wait();
  Process& dying = fleet_.StartWorker("w", "backup.doomed=kill");
  EXPECT_NE(Cli({"backup", "prune", "--older-than", "0d"}).exit_code, 0);
  EXPECT_EQ(dying.Wait(), kKilled);
  EXPECT_TRUE(fs::exists(StoreFolder() + "/" + ref + "/doomed-" + first.substr(first.find('/') + 1)));
  fleet_.StartWorker("w");
  EXPECT_EQ(Json({"backup", "prune"}).at("backup_ids")[0], first);
  EXPECT_EQ(std::distance(fs::directory_iterator(StoreFolder() + "/" + ref), {}), 1);
  EXPECT_EQ(Json({"backup", "prune"}).at("backup_ids").size(), 0U) << "done is done";

  EXPECT_THAT(Cli({"backup", "list", "--project", ref}).out, HasSubstr("pruned"));
  const Finished refused = Cli({"backup", "verify", first});
  EXPECT_THAT(refused.err, HasSubstr("PGC-BACKUP-PRUNED"));
  EXPECT_EQ(Cli({"backup", "verify", second}).exit_code, 0);
  EXPECT_EQ(Json({"backup", "prune", "--older-than", "0d", "--force"}).at("backup_ids")[0], second);

  fleet_.Rollback(migration, ref, /*discard_writes=*/false);
  EXPECT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_FAILED);
  EXPECT_EQ(fleet_.WhyNotUntouched(ref), "") << "a rollback needs no backup here";
}

TEST_F(Backups, PruneLeavesAProjectAloneThatIsUnderWay) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.StartWorker("w");
  const std::string id = Create(ref);
  fleet_.worker("w").Kill(SIGKILL);
  fleet_.Submit({ref});
  const json kept = Json({"backup", "prune", "--older-than", "0d", "--force"});
  EXPECT_EQ(kept.at("backup_ids").size(), 0U);
  EXPECT_THAT(kept.at("kept")[0].get<std::string>(), HasSubstr("unfinished"));
}

TEST_F(Backups, ARollbackShowsItsProofAndCleansUp) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.StartWorker("w");
  const std::string migration = fleet_.Submit();
  ASSERT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  const Finished dry = Cli({"rollback", migration, "--project", ref, "--dry-run"});
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("drop database project_" + ref));
  EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");

  const Finished done = Cli({"rollback", migration, "--project", ref, "--wait", "--cleanup", "--yes"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("the role is gone"));
  EXPECT_THAT(done.out, HasSubstr("removed " + ref + "/"));
  EXPECT_EQ(fleet_.WhyNotUntouched(ref), "");
  EXPECT_EQ(fleet_.WhyNotIsolated(fleet_.refs()[1]), "");
  EXPECT_TRUE(fs::is_empty(StoreFolder() + "/" + ref));
  EXPECT_FALSE(fs::is_empty(StoreFolder() + "/" + fleet_.refs()[1]));
}

TEST_F(Backups, OrphansAreListedThenRemoved) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.StartWorker("w");
  EXPECT_EQ(Json({"orphans", "list", Plan()}).at("lines").size(), 0U);
  EXPECT_EQ(fleet_.target().QueryValue("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'pgconvoy'"),
            "0")
      << "a list makes nothing";
  const std::string migration = fleet_.Submit({ref});
  ASSERT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  // As attempts leave it whose worker died and whose store was then told that they are over.
  const std::string store_id = fleet_.store().QueryValue("postgres", "SELECT store_id FROM pgconvoy.leader");
  const worker::AttemptNames names(store_id, ref, fleet_.GetProject(migration, ref).fence());
  const std::string as_provisioner = "SET ROLE pgconvoy_provisioner; ";
  fleet_.target().Exec("postgres", as_provisioner + "CREATE ROLE " + names.login + " LOGIN");
  fleet_.target().Exec("postgres", "CREATE DATABASE " + names.temporary_database + " OWNER pgconvoy_provisioner");
  fleet_.target().Exec("postgres", as_provisioner + "CREATE ROLE stray; COMMENT ON ROLE stray IS " + "'" +
                                       worker::OwnerComment({store_id, ref, migration}, 1) + "'");
  fs::create_directory(StoreFolder() + "/" + ref + "/1000000");
  const std::string old = StoreFolder() + "/gone/1";
  fs::create_directories(old);
  std::ofstream(old + "/auth.users.00001.copy.zst") << "x";
  // Sealed by a worker that died before it could say so.
  const std::string unreported = StoreFolder() + "/unreported/1";
  fs::create_directories(unreported);
  fs::copy(StoreFolder() + "/" + LatestBackup(ref), unreported);

  const std::string list = Json({"orphans", "list", Plan()}).at("lines").dump();
  EXPECT_THAT(list, HasSubstr("would remove login " + names.login));
  EXPECT_THAT(list, HasSubstr("would remove database " + names.temporary_database));
  EXPECT_THAT(list, HasSubstr("would remove the unsealed backup gone/1"));
  EXPECT_THAT(list, HasSubstr("left alone role stray"));
  EXPECT_THAT(list, HasSubstr("left alone backup unreported/1: it has a manifest and the store does not know it"));
  EXPECT_THAT(list, Not(HasSubstr("project_" + ref))) << "the registry names it";
  EXPECT_NE(fleet_.Leftovers(), "");

  EXPECT_EQ(Cli({"orphans", "clean", Plan()}).exit_code, 0);
  EXPECT_EQ(fleet_.Leftovers(), "");
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(unreported + "/manifest.json")) << "it may be the only copy";
  EXPECT_TRUE(fs::exists(StoreFolder() + "/" + ref + "/1000000")) << "it may belong to an attempt to come";
  EXPECT_EQ(fleet_.target().QueryValue("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'stray'"), "1");
  EXPECT_EQ(fleet_.WhyNotIsolated(ref), "");
  EXPECT_EQ(Cli({"backup", "verify", LatestBackup(ref)}).exit_code, 0);
}

TEST_F(Backups, WhatIsRemovedOrMendedIsInTheEventLog) {
  const std::string& ref = fleet_.refs()[0];
  fleet_.StartWorker("w");
  const std::string migration = fleet_.Submit({ref});
  ASSERT_EQ(fleet_.WaitEnded(migration).state(), v1::MIGRATION_SUCCEEDED);
  const std::string store_id = fleet_.store().QueryValue("postgres", "SELECT store_id FROM pgconvoy.leader");
  const worker::AttemptNames names(store_id, ref, fleet_.GetProject(migration, ref).fence());
  const auto leave = [&] {
    fleet_.target().Exec("postgres", "SET ROLE pgconvoy_provisioner; CREATE ROLE " + names.login + " LOGIN");
    fs::create_directories(StoreFolder() + "/gone/1");
  };
  const auto recorded = [&](const std::string& kinds) {
    return fleet_.store().QueryValue("postgres",
                                     "SELECT string_agg(concat_ws(' ', kind, actor, project_ref, reason, "
                                     "detail->>'object'), E'\n' ORDER BY seq) FROM pgconvoy.event WHERE kind ~ '" +
                                         kinds + "' AND actor ~ '^operator:'");
  };
  leave();
  EXPECT_EQ(Cli({"orphans", "list", Plan()}).exit_code, 0);
  EXPECT_EQ(recorded("ORPHAN"), "") << "a look changes nothing";
  EXPECT_EQ(Cli({"orphans", "clean", Plan()}).exit_code, 0);
  EXPECT_THAT(recorded("ORPHAN"), HasSubstr("ORPHANS_CLEAN operator:"));
  EXPECT_THAT(recorded("ORPHAN"), HasSubstr("plan isolate-projects"));
  EXPECT_THAT(recorded("ORPHAN_REMOVED"), HasSubstr("login " + names.login + " of project " + ref + " on isolated"));
  EXPECT_THAT(recorded("ORPHAN_REMOVED"), HasSubstr("the unsealed backup gone/1"));
  EXPECT_THAT(recorded("ORPHANS_CLEANED"), HasSubstr("operator:"));

  // A worker that dies in the middle: what it was at is known, and that it did not come to its end.
  leave();
  Process& dying = fleet_.StartWorker("dying", "worker.reconcile.login_shut=kill");
  fleet_.worker("w").Kill(SIGTERM);
  EXPECT_EQ(fleet_.worker("w").Wait(), 0);
  EXPECT_EQ(Cli({"orphans", "clean", Plan()}).exit_code, 69);
  EXPECT_EQ(dying.Wait(), 128 + SIGKILL);
  EXPECT_THAT(recorded("ORPHANS_CLEAN_FAILED"), HasSubstr("PGC-NO-WORKER"));
  fleet_.StartWorker("w");

  fleet_.target().Exec("postgres", "ALTER ROLE \"project_" + ref + "\" NOLOGIN");
  // Until the coordinator has noticed who is gone.
  EXPECT_TRUE(Eventually([&] { return Cli({"repair", migration, "--project", ref}).exit_code == 1; }));
  EXPECT_EQ(recorded("PROJECT_(REPAIR|MEND)"), "");
  EXPECT_EQ(Cli({"repair", migration, "--project", ref, "--mend"}).exit_code, 0);
  EXPECT_THAT(recorded("PROJECT_REPAIR$"), HasSubstr(ref));
  EXPECT_THAT(recorded("PROJECT_MENDED"), HasSubstr(ref + "  role: role project_" + ref + " may not log in"));
  EXPECT_THAT(recorded("PROJECT_REPAIRED"), HasSubstr(ref));
  EXPECT_EQ(Cli({"audit", "verify"}).exit_code, 0);
}

class Repairs : public Backups {
 protected:
  Repairs() {
    fleet_.StartWorker("w");
    ref_ = fleet_.refs()[0];
    migration_ = fleet_.Submit({ref_});
    EXPECT_EQ(fleet_.WaitEnded(migration_).state(), v1::MIGRATION_SUCCEEDED);
    name_ = "project_" + ref_;
    quoted_ = "\"" + name_ + "\"";
    EXPECT_EQ(Cli({"repair", migration_, "--project", ref_}).exit_code, 0);
  }

  // Shows the difference first, then mends it.
  void ExpectMended(const std::string& difference) {
    const Finished shown = Cli({"repair", migration_, "--project", ref_});
    EXPECT_EQ(shown.exit_code, 1) << shown.err;
    EXPECT_THAT(shown.out, HasSubstr("differs  " + difference));
    const Finished mended = Cli({"repair", migration_, "--project", ref_, "--mend"});
    EXPECT_EQ(mended.exit_code, 0) << mended.out << mended.err;
    EXPECT_THAT(mended.out, HasSubstr("mended   " + difference));
    EXPECT_EQ(fleet_.WhyNotIsolated(ref_), "");
    EXPECT_EQ(Cli({"repair", migration_, "--project", ref_}).exit_code, 0);
  }

  // Is shown, and stays whatever is asked for.
  void ExpectLeftAlone(const std::string& difference, const std::string& why) {
    for (int i = 0; i < 2; ++i) {
      const Finished left = Cli({"repair", migration_, "--project", ref_, "--mend"});
      EXPECT_EQ(left.exit_code, 1) << left.err;
      EXPECT_THAT(left.out, HasSubstr("differs  " + difference));
      EXPECT_THAT(left.out, HasSubstr(why));
      EXPECT_THAT(left.out, Not(HasSubstr("mended")));
    }
  }

  void Registry(const std::string& assignments) {
    fleet_.source().Exec("platform", "UPDATE projects SET " + assignments + " WHERE ref = '" + ref_ + "'");
  }

  std::string ref_;
  std::string migration_;
  std::string name_;
  std::string quoted_;
};

TEST_F(Repairs, ARowWithItsOldValuesGetsThoseOfTheCutover) {
  Registry(
      "database_name = NULL, database_user = NULL, database_password_hash = NULL, credential_status = 'fallback'");
  ExpectMended("registry: ");
}

TEST_F(Repairs, ARowThatSomebodyGaveOtherValuesIsLeftAlone) {
  Registry("database_name = 'elsewhere'");
  ExpectLeftAlone("registry: ", "neither before nor after");
  EXPECT_EQ(fleet_.source().QueryValue("platform", "SELECT database_name FROM projects WHERE ref = '" + ref_ + "'"),
            "elsewhere");
}

TEST_F(Repairs, ARowIsLeftAloneOnceTheTenantHasGoneOnInTheSource) {
  Registry(
      "database_name = NULL, database_user = NULL, database_password_hash = NULL, credential_status = 'fallback'");
  fleet_.source().Exec("platform",
                       "SET session_replication_role = replica; UPDATE auth.users SET aud = 'went on' WHERE id = "
                       "(SELECT id FROM auth.users WHERE project_ref = '" +
                           ref_ + "' LIMIT 1)");
  ExpectLeftAlone("registry: ", "the source was written to");
}

TEST_F(Repairs, ARoleGetsItsLoginBack) {
  fleet_.target().Exec("postgres", "ALTER ROLE " + quoted_ + " NOLOGIN");
  ExpectMended("role: ");
}

TEST_F(Repairs, ADatabaseLetsItsTenantInAgain) {
  fleet_.target().Exec("postgres", "ALTER DATABASE " + quoted_ + " ALLOW_CONNECTIONS false");
  ExpectMended("database: ");
}

TEST_F(Repairs, AFreezeThatWasLeftIsLifted) {
  Registry("writes_frozen = true");
  fleet_.source().Exec(
      "platform",
      "INSERT INTO pgconvoy.freeze SELECT store_id, project, fence FROM pgconvoy.fence WHERE project = '" + ref_ +
          "'");
  ExpectMended("freeze: ");
}

TEST_F(Repairs, ADatabaseOfAnotherOwnerOrWithoutOurMarkIsLeftAlone) {
  fleet_.target().Exec("postgres", "ALTER DATABASE " + quoted_ + " OWNER TO postgres");
  ExpectLeftAlone("database: ", "not touched");
  fleet_.target().Exec("postgres", "ALTER DATABASE " + quoted_ + " OWNER TO " + quoted_ + "; COMMENT ON DATABASE " +
                                       quoted_ + " IS 'mine'");
  ExpectLeftAlone("database: ", "not touched");
}

TEST_F(Repairs, WhatIsGoneIsSaidToBeGone) {
  fleet_.target().Exec("postgres", "ALTER DATABASE " + quoted_ + " RENAME TO elsewhere");
  ExpectLeftAlone("database: ", "backup restore");
  fleet_.target().Exec("postgres", "ALTER ROLE " + quoted_ + " RENAME TO somebody");
  ExpectLeftAlone("role: ", "find out who");
}

TEST_F(Repairs, AProjectUnderWayIsNotRepaired) {
  fleet_.worker("w").Kill(SIGKILL);
  fleet_.Rollback(migration_, ref_, false);
  const Finished refused = Cli({"repair", migration_, "--project", ref_, "--mend"});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("PGC-PROJECT-BUSY"));
}

// Also without --mend: reading a view of somebody else's runs code as the registrar.
TEST_F(Repairs, RecordsThatSomebodyElseHasMadeAreNotRead) {
  fleet_.source().Exec("platform",
                       "CREATE ROLE stranger; GRANT ALL ON SCHEMA pgconvoy TO stranger; SET ROLE stranger;"
                       "CREATE VIEW pgconvoy.trap AS SELECT 1; RESET ROLE");
  for (const std::vector<std::string>& how : {std::vector<std::string>{}, {"--mend"}}) {
    std::vector<std::string> arguments = {"repair", migration_, "--project", ref_};
    arguments.insert(arguments.end(), how.begin(), how.end());
    const Finished refused = Cli(arguments);
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_THAT(refused.err, HasSubstr("PGC-CONTROL-FOREIGN"));
  }
  fleet_.source().Exec("platform", "DROP OWNED BY stranger; DROP ROLE stranger");
  EXPECT_EQ(Cli({"repair", migration_, "--project", ref_}).exit_code, 0);
}

TEST_F(Repairs, RecordsThatAreGoneAreSaidToBeGone) {
  fleet_.source().Exec("platform", "DROP SCHEMA pgconvoy CASCADE");
  const Finished shown = Cli({"repair", migration_, "--project", ref_});
  EXPECT_EQ(shown.exit_code, 1) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("differs  cutover: the registry's database has no record"));
}

// The coordinator's check and the worker's act are not one: what began in between has raised the fence.
TEST_F(Repairs, ANewerAttemptEndsARepair) {
  fleet_.target().Exec("postgres", "ALTER ROLE " + quoted_ + " NOLOGIN");
  fleet_.target().Exec("pgconvoy", "UPDATE pgconvoy.fence SET fence = fence + 1 WHERE project = '" + ref_ + "'");
  const Finished fenced = Cli({"repair", migration_, "--project", ref_, "--mend"});
  EXPECT_NE(fenced.exit_code, 0);
  EXPECT_THAT(fenced.err, HasSubstr("PGC-FENCE-STALE"));
  EXPECT_EQ(
      fleet_.target().QueryValue("postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = '" + name_ + "'"),
      "f");
}

}  // namespace
}  // namespace pgconvoy::testing
