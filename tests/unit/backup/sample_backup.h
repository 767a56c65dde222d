// A small sealed backup for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/base/error.h"
#include "worker/backup/backup.h"

namespace pgconvoy::backup {

inline Manifest HeaderFor(const std::string& ref, int64_t fence) {
  Manifest header;
  header.store_id = "store-1";
  header.project_ref = ref;
  header.fence = fence;
  header.migration_id = "7";
  header.plan_hash = "abc";
  header.source = "host=db1 dbname=app";
  header.server_version = 150020;
  header.snapshot_time = "2026-01-02T03:04:05.678Z";
  return header;
}

// Rows that belong to `ref`, so that another project's chunks never look the same.
inline std::string RowOf(const std::string& ref, int number) {
  return std::to_string(number) + "\t" + ref + "\tvalue " + std::to_string(number * 7919) + "\n";
}

inline std::unique_ptr<BackupWriter> MustCreate(const std::string& root,
                                                const std::string& ref,
                                                int64_t fence,
                                                int64_t chunk_bytes = 1000) {
  auto writer = BackupWriter::Create({root, 1, chunk_bytes}, HeaderFor(ref, fence));
  EXPECT_TRUE(writer.ok()) << Describe(writer.status());
  if (writer.ok()) {
    EXPECT_EQ((*writer)->WriteSchema("CREATE SCHEMA auth; -- of " + ref + "\n"), absl::OkStatus());
  }
  return writer.ok() ? *std::move(writer) : nullptr;
}

inline void AddTable(BackupWriter& writer, const std::string& ref, const std::string& table, int rows) {
  EXPECT_EQ(writer.BeginTable(table, {"id", "ref", "v"}, {"integer", "text", "text"}), absl::OkStatus());
  for (int i = 0; i < rows; ++i) {
    EXPECT_EQ(writer.AddRow(RowOf(ref, i)), absl::OkStatus());
  }
  EXPECT_EQ(writer.EndTable(), absl::OkStatus());
}

// Two tables of several chunks, an empty one, two sequences. Returns the digest of the manifest.
inline std::string WriteSample(const std::string& root, const std::string& ref, int64_t fence) {
  const auto writer = MustCreate(root, ref, fence);
  AddTable(*writer, ref, "auth.users", 100);
  AddTable(*writer, ref, "auth.sessions", 150);
  AddTable(*writer, ref, "auth.empty", 0);
  writer->SetSequences({{"auth.users_id_seq", 100, true}, {"auth.down", -5, false}});
  const auto digest = writer->Seal();
  EXPECT_TRUE(digest.ok()) << Describe(digest.status());
  return digest.value_or("");
}

// What a worker does before it trusts a backup.
inline absl::Status OpenAndVerify(const std::string& root,
                                  const std::string& ref,
                                  int64_t fence,
                                  const std::string& digest) {
  const auto reader = BackupReader::Open(root, "store-1", ref, fence, digest);
  return reader.ok() ? (*reader)->VerifyAll() : reader.status();
}

}  // namespace pgconvoy::backup
