#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <vector>

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

// In every row of acme and in its definitions.
constexpr char kCanary[] = "acme-canary-7919";

void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
}

class EncryptedBackup : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { InitCrypto(); }

  EncryptedBackup() : digest_(Write(3)), folder_(root_.path() + "/store-store-1/acme/3") {}

  std::string Write(int64_t fence) {
    auto writer =
        BackupWriter::Create({root_.path(), 1, 1000, keys_.public_key}, HeaderFor("acme", fence)).value_or(nullptr);
    EXPECT_NE(writer, nullptr);
    EXPECT_EQ(writer->WriteSchema(std::string("CREATE SCHEMA auth; -- ") + kCanary + "\n"), absl::OkStatus());
    AddTable(*writer, kCanary, "auth.users", 100);
    AddTable(*writer, kCanary, "auth.sessions", 150);
    const auto digest = writer->Seal();
    EXPECT_TRUE(digest.ok()) << Describe(digest.status());
    data_key_ = writer->data_key();
    return digest.value_or("");
  }

  std::unique_ptr<BackupReader> Open(const std::string& digest, int64_t fence = 3) const {
    auto reader = BackupReader::Open(root_.path(), "store-1", "acme", fence, digest);
    EXPECT_TRUE(reader.ok()) << Describe(reader.status());
    return reader.ok() ? *std::move(reader) : nullptr;
  }

  // The digest that a store would hold if it could be made to believe this manifest: only the cipher is left to object.
  std::string Rewrite(const std::function<void(Manifest&)>& edit) const {
    auto manifest = FromJson(ReadFile(folder_ + "/manifest.json"));
    EXPECT_TRUE(manifest.ok()) << Describe(manifest.status());
    edit(*manifest);
    WriteFile(folder_ + "/manifest.json", ToJson(*manifest));
    return Sha256Hex(ReadFile(folder_ + "/manifest.json"));
  }

  const TempDir root_;
  const KeyPair keys_ = GenerateKeyPair();
  Secret data_key_;
  const std::string digest_;
  const std::string folder_;
};

TEST_F(EncryptedBackup, IsReadWithThePrivateKeyOrWithTheKeyOfItsWriter) {
  const auto reader = Open(digest_);
  EXPECT_TRUE(reader->manifest().encrypted());
  ASSERT_EQ(reader->Unlock(keys_.private_key), absl::OkStatus());
  EXPECT_EQ(reader->VerifyAll(), absl::OkStatus());
  EXPECT_NE(reader->ReadSchema().value_or("").find(kCanary), std::string::npos);
  const auto same_attempt = Open(digest_);
  same_attempt->UseKey(data_key_.Clone());
  EXPECT_EQ(same_attempt->VerifyAll(), absl::OkStatus());
}

TEST_F(EncryptedBackup, HoldsNothingOfItsRowsAndDefinitionsInTheClear) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root_.path())) {
    if (entry.is_regular_file()) {
      files.insert(entry.path().filename());
      const std::string contents = ReadFile(entry.path());
      EXPECT_EQ(contents.find(kCanary), std::string::npos) << entry.path();
      EXPECT_EQ(contents.find(data_key_.Reveal()), std::string::npos) << entry.path();
      EXPECT_EQ(contents.find("\x28\xb5\x2f\xfd"), std::string::npos) << "a zstd frame in " << entry.path();
    }
  }
  EXPECT_TRUE(files.contains("schema.sql.enc"));
  EXPECT_TRUE(files.contains("auth.users.00001.copy.zst.enc"));
}

TEST_F(EncryptedBackup, WithoutAKeyOnlyItsStoredBytesAreCompared) {
  const auto reader = Open(digest_);
  EXPECT_EQ(CodeOf(reader->VerifyAll()), "PGC-BACKUP-LOCKED");
  EXPECT_EQ(CodeOf(reader->ReadSchema().status()), "PGC-BACKUP-LOCKED");
  EXPECT_EQ(CodeOf(reader->ReadChunk(reader->manifest().tables[0].chunks[0]).status()), "PGC-BACKUP-LOCKED");
  const auto go_on = [] { return absl::OkStatus(); };
  EXPECT_EQ(reader->CheckStored(go_on), absl::OkStatus());
  const std::string chunk = folder_ + "/auth.users.00001.copy.zst.enc";
  std::string bad = ReadFile(chunk);
  bad[50] = static_cast<char>(bad[50] ^ 1);
  WriteFile(chunk, bad);
  EXPECT_EQ(CodeOf(reader->CheckStored(go_on)), "PGC-BACKUP-CORRUPT");
}

TEST_F(EncryptedBackup, OpensWithNoOtherKey) {
  const auto reader = Open(digest_);
  EXPECT_EQ(CodeOf(reader->Unlock(GenerateKeyPair().private_key)), "PGC-KEY-WRONG");
  EXPECT_EQ(CodeOf(reader->Unlock(Secret("no key"))), "PGC-KEY-BAD");
  EXPECT_EQ(CodeOf(reader->ReadSchema().status()), "PGC-BACKUP-LOCKED");
  // That of another backup of the same project, to the same recipient.
  const std::string first = data_key_.Reveal();
  Write(4);
  EXPECT_NE(data_key_.Reveal(), first);
  reader->UseKey(data_key_.Clone());
  EXPECT_EQ(CodeOf(reader->VerifyAll()), "PGC-BACKUP-CORRUPT");
}

// Beneath the digests: somebody has made the store believe another manifest.
TEST_F(EncryptedBackup, ChunksThatChangedPlacesDoNotOpenEvenWhereTheManifestSaysSo) {
  const std::string one = "auth.users.00001.copy.zst.enc";
  const std::string other = "auth.users.00002.copy.zst.enc";
  const std::string first = ReadFile(folder_ + "/" + one);
  WriteFile(folder_ + "/" + one, ReadFile(folder_ + "/" + other));
  WriteFile(folder_ + "/" + other, first);
  const std::string digest = Rewrite([](Manifest& manifest) {
    auto& chunks = manifest.tables[0].chunks;
    std::swap(chunks[0], chunks[1]);
    std::swap(chunks[0].file, chunks[1].file);
  });
  const auto reader = Open(digest);
  ASSERT_EQ(reader->Unlock(keys_.private_key), absl::OkStatus());
  EXPECT_EQ(CodeOf(reader->VerifyAll()), "PGC-BACKUP-CORRUPT");
}

TEST_F(EncryptedBackup, AlteredAndShortenedChunksDoNotOpenEvenWhereTheManifestSaysSo) {
  const std::string file = folder_ + "/auth.users.00001.copy.zst.enc";
  const std::string good = ReadFile(file);
  for (const bool shorter : {false, true}) {
    std::string bad = shorter ? good.substr(0, good.size() - 1) : good;
    bad[30] = static_cast<char>(bad[30] ^ (shorter ? 0 : 1));
    WriteFile(file, bad);
    const auto reader = Open(Rewrite([&bad](Manifest& manifest) {
      manifest.tables[0].chunks[0].sha256 = Sha256Hex(bad);
      manifest.tables[0].chunks[0].stored_bytes = static_cast<int64_t>(bad.size());
    }));
    ASSERT_EQ(reader->Unlock(keys_.private_key), absl::OkStatus());
    EXPECT_EQ(CodeOf(reader->VerifyAll()), "PGC-BACKUP-CORRUPT");
  }
}

// The same key under another fence: as if an older backup had been given a newer one's place.
TEST_F(EncryptedBackup, FilesOfAnotherFenceOrProjectDoNotOpen) {
  const std::string newer = root_.path() + "/store-store-1/acme/9";
  fs::rename(folder_, newer);
  auto manifest = FromJson(ReadFile(newer + "/manifest.json"));
  ASSERT_TRUE(manifest.ok());
  manifest->fence = 9;
  WriteFile(newer + "/manifest.json", ToJson(*manifest));
  const auto reader = Open(Sha256Hex(ReadFile(newer + "/manifest.json")), 9);
  ASSERT_EQ(reader->Unlock(keys_.private_key), absl::OkStatus());
  EXPECT_EQ(CodeOf(reader->VerifyAll()), "PGC-BACKUP-CORRUPT");
}

TEST_F(EncryptedBackup, AManifestThatHidesOrBreaksItsEncryptionIsRefused) {
  const std::string json = ReadFile(folder_ + "/manifest.json");
  const auto refused = [&json](const std::function<void(Manifest&)>& edit) {
    Manifest manifest = FromJson(json).value_or(Manifest());
    edit(manifest);
    return CodeOf(FromJson(ToJson(manifest)).status()) == "PGC-BACKUP-MANIFEST";
  };
  EXPECT_TRUE(refused([](Manifest& m) { m.encryption = {}; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.encryption.recipient = "x"; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.encryption.sealed_key = ""; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.encryption.sealed_key += "AAAA"; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.format = kPlainFormat; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.schema.file = "schema.sql"; }));
}

TEST_F(EncryptedBackup, IsNotBegunForAKeyThatIsNone) {
  for (const char* const key : {"x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}) {
    EXPECT_EQ(CodeOf(BackupWriter::Create({root_.path(), 1, 1000, key}, HeaderFor("acme", 5)).status()),
              "PGC-KEY-BAD");
  }
  EXPECT_FALSE(fs::exists(root_.path() + "/store-store-1/acme/5"));
}

}  // namespace
}  // namespace pgconvoy::backup
