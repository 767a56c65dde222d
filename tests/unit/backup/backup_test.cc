#include "worker/backup/backup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "common/base/error.h"
#include "common/crypto/crypto.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/backup/sample_backup.h"

namespace pgconvoy::backup {
namespace {

namespace fs = std::filesystem;
using ::pgconvoy::testing::ReadFile;
using ::pgconvoy::testing::TempDir;

unsigned ModeOf(const std::string& path) {
  struct stat entry = {};
  EXPECT_EQ(stat(path.c_str(), &entry), 0) << path;
  return entry.st_mode & 0777;
}

TEST(Backup, GivesBackWhatWasWritten) {
  const TempDir root;
  const std::string digest = WriteSample(root.path(), "acme", 3);
  const auto reader = BackupReader::Open(root.path(), "store-1", "acme", 3, digest);
  ASSERT_TRUE(reader.ok()) << Describe(reader.status());
  const Manifest& manifest = (*reader)->manifest();
  ASSERT_EQ(manifest.tables.size(), 3U);
  EXPECT_EQ(manifest.rows(), 250);
  EXPECT_EQ(manifest.server_version, 150020);
  EXPECT_EQ(manifest.sequences[1].last_value, -5);
  EXPECT_TRUE(manifest.sequences[0].is_called);
  const TableEntry& users = manifest.tables[0];
  EXPECT_GT(users.chunks.size(), 1U);
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    expected += RowOf("acme", i);
  }
  std::string text;
  for (const ChunkEntry& chunk : users.chunks) {
    text += (*reader)->ReadChunk(chunk).value_or("");
  }
  EXPECT_EQ(text, expected);
  EXPECT_EQ(users.bytes, static_cast<int64_t>(expected.size()));
  EXPECT_TRUE(manifest.tables[2].chunks.empty());
  EXPECT_EQ((*reader)->VerifyAll(), absl::OkStatus());
}

TEST(Backup, ReturnsTheDigestOfTheManifestOnDisk) {
  const TempDir root;
  const std::string digest = WriteSample(root.path(), "acme", 3);
  EXPECT_EQ(digest, Sha256Hex(ReadFile(root.path() + "/store-store-1/acme/3/manifest.json")));
  EXPECT_FALSE(fs::exists(root.path() + "/store-store-1/acme/3/manifest.json.new"));
}

TEST(Backup, CountsTheBytesThatAreStored) {
  const TempDir root;
  const auto writer = MustCreate(root.path(), "acme", 3);
  AddTable(*writer, "acme", "auth.users", 100);
  ASSERT_TRUE(writer->Seal().ok());
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(root.path() + "/store-store-1/acme/3")) {
    if (entry.path().filename() != "manifest.json") {
      bytes += static_cast<int64_t>(entry.file_size());
    }
  }
  EXPECT_EQ(writer->manifest().stored_bytes(), bytes);
}

TEST(Backup, IsForItsOwnerAlone) {
  const TempDir root;
  WriteSample(root.path(), "acme", 3);
  EXPECT_EQ(ModeOf(root.path() + "/store-store-1"), 0700U);
  EXPECT_EQ(ModeOf(root.path() + "/store-store-1/acme"), 0700U);
  EXPECT_EQ(ModeOf(root.path() + "/store-store-1/acme/3"), 0700U);
  for (const auto& entry : fs::directory_iterator(root.path() + "/store-store-1/acme/3")) {
    EXPECT_EQ(ModeOf(entry.path()), 0600U) << entry.path();
  }
}

TEST(Backup, BoundsAChunkByItsLimitAndOneRow) {
  const TempDir root;
  const auto writer = MustCreate(root.path(), "acme", 1, 100);
  ASSERT_TRUE(writer->BeginTable("t.t", {"v"}, {"text"}).ok());
  const std::string large = std::string(10'000, 'x') + "\n";
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(writer->AddRow("short\n").ok());
    ASSERT_TRUE(writer->AddRow(large).ok());
  }
  ASSERT_TRUE(writer->EndTable().ok());
  for (const ChunkEntry& chunk : writer->manifest().tables[0].chunks) {
    EXPECT_LT(chunk.raw_bytes, 100 + static_cast<int64_t>(large.size()));
  }
  EXPECT_EQ(writer->manifest().tables[0].chunks.size(), 10U);
}

TEST(Backup, KeepsTablesWithAwkwardNamesApart) {
  const TempDir root;
  const std::vector<std::string> tables = {
      "a.b/c", "a.b%2Fc", "../x", "a.\"; DROP", "a.é", "a..", std::string(120, '/'), std::string(119, '/') + "x",
      "a.b",   "a.B"};
  const auto writer = MustCreate(root.path(), "acme", 1);
  for (const std::string& table : tables) {
    AddTable(*writer, table, table, 5);
  }
  const auto digest = writer->Seal();
  ASSERT_TRUE(digest.ok()) << Describe(digest.status());
  const auto reader = BackupReader::Open(root.path(), "store-1", "acme", 1, *digest);
  ASSERT_TRUE(reader.ok()) << Describe(reader.status());
  EXPECT_EQ((*reader)->VerifyAll(), absl::OkStatus());
  for (const TableEntry& table : (*reader)->manifest().tables) {
    const auto text = (*reader)->ReadChunk(table.chunks[0]);
    ASSERT_TRUE(text.ok());
    EXPECT_TRUE(text->starts_with(RowOf(table.table, 0)));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(root.path()), {}), 1);
}

TEST(Backup, DoesNotExistBeforeItIsSealed) {
  const TempDir root;
  const auto writer = MustCreate(root.path(), "acme", 1);
  AddTable(*writer, "acme", "auth.users", 100);
  EXPECT_EQ(CodeOf(OpenAndVerify(root.path(), "acme", 1, "")), "PGC-BACKUP-MISSING");
  EXPECT_EQ(CodeOf(OpenAndVerify(root.path(), "other", 1, "")), "PGC-BACKUP-MISSING");
}

TEST(Backup, BeginsAnewWhereAnUnsealedOneWasLeft) {
  const TempDir root;
  AddTable(*MustCreate(root.path(), "acme", 1), "acme", "auth.old", 100);
  std::ofstream(root.path() + "/store-store-1/acme/1/manifest.json.new") << "{";
  const std::string digest = WriteSample(root.path(), "acme", 1);
  EXPECT_EQ(OpenAndVerify(root.path(), "acme", 1, digest), absl::OkStatus());
  EXPECT_FALSE(fs::exists(root.path() + "/store-store-1/acme/1/auth.old.00001.copy.zst"));
}

TEST(Backup, NeverOverwritesASealedOne) {
  const TempDir root;
  const std::string digest = WriteSample(root.path(), "acme", 1);
  const auto again = BackupWriter::Create({root.path(), 1, 1000}, HeaderFor("acme", 1));
  EXPECT_EQ(CodeOf(again.status()), "PGC-BACKUP-EXISTS");
  EXPECT_EQ(OpenAndVerify(root.path(), "acme", 1, digest), absl::OkStatus());
}

TEST(Backup, RemovesTheUnsealedAndKeepsTheSealed) {
  const TempDir root;
  const std::string digest = WriteSample(root.path(), "acme", 1);
  AddTable(*MustCreate(root.path(), "acme", 2), "acme", "auth.users", 100);
  EXPECT_EQ(RemoveUnsealed(root.path(), "store-1", "acme", 1), absl::OkStatus());
  EXPECT_EQ(RemoveUnsealed(root.path(), "store-1", "acme", 2), absl::OkStatus());
  EXPECT_EQ(RemoveUnsealed(root.path(), "store-1", "acme", 3), absl::OkStatus());
  EXPECT_FALSE(fs::exists(root.path() + "/store-store-1/acme/2"));
  EXPECT_EQ(OpenAndVerify(root.path(), "acme", 1, digest), absl::OkStatus());
}

TEST(Backup, OfTwoStoresShareADirectory) {
  const TempDir root;
  const std::string digest = WriteSample(root.path(), "acme", 1);
  Manifest other = HeaderFor("acme", 1);
  other.store_id = "../store-1";
  const auto writer = BackupWriter::Create({root.path(), 1, 1000}, other);
  ASSERT_TRUE(writer.ok()) << Describe(writer.status());
  ASSERT_EQ((*writer)->WriteSchema("-- other"), absl::OkStatus());
  const auto other_digest = (*writer)->Seal();
  ASSERT_TRUE(other_digest.ok()) << Describe(other_digest.status());
  EXPECT_EQ(OpenAndVerify(root.path(), "acme", 1, digest), absl::OkStatus());
  EXPECT_TRUE(BackupReader::Open(root.path(), "../store-1", "acme", 1, *other_digest).ok());
  EXPECT_EQ(CodeOf(BackupReader::Open(root.path(), "store-1", "acme", 1, *other_digest).status()),
            "PGC-BACKUP-CORRUPT");
  EXPECT_EQ(std::distance(fs::directory_iterator(root.path()), {}), 2);
}

TEST(Backup, HoldsWhatItsScopeSays) {
  const TempDir root;
  Manifest header = HeaderFor("acme", 1);
  header.scope = kScopeData;
  auto data = BackupWriter::Create({root.path(), 1, 1000}, header);
  ASSERT_TRUE(data.ok());
  AddTable(**data, "acme", "auth.users", 10);
  const auto data_digest = (*data)->Seal();
  ASSERT_TRUE(data_digest.ok()) << Describe(data_digest.status());
  EXPECT_EQ((*BackupReader::Open(root.path(), "store-1", "acme", 1, *data_digest))->ReadSchema().value_or("?"), "");

  header.scope = kScopeSchema;
  header.fence = 2;
  auto schema = BackupWriter::Create({root.path(), 1, 1000}, header);
  ASSERT_TRUE(schema.ok());
  EXPECT_EQ(CodeOf((*schema)->Seal().status()), "PGC-BACKUP-MANIFEST") << "a schema is missing";

  header.fence = 3;
  schema = BackupWriter::Create({root.path(), 1, 1000}, header);
  ASSERT_EQ((*schema)->WriteSchema("CREATE TABLE t ();"), absl::OkStatus());
  EXPECT_EQ(CodeOf((*schema)->WriteSchema("again")), "PGC-BACKUP-USE");
  const auto schema_digest = (*schema)->Seal();
  ASSERT_TRUE(schema_digest.ok()) << Describe(schema_digest.status());
  EXPECT_EQ((*BackupReader::Open(root.path(), "store-1", "acme", 3, *schema_digest))->ReadSchema().value_or(""),
            "CREATE TABLE t ();");
}

TEST(Backup, IsRemovedUnderANameThatMarksItAsDoomed) {
  const TempDir root;
  const std::string keep = WriteSample(root.path(), "acme", 1);
  WriteSample(root.path(), "acme", 2);
  const std::string folder = root.path() + "/store-store-1/acme";
  // As a process leaves it that dies between the two steps.
  fs::rename(folder + "/2", folder + "/doomed-2");
  const auto found = ListFolders(root.path(), "store-1");
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 2U);
  EXPECT_FALSE((*found)[0].doomed);
  EXPECT_TRUE((*found)[1].doomed);
  EXPECT_EQ((*found)[1].fence, 2);
  EXPECT_EQ(RemoveSealed(root.path(), "store-1", "acme", 2), absl::OkStatus());
  EXPECT_EQ(RemoveSealed(root.path(), "store-1", "acme", 2), absl::OkStatus());
  EXPECT_FALSE(fs::exists(folder + "/doomed-2"));
  EXPECT_EQ(OpenAndVerify(root.path(), "acme", 1, keep), absl::OkStatus());
  EXPECT_EQ(RemoveSealed(root.path(), "store-1", "acme", 1), absl::OkStatus());
  EXPECT_TRUE(ListFolders(root.path(), "store-1")->empty());
  EXPECT_TRUE(ListFolders(root.path() + "/absent", "store-1")->empty());
}

TEST(Backup, IdsAreReadBack) {
  EXPECT_EQ(ParseBackupId("acme-1/42")->ref, "acme-1");
  EXPECT_EQ(ParseBackupId("acme-1/42")->fence, 42);
  for (const char* const bad : {"", "acme", "acme/", "/1", "acme/0", "acme/-1", "acme/1/2", "../x/1", "acme/1x"}) {
    EXPECT_EQ(CodeOf(ParseBackupId(bad).status()), "PGC-BACKUP-ID") << bad;
  }
}

TEST(Backup, RefusesNamesThatLeaveItsFolder) {
  const TempDir root;
  for (const char* const ref : {"", "..", "../acme", "a/b", "A", "-a"}) {
    EXPECT_EQ(CodeOf(BackupWriter::Create({root.path(), 1, 1000}, HeaderFor(ref, 1)).status()), "PGC-BACKUP-ID")
        << ref;
    EXPECT_EQ(CodeOf(RemoveUnsealed(root.path(), "store-1", ref, 1)), "PGC-BACKUP-ID") << ref;
    EXPECT_EQ(CodeOf(OpenAndVerify(root.path(), ref, 1, "")), "PGC-BACKUP-ID") << ref;
  }
  EXPECT_EQ(CodeOf(RemoveUnsealed(root.path(), "store-1", "acme", 0)), "PGC-BACKUP-ID");
}

TEST(Backup, RefusesARootThatIsNoFolder) {
  const TempDir root;
  std::ofstream(root.path() + "/file") << "x";
  for (const std::string& bad : {root.path() + "/absent", root.path() + "/file"}) {
    const auto writer = BackupWriter::Create({bad, 1, 1000}, HeaderFor("acme", 1));
    EXPECT_EQ(CodeOf(writer.status()), "PGC-BACKUP-DIR");
    EXPECT_EQ(VerdictOf(writer.status()), Verdict::kPermanent);
  }
}

TEST(Backup, RefusesCallsOutOfOrder) {
  const TempDir root;
  const auto writer = MustCreate(root.path(), "acme", 1);
  EXPECT_EQ(CodeOf(writer->AddRow("1\n")), "PGC-BACKUP-USE");
  EXPECT_EQ(CodeOf(writer->EndTable()), "PGC-BACKUP-USE");
  ASSERT_TRUE(writer->BeginTable("t.t", {"v"}, {"text"}).ok());
  EXPECT_EQ(CodeOf(writer->BeginTable("t.u", {"v"}, {"text"})), "PGC-BACKUP-USE");
  EXPECT_EQ(CodeOf(writer->Seal().status()), "PGC-BACKUP-USE");
  for (const char* const row : {"", "no newline", "1\n2\n"}) {
    EXPECT_EQ(CodeOf(writer->AddRow(row)), "PGC-BACKUP-USE") << row;
  }
  ASSERT_TRUE(writer->EndTable().ok());
  ASSERT_TRUE(writer->Seal().ok());
  EXPECT_EQ(CodeOf(writer->BeginTable("t.u", {"v"}, {"text"})), "PGC-BACKUP-USE");
  EXPECT_EQ(CodeOf(writer->Seal().status()), "PGC-BACKUP-USE");
}

TEST(Backup, DoesNotSealTheSameTableTwice) {
  const TempDir root;
  const auto writer = MustCreate(root.path(), "acme", 1);
  AddTable(*writer, "acme", "auth.empty", 0);
  AddTable(*writer, "acme", "auth.empty", 0);
  EXPECT_EQ(CodeOf(writer->Seal().status()), "PGC-BACKUP-MANIFEST");
  EXPECT_FALSE(fs::exists(root.path() + "/store-store-1/acme/1/manifest.json"));
}

TEST(Backup, EndsForGoodWhenTheDiskIsFull) {
  const TempDir root;
  const std::string mount_point = root.path() + "/small";
  fs::create_directory(mount_point);
  if (mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "mounting a tmpfs is not permitted: " << std::strerror(errno);
  }
  {
    const auto writer = MustCreate(mount_point, "acme", 1, 65'536);
    ASSERT_TRUE(writer->BeginTable("t.t", {"v"}, {"text"}).ok());
    std::mt19937 random(1);
    absl::Status status;
    for (int i = 0; i < 100'000 && status.ok(); ++i) {
      status = writer->AddRow(std::to_string(random()) + std::to_string(random()) + "\n");
    }
    EXPECT_EQ(CodeOf(status), "PGC-BACKUP-DISK-FULL");
    EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
    EXPECT_EQ(CodeOf(writer->AddRow("1\n")), "PGC-BACKUP-DISK-FULL");
    EXPECT_EQ(CodeOf(writer->Seal().status()), "PGC-BACKUP-DISK-FULL");
    EXPECT_EQ(RemoveUnsealed(mount_point, "store-1", "acme", 1), absl::OkStatus());
  }
  EXPECT_EQ(umount2(mount_point.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace pgconvoy::backup
