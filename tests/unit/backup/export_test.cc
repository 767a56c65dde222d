#include "worker/backup/export.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/backup/sample_backup.h"
#include "worker/backup/json_row.h"

namespace pgconvoy::backup {
namespace {

namespace fs = std::filesystem;
using ::pgconvoy::testing::ReadFile;
using ::pgconvoy::testing::TempDir;

std::string Value(const std::string& type, const std::string& copy_text) {
  std::string out;
  EXPECT_EQ(AppendJsonRow({"v"}, {type}, copy_text + "\n", out), absl::OkStatus());
  EXPECT_TRUE(nlohmann::json::accept(out)) << out;
  return out;
}

TEST(JsonRow, TypesValuesAsRowToJsonDoes) {
  EXPECT_EQ(Value("integer", "-7"), R"({"v":-7})");
  EXPECT_EQ(Value("numeric", "12345678901234567890.50"), R"({"v":12345678901234567890.50})");
  EXPECT_EQ(Value("numeric", "NaN"), R"({"v":"NaN"})");
  EXPECT_EQ(Value("double precision", "-Infinity"), R"({"v":"-Infinity"})");
  EXPECT_EQ(Value("double precision", "1e+100"), R"({"v":1e+100})");
  EXPECT_EQ(Value("boolean", "t"), R"({"v":true})");
  EXPECT_EQ(Value("text", "7"), R"({"v":"7"})");
  EXPECT_EQ(Value("text", "\\N"), R"({"v":null})");
  EXPECT_EQ(Value("text", "\\\\N"), R"({"v":"\\N"})");
  EXPECT_EQ(Value("text", ""), R"({"v":""})");
  EXPECT_EQ(Value("text", "a\\tb\\nc\\\\d\"\x01"), "{\"v\":\"a\\tb\\nc\\\\d\\\"\\u0001\"}");
  EXPECT_EQ(Value("jsonb", R"({"a": [1, "x\\\\y"]})"), R"({"v":{"a": [1, "x\\y"]}})");
  EXPECT_EQ(Value("bytea", "\\\\x00ff"), R"({"v":"\\x00ff"})");
  EXPECT_EQ(Value("timestamp with time zone", "2026-01-02 03:04:05.6+00"), R"({"v":"2026-01-02T03:04:05.6+00:00"})");
  EXPECT_EQ(Value("timestamp with time zone", "0044-03-15 00:00:00+00 BC"),
            R"({"v":"0044-03-15T00:00:00+00:00 BC"})");
  EXPECT_EQ(Value("timestamp without time zone", "infinity"), R"({"v":"infinity"})");
}

TEST(JsonRow, TurnsArraysIntoArrays) {
  EXPECT_EQ(Value("integer[]", "{1,NULL,3}"), R"({"v":[1,null,3]})");
  EXPECT_EQ(Value("integer[]", "[0:1]={1,2}"), R"({"v":[1,2]})");
  EXPECT_EQ(Value("integer[]", "{}"), R"({"v":[]})");
  EXPECT_EQ(Value("integer[]", "{{1,2},{3,4}}"), R"({"v":[[1,2],[3,4]]})");
  EXPECT_EQ(Value("text[]", R"({a,"NULL","x,\\"y\\\\","{}"})"), R"({"v":["a","NULL","x,\"y\\","{}"]})");
  EXPECT_EQ(Value("box[]", "{(1,1),(0,0);(2,2),(0,0)}"), R"x({"v":["(1,1),(0,0)","(2,2),(0,0)"]})x");
}

TEST(JsonRow, TakesWhatDoesNotLookLikeItsTypeAsAString) {
  EXPECT_EQ(Value("integer[]", "1 2 3"), R"({"v":"1 2 3"})");
  EXPECT_EQ(Value("integer[]", "{1"), R"({"v":"{1"})");
  EXPECT_EQ(Value("integer", "007"), R"({"v":"007"})");
  EXPECT_EQ(Value("boolean", "maybe"), R"({"v":"maybe"})");
}

TEST(JsonRow, RefusesWhatItCannotCarry) {
  std::string out;
  EXPECT_EQ(CodeOf(AppendJsonRow({"a", "b"}, {"text", "text"}, "1\n", out)), "PGC-EXPORT-ROW");
  EXPECT_EQ(CodeOf(AppendJsonRow({"a"}, {"text"}, "1\t2\n", out)), "PGC-EXPORT-ROW");
  EXPECT_EQ(CodeOf(AppendJsonRow({"a"}, {"text"}, "\xff\n", out)), "PGC-EXPORT-ROW");
}

std::unique_ptr<BackupReader> Open(const TempDir& root, const std::string& digest) {
  auto reader = BackupReader::Open(root.path(), "store-1", "acme", 3, digest);
  EXPECT_TRUE(reader.ok()) << Describe(reader.status());
  return *std::move(reader);
}

TEST(Export, WritesTheLayoutThatOtherToolsKnow) {
  const TempDir root;
  const TempDir out;
  const auto exported = ExportJson(*Open(root, WriteSample(root.path(), "acme", 3)), out.path());
  ASSERT_TRUE(exported.ok()) << Describe(exported.status());
  const std::string folder = out.path() + "/backup_acme_1767323045";
  EXPECT_EQ(exported->folder, folder);
  const auto metadata = nlohmann::json::parse(ReadFile(folder + "/metadata.json"));
  EXPECT_EQ(metadata.at("backupId"), "backup_acme_1767323045");
  EXPECT_EQ(metadata.at("projectRef"), "acme");
  EXPECT_EQ(metadata.at("timestamp"), "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(metadata.at("backupPath"), folder);
  EXPECT_EQ(metadata.at("tables"), (std::vector<std::string>{"auth.users", "auth.sessions", "auth.empty"}));
  EXPECT_EQ(metadata.at("rowCounts").at("auth.sessions"), 150);
  const auto users = nlohmann::json::parse(ReadFile(folder + "/auth_users.json"));
  ASSERT_EQ(users.size(), 100U);
  EXPECT_EQ(users[42].at("id"), 42);
  EXPECT_EQ(users[42].at("ref"), "acme");
  EXPECT_TRUE(nlohmann::json::parse(ReadFile(folder + "/auth_empty.json")).empty());
  struct stat entry = {};
  ASSERT_EQ(stat(folder.c_str(), &entry), 0);
  EXPECT_EQ(entry.st_mode & 0777, 0700U);
  ASSERT_EQ(stat((folder + "/auth_users.json").c_str(), &entry), 0);
  EXPECT_EQ(entry.st_mode & 0777, 0600U);
}

TEST(Export, NeverOverwrites) {
  const TempDir root;
  const TempDir out;
  const auto reader = Open(root, WriteSample(root.path(), "acme", 3));
  ASSERT_TRUE(ExportJson(*reader, out.path()).ok());
  EXPECT_EQ(CodeOf(ExportJson(*reader, out.path()).status()), "PGC-EXPORT-EXISTS");
  EXPECT_EQ(CodeOf(ExportJson(*reader, "relative").status()), "PGC-EXPORT-DIR");
  EXPECT_EQ(CodeOf(ExportJson(*reader, out.path() + "/absent").status()), "PGC-BACKUP-DIR");
}

TEST(Export, KeepsTablesWithOneNameApartAndInItsFolder) {
  const TempDir root;
  const TempDir out;
  const auto writer = MustCreate(root.path(), "acme", 3);
  AddTable(*writer, "one", "a.b_c", 1);
  AddTable(*writer, "two", "a_b.c", 1);
  AddTable(*writer, "three", "\"..\".\"../../x\"", 1);
  const auto exported = ExportJson(*Open(root, *writer->Seal()), out.path());
  ASSERT_TRUE(exported.ok()) << Describe(exported.status());
  EXPECT_EQ(nlohmann::json::parse(ReadFile(exported->folder + "/a_b_c.json"))[0].at("ref"), "one");
  EXPECT_EQ(nlohmann::json::parse(ReadFile(exported->folder + "/a_b_c-2.json"))[0].at("ref"), "two");
  EXPECT_EQ(nlohmann::json::parse(ReadFile(exported->folder + "/.._..%2F..%2Fx.json"))[0].at("ref"), "three");
  EXPECT_EQ(std::distance(fs::directory_iterator(out.path()), {}), 1);
}

TEST(Export, OfADamagedBackupLeavesNothing) {
  const TempDir root;
  const TempDir out;
  const auto reader = Open(root, WriteSample(root.path(), "acme", 3));
  fs::resize_file(root.path() + "/store-store-1/acme/3/auth.sessions.00001.copy.zst", 10);
  EXPECT_EQ(CodeOf(ExportJson(*reader, out.path()).status()), "PGC-BACKUP-CORRUPT");
  EXPECT_TRUE(fs::is_empty(out.path()));
}

}  // namespace
}  // namespace pgconvoy::backup
