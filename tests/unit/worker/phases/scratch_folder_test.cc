#include "worker/phases/scratch_folder.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace pgconvoy::worker {
namespace {

namespace fs = std::filesystem;

class ScratchFolderTest : public ::testing::Test {
 protected:
  ScratchFolderTest() { ::setenv("TMPDIR", parent_.path().c_str(), /*overwrite=*/1); }
  ~ScratchFolderTest() override { ::unsetenv("TMPDIR"); }

  size_t Folders() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(parent_.path()), fs::directory_iterator()));
  }

  testing::TempDir parent_;
};

TEST_F(ScratchFolderTest, IsGoneWithItsObject) {
  {
    const auto folder = ScratchFolder::Create();
    ASSERT_TRUE(folder.ok());
    std::ofstream(folder->File("schema.dump")) << "text";
    EXPECT_EQ(Folders(), 1);
  }
  EXPECT_EQ(Folders(), 0);
}

TEST_F(ScratchFolderTest, WhatAKilledWorkerLeftIsRemovedByTheNextFolder) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto folder = ScratchFolder::Create();
    std::ofstream(folder->File("schema.dump")) << "text";
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  ASSERT_EQ(Folders(), 1);
  const auto folder = ScratchFolder::Create();
  ASSERT_TRUE(folder.ok());
  EXPECT_EQ(Folders(), 1);
}

TEST_F(ScratchFolderTest, WhatIsInUseStays) {
  const auto one = ScratchFolder::Create();
  const auto other = ScratchFolder::Create();
  ASSERT_TRUE(one.ok() && other.ok());
  std::ofstream(one->File("schema.dump")) << "text";
  EXPECT_TRUE(fs::exists(one->File("schema.dump")));
  EXPECT_EQ(Folders(), 2);
}

}  // namespace
}  // namespace pgconvoy::worker
