#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "common/base/error.h"
#include "common/crypto/crypto.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/backup/sample_backup.h"
#include "worker/backup/backup.h"

namespace pgconvoy::backup {
namespace {

namespace fs = std::filesystem;
using ::pgconvoy::testing::ReadFile;
using ::pgconvoy::testing::TempDir;

void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
}

std::vector<std::string> FilesIn(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files.push_back(entry.path());
  }
  return files;
}

class CorruptionTest : public ::testing::Test {
 protected:
  CorruptionTest() : digest_(WriteSample(root_.path(), "acme", 3)), folder_(root_.path() + "/store-store-1/acme/3") {}

  absl::Status Verify() const { return OpenAndVerify(root_.path(), "acme", 3, digest_); }

  const TempDir root_;
  const std::string digest_;
  const std::string folder_;
};

TEST_F(CorruptionTest, SeesEveryFlippedBit) {
  ASSERT_EQ(Verify(), absl::OkStatus());
  int flips = 0;
  for (const std::string& file : FilesIn(folder_)) {
    const std::string good = ReadFile(file);
    for (size_t at = 0; at < good.size(); at += 7) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
      WriteFile(file, bad);
      ASSERT_EQ(CodeOf(Verify()), "PGC-BACKUP-CORRUPT") << file << " byte " << at;
      ++flips;
    }
    WriteFile(file, good);
  }
  EXPECT_GT(flips, 300);
  EXPECT_EQ(Verify(), absl::OkStatus());
}

TEST_F(CorruptionTest, SeesEveryTruncationAndGrowth) {
  for (const std::string& file : FilesIn(folder_)) {
    const std::string good = ReadFile(file);
    for (size_t size = 0; size < good.size(); size += 13) {
      WriteFile(file, good.substr(0, size));
      ASSERT_EQ(CodeOf(Verify()), "PGC-BACKUP-CORRUPT") << file << " at " << size;
    }
    WriteFile(file, good + "x");
    ASSERT_EQ(CodeOf(Verify()), "PGC-BACKUP-CORRUPT") << file;
    WriteFile(file, good);
  }
  EXPECT_EQ(Verify(), absl::OkStatus());
}

TEST_F(CorruptionTest, SeesEveryMissingFile) {
  for (const std::string& file : FilesIn(folder_)) {
    const std::string good = ReadFile(file);
    fs::remove(file);
    EXPECT_EQ(CodeOf(Verify()), file.ends_with("manifest.json") ? "PGC-BACKUP-MISSING" : "PGC-BACKUP-CORRUPT")
        << file;
    WriteFile(file, good);
  }
  EXPECT_EQ(Verify(), absl::OkStatus());
}

TEST_F(CorruptionTest, SeesFilesThatChangedPlaces) {
  const std::vector<std::string> files = FilesIn(folder_);
  for (size_t i = 0; i + 1 < files.size(); ++i) {
    const std::string one = ReadFile(files[i]);
    const std::string other = ReadFile(files[i + 1]);
    WriteFile(files[i], other);
    WriteFile(files[i + 1], one);
    EXPECT_EQ(CodeOf(Verify()), "PGC-BACKUP-CORRUPT") << files[i];
    WriteFile(files[i], one);
    WriteFile(files[i + 1], other);
  }
  EXPECT_EQ(Verify(), absl::OkStatus());
}

TEST_F(CorruptionTest, RefusesALinkOrAPipeInPlaceOfAChunk) {
  const std::string chunk = folder_ + "/auth.users.00001.copy.zst";
  fs::rename(chunk, root_.path() + "/elsewhere");
  fs::create_symlink(root_.path() + "/elsewhere", chunk);
  EXPECT_EQ(CodeOf(Verify()), "PGC-BACKUP-CORRUPT");
  fs::remove(chunk);
  ASSERT_EQ(mkfifo(chunk.c_str(), 0600), 0);
  EXPECT_EQ(CodeOf(Verify()), "PGC-BACKUP-CORRUPT");
}

TEST_F(CorruptionTest, RefusesAnotherProjectsBackup) {
  const std::string other_digest = WriteSample(root_.path(), "umbrella", 3);
  const std::string other = root_.path() + "/store-store-1/umbrella/3";
  fs::rename(folder_, root_.path() + "/tmp");
  fs::rename(other, folder_);
  fs::rename(root_.path() + "/tmp", other);
  EXPECT_EQ(CodeOf(Verify()), "PGC-BACKUP-CORRUPT");
  // Even where the store's digest was swapped along.
  EXPECT_EQ(CodeOf(OpenAndVerify(root_.path(), "acme", 3, other_digest)), "PGC-BACKUP-CORRUPT");
  EXPECT_EQ(CodeOf(OpenAndVerify(root_.path(), "umbrella", 3, digest_)), "PGC-BACKUP-CORRUPT");
}

TEST_F(CorruptionTest, RefusesAnotherProjectsManifest) {
  const std::string other_digest = WriteSample(root_.path(), "umbrella", 3);
  WriteFile(folder_ + "/manifest.json", ReadFile(root_.path() + "/store-store-1/umbrella/3/manifest.json"));
  EXPECT_EQ(CodeOf(Verify()), "PGC-BACKUP-CORRUPT");
  EXPECT_EQ(CodeOf(OpenAndVerify(root_.path(), "acme", 3, other_digest)), "PGC-BACKUP-CORRUPT");
}

TEST_F(CorruptionTest, RefusesAnOlderBackupOfTheSameProject) {
  const std::string newer_digest = WriteSample(root_.path(), "acme", 4);
  fs::remove_all(root_.path() + "/store-store-1/acme/4");
  fs::rename(folder_, root_.path() + "/store-store-1/acme/4");
  EXPECT_EQ(CodeOf(OpenAndVerify(root_.path(), "acme", 4, newer_digest)), "PGC-BACKUP-CORRUPT");
  EXPECT_EQ(CodeOf(OpenAndVerify(root_.path(), "acme", 4, digest_)), "PGC-BACKUP-CORRUPT");
}

TEST_F(CorruptionTest, RefusesAnotherDigestOrStore) {
  EXPECT_EQ(CodeOf(OpenAndVerify(root_.path(), "acme", 3, "")), "PGC-BACKUP-CORRUPT");
  EXPECT_EQ(CodeOf(OpenAndVerify(root_.path(), "acme", 3, Sha256Hex("x"))), "PGC-BACKUP-CORRUPT");
  EXPECT_EQ(CodeOf(BackupReader::Open(root_.path(), "store-2", "acme", 3, digest_).status()), "PGC-BACKUP-MISSING");
  fs::rename(root_.path() + "/store-store-1", root_.path() + "/store-store-2");
  EXPECT_EQ(CodeOf(BackupReader::Open(root_.path(), "store-2", "acme", 3, digest_).status()), "PGC-BACKUP-CORRUPT");
}

}  // namespace
}  // namespace pgconvoy::backup
