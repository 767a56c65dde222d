#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/backup/sample_backup.h"
#include "worker/backup/backup.h"

namespace pgconvoy::backup {
namespace {

using ::pgconvoy::testing::TempDir;

Manifest Sample() {
  const TempDir root;
  const auto writer = MustCreate(root.path(), "acme", 3);
  AddTable(*writer, "acme", "auth.users", 100);
  AddTable(*writer, "acme", "auth.empty", 0);
  writer->SetSequences({{"auth.seq", 9'223'372'036'854'775'807, true}});
  EXPECT_TRUE(writer->Seal().ok());
  return writer->manifest();
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Manifest, ReadsBackWhatItWrote) {
  const std::string json = ToJson(Sample());
  const auto read = FromJson(json);
  ASSERT_TRUE(read.ok()) << Describe(read.status());
  EXPECT_EQ(ToJson(*read), json);
  EXPECT_EQ(read->sequences[0].last_value, 9'223'372'036'854'775'807);
  EXPECT_EQ(read->tables[0].columns, (std::vector<std::string>{"id", "ref", "v"}));
}

TEST(Manifest, RefusesFiguresThatDoNotAddUp) {
  const std::vector<std::function<void(Manifest&)>> damages = {
      [](Manifest& m) { m.tables[0].rows += 1; },
      [](Manifest& m) { m.tables[0].bytes -= 1; },
      [](Manifest& m) { m.tables[0].digest = std::string(32, '0'); },
      [](Manifest& m) { m.tables[0].chunks.pop_back(); },
      [](Manifest& m) { m.tables[0].chunks.push_back(m.tables[0].chunks[0]); },
      [](Manifest& m) { std::swap(m.tables[0].chunks[0], m.tables[0].chunks[1]); },
      [](Manifest& m) { m.tables[0].chunks[0].rows = -1; },
      [](Manifest& m) { m.tables[0].chunks[0].stored_bytes = 0; },
      // The sum of two such is more than a number holds.
      [](Manifest& m) { m.tables[0].chunks[0].rows = m.tables[0].chunks[0].raw_bytes = int64_t{1} << 62; },
      [](Manifest& m) { m.tables[0].chunks[0].stored_bytes = int64_t{1} << 62; },
      [](Manifest& m) { m.schema.bytes = int64_t{1} << 62; },
      [](Manifest& m) { m.tables[0].chunks[0].sha256 = "x"; },
      [](Manifest& m) { m.tables[0].chunks[0].digest = "x"; },
      [](Manifest& m) { m.tables[0].chunks[0].file = "../../etc/passwd"; },
      [](Manifest& m) { m.tables[0].columns.push_back("id"); },
      [](Manifest& m) { m.tables[0].table.clear(); },
      [](Manifest& m) { m.tables.push_back(m.tables[1]); },
      [](Manifest& m) { m.sequences.push_back(m.sequences[0]); },
      [](Manifest& m) { m.project_ref = "../x"; },
      [](Manifest& m) { m.fence = 0; },
      [](Manifest& m) { m.format = 1; },
      [](Manifest& m) { m.tables[0].types.pop_back(); },
      [](Manifest& m) { m.scope = "SOME"; },
      [](Manifest& m) { m.scope = "SCHEMA"; },
      [](Manifest& m) { m.scope = "DATA"; },
      [](Manifest& m) { m.schema.file = "../x"; },
      [](Manifest& m) { m.schema.bytes = 0; },
      [](Manifest& m) { m.schema.sha256 = "x"; },
  };
  for (size_t i = 0; i < damages.size(); ++i) {
    Manifest manifest = Sample();
    damages[i](manifest);
    EXPECT_EQ(CodeOf(FromJson(ToJson(manifest)).status()), "PGC-BACKUP-MANIFEST") << "damage " << i;
  }
}

TEST(Manifest, RefusesNumbersThatAreNoWholeOnes) {
  const std::string json = ToJson(Sample());
  for (const char* const number : {"5e+32", "100.0", "-1e400", "1e2"}) {
    EXPECT_EQ(CodeOf(FromJson(Replaced(json, "\"fence\": 3", std::string("\"fence\": ") + number)).status()),
              "PGC-BACKUP-MANIFEST")
        << number;
    EXPECT_EQ(CodeOf(FromJson(Replaced(json, "\"format\": 2", std::string("\"format\": ") + number)).status()),
              "PGC-BACKUP-MANIFEST")
        << number;
  }
}

TEST(Manifest, RefusesEveryTextButTheCanonicalOne) {
  const std::string json = ToJson(Sample());
  const std::vector<std::string> bad = {
      "",
      "{}",
      "[]",
      "null",
      json + " ",
      " " + json,
      json.substr(0, json.size() / 2),
      Replaced(json, "\"fence\": 3", "\"fence\": 3, \"extra\": 1"),
      Replaced(json, "\"fence\": 3", "\"fence\": 4,\n \"fence\": 3"),
      Replaced(json, "\"fence\": 3", "\"fence\": 3.0"),
      Replaced(json, "\"fence\": 3", "\"fence\": \"3\""),
      Replaced(json, "\"fence\": 3", "\"fence\": 18446744073709551619"),
      Replaced(json, " \"fence\": 3,\n", ""),
      Replaced(json, "true", "1"),
      std::string(100'000, '['),
      "\xff\xfe",
  };
  for (const std::string& text : bad) {
    EXPECT_EQ(CodeOf(FromJson(text).status()), "PGC-BACKUP-MANIFEST") << text.substr(0, 200);
  }
}

}  // namespace
}  // namespace pgconvoy::backup
