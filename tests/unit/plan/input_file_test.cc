#include "common/plan/input_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/unit/plan/sample_plan.h"

namespace pgconvoy::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Write(const testing::TempDir& folder, const std::string& name, const std::string& content) {
  const std::string path = folder.path() + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(LoadPlan, ReadsAFile) {
  const testing::TempDir folder;
  const ParsedPlan parsed = LoadPlan(Write(folder, "plan.yaml", kSamplePlan));
  EXPECT_EQ(FormatAll(parsed.problems), "");
  EXPECT_EQ(parsed.plan.name(), "sample");
}

TEST(LoadPlan, RefusesWhatIsNoRegularFileAtOnce) {
  const testing::TempDir folder;
  const std::string fifo = folder.path() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const std::string loop = folder.path() + "/loop";
  std::filesystem::create_symlink(loop, loop);
  const std::string below_file = Write(folder, "file", "x") + "/plan.yaml";
  for (const std::string& path : {folder.path() + "/none.yaml", below_file, folder.path(), fifo, loop,
                                  std::string("/dev/zero"), std::string("/dev/null"), std::string()}) {
    const ParsedPlan parsed = LoadPlan(path);
    EXPECT_THAT(Brief(parsed.problems), ElementsAre("PGC-PLAN-FILE:0")) << path;
    EXPECT_FALSE(parsed.ok());
  }
  EXPECT_THAT(FormatAll(LoadPlan(folder.path()).problems), HasSubstr("is a directory"));
  EXPECT_THAT(FormatAll(LoadPlan(folder.path() + "/none.yaml").problems), HasSubstr("there is no such file"));
}

TEST(LoadPlan, RefusesAFileThatItMayNotRead) {
  const testing::TempDir folder;
  const std::string path = Write(folder, "plan.yaml", kSamplePlan);
  ASSERT_EQ(::chmod(path.c_str(), 0000), 0);
  const bool root = ::geteuid() == 0;
  if (root) {
    ASSERT_EQ(::seteuid(65534), 0);  // nobody: root reads everything
  }
  const ParsedPlan parsed = LoadPlan(path);
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_THAT(Brief(parsed.problems), ElementsAre("PGC-PLAN-FILE:0"));
  EXPECT_THAT(FormatAll(parsed.problems), HasSubstr("Permission denied"));
}

TEST(LoadPlan, RefusesALargeFileWithoutReadingIt) {
  const testing::TempDir folder;
  const std::string path = Write(folder, "plan.yaml", "version: 1\n");
  std::filesystem::resize_file(path, uint64_t{1} << 40);  // sparse
  EXPECT_THAT(Brief(LoadPlan(path).problems), ElementsAre("PGC-PLAN-TOO-LARGE:0"));
}

TEST(ReadInputFile, GivesContentAndMode) {
  const testing::TempDir folder;
  const std::string path = Write(folder, "a", std::string("a\0b\n", 4));
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  const auto file = ReadInputFile(path, 4);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->content, std::string("a\0b\n", 4));
  EXPECT_EQ(file->mode & 0777, 0640u);
  EXPECT_EQ(ReadInputFile(path, 3).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadInputFile(folder.path() + "/none", 3).status().code(), absl::StatusCode::kNotFound);
}

TEST(ReadInputFile, RefusesAFileThatChangesUnderIt) {
  const testing::TempDir folder;
  const std::string path = Write(folder, "growing", std::string(1 << 20, 'x'));
  std::atomic<bool> done = false;
  std::thread writer([&] {
    std::ofstream file(path, std::ios::app);
    while (!done) {
      file << 'y' << std::flush;
    }
  });
  // Not every read is hit, but sooner or later one is.
  EXPECT_TRUE(testing::Eventually(
      [&] { return ReadInputFile(path, 1 << 30).status().code() == absl::StatusCode::kAborted; }));
  done = true;
  writer.join();
}

TEST(FindEncodingFault, TakesText) {
  EXPECT_FALSE(FindEncodingFault("").has_value());
  EXPECT_FALSE(FindEncodingFault("a\tb\r\nc\xC3\xA9\n\xEF\xBB\xBF").has_value());
}

}  // namespace
}  // namespace pgconvoy::plan
