#include "common/plan/secret_ref.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "common/base/error.h"
#include "tests/support/temp_dir.h"

namespace pgconvoy::plan {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string FileRef(const testing::TempDir& folder, const std::string& content, mode_t mode) {
  const std::string path = folder.path() + "/secret";
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  EXPECT_EQ(::chmod(path.c_str(), mode), 0);
  return "${file:" + path + "}";
}

TEST(IsSecretRef, TakesWholeReferencesOnly) {
  for (const char* const text : {"${env:A}", "${env:_a1}", "${file:/a b}", "${file:x}"}) {
    EXPECT_TRUE(IsSecretRef(text)) << text;
  }
  for (const char* const text : {"", "x", "$env:A", "${env:}", "${env:1A}", "${env:A-B}", "${file:}", "${vault:x}",
                                 "${env:A} ", " ${env:A}", "${env:A}${env:B}", "${file:a}x}", "${env:A", "{env:A}"}) {
    EXPECT_FALSE(IsSecretRef(text)) << text;
  }
}

TEST(ResolveSecret, ReadsVariables) {
  ::setenv("PGCONVOY_TEST_SECRET", "pencil\n", 1);
  EXPECT_EQ(ResolveSecret("${env:PGCONVOY_TEST_SECRET}", false)->Reveal(), "pencil\n");
  ::setenv("PGCONVOY_TEST_SECRET", "", 1);
  EXPECT_EQ(CodeOf(ResolveSecret("${env:PGCONVOY_TEST_SECRET}", false).status()), "PGC-SECRET-EMPTY");
  ::setenv("PGCONVOY_TEST_SECRET", "\xFF", 1);
  EXPECT_EQ(CodeOf(ResolveSecret("${env:PGCONVOY_TEST_SECRET}", false).status()), "PGC-SECRET-BAD");
  ::unsetenv("PGCONVOY_TEST_SECRET");
  EXPECT_EQ(CodeOf(ResolveSecret("${env:PGCONVOY_TEST_SECRET}", false).status()), "PGC-SECRET-MISSING");
}

TEST(ResolveSecret, CutsOneNewlineOffAFile) {
  const testing::TempDir folder;
  EXPECT_EQ(ResolveSecret(FileRef(folder, "pencil\n", 0600), false)->Reveal(), "pencil");
  EXPECT_EQ(ResolveSecret(FileRef(folder, "pencil", 0700), false)->Reveal(), "pencil");
  EXPECT_EQ(ResolveSecret(FileRef(folder, "pencil\n\n", 0400), false)->Reveal(), "pencil\n");
}

TEST(ResolveSecret, RefusesFilesThatOthersReachAndBadContent) {
  const testing::TempDir folder;
  for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0644u}) {
    EXPECT_EQ(CodeOf(ResolveSecret(FileRef(folder, "pencil", mode), false).status()), "PGC-SECRET-MODE") << mode;
  }
  EXPECT_EQ(CodeOf(ResolveSecret(FileRef(folder, "\n", 0600), false).status()), "PGC-SECRET-EMPTY");
  EXPECT_EQ(CodeOf(ResolveSecret(FileRef(folder, std::string("a\0b", 3), 0600), false).status()), "PGC-SECRET-BAD");
  EXPECT_EQ(CodeOf(ResolveSecret(FileRef(folder, std::string(64 * 1024 + 1, 'x'), 0600), false).status()),
            "PGC-SECRET-BAD");
  EXPECT_EQ(CodeOf(ResolveSecret("${file:" + folder.path() + "/none}", false).status()), "PGC-SECRET-MISSING");
  EXPECT_EQ(CodeOf(ResolveSecret("${file:" + folder.path() + "}", false).status()), "PGC-SECRET-MISSING");
}

TEST(ResolveSecret, TakesLiteralsAndPublicFilesOnlyWhereAllowed) {
  const testing::TempDir folder;
  EXPECT_EQ(ResolveSecret("host=db1", true)->Reveal(), "host=db1");
  EXPECT_EQ(ResolveSecret(FileRef(folder, "host=db1\n", 0644), true)->Reveal(), "host=db1");
  EXPECT_EQ(CodeOf(ResolveSecret("hunter2", false).status()), "PGC-SECRET-LITERAL");
}

TEST(ResolveSecret, NamesTheReferenceAndNeverTheValue) {
  const testing::TempDir folder;
  const std::string ref = FileRef(folder, "hunter2", 0644);
  const std::string text = Describe(ResolveSecret(ref, false).status());
  EXPECT_THAT(text, HasSubstr(ref));
  EXPECT_THAT(text, Not(HasSubstr("hunter2")));
  EXPECT_THAT(Describe(ResolveSecret("hunter2", false).status()), Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace pgconvoy::plan
