#include "common/pg/local_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "common/pg/connection.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace pgconvoy::pg {
namespace {

using ::pgconvoy::testing::TempDir;
using ::testing::HasSubstr;

LocalClusterOptions OptionsFor(const std::string& directory) {
  LocalClusterOptions options;
  options.directory = directory;
  options.settings = {"fsync = off"};
  return options;
}

std::unique_ptr<LocalCluster> MustStart(const LocalClusterOptions& options) {
  auto cluster = LocalCluster::Start(options);
  EXPECT_TRUE(cluster.ok()) << Describe(cluster.status());
  if (!cluster.ok()) {
    return nullptr;
  }
  (*cluster)->set_stop_on_destroy(true);
  return *std::move(cluster);
}

std::string Ask(const LocalCluster& cluster, const std::string& sql) {
  const auto connection = Connection::Open({cluster.SocketAddress(), "postgres", Secret(), "postgres", "test"}, {});
  if (!connection.ok()) {
    return Describe(connection.status());
  }
  const auto result = (*connection)->Exec(sql);
  return result.ok() ? result->Text(0, 0) : Describe(result.status());
}

TEST(LocalCluster, MakesAClusterThatOnlyItsOwnerReaches) {
  const TempDir folder;
  const auto cluster = MustStart(OptionsFor(folder.path() + "/store"));
  ASSERT_NE(cluster, nullptr);
  EXPECT_EQ(Ask(*cluster, "SHOW listen_addresses"), "");
  EXPECT_EQ(Ask(*cluster, "SHOW fsync"), "off");
  EXPECT_EQ(Ask(*cluster, "SHOW server_encoding"), "UTF8");
  struct stat entry = {};
  ASSERT_EQ(stat((folder.path() + "/store").c_str(), &entry), 0);
  EXPECT_EQ(entry.st_mode & 0777, 0700U);
}

TEST(LocalCluster, KeepsItsDataOverAStop) {
  const TempDir folder;
  const auto options = OptionsFor(folder.path() + "/store");
  auto cluster = MustStart(options);
  ASSERT_NE(cluster, nullptr);
  Ask(*cluster, "CREATE TABLE public.kept AS SELECT 5 AS n");
  ASSERT_EQ(cluster->Stop("fast"), absl::OkStatus());
  EXPECT_EQ(cluster->postmaster_pid(), 0);
  cluster.reset();
  cluster = MustStart(options);
  ASSERT_NE(cluster, nullptr);
  EXPECT_EQ(Ask(*cluster, "SELECT n FROM public.kept"), "5");
}

TEST(LocalCluster, TakesOverTheServerThatRuns) {
  const TempDir folder;
  const auto options = OptionsFor(folder.path() + "/store");
  const auto first = MustStart(options);
  ASSERT_NE(first, nullptr);
  const auto second = LocalCluster::Start(options);
  ASSERT_TRUE(second.ok()) << Describe(second.status());
  EXPECT_EQ((*second)->postmaster_pid(), first->postmaster_pid());
  EXPECT_EQ((*second)->SocketConninfo(), first->SocketConninfo());
}

TEST(LocalCluster, StartsAfterAKillAndWithAnotherProcessUnderItsNumber) {
  const TempDir folder;
  const auto cluster = MustStart(OptionsFor(folder.path() + "/store"));
  ASSERT_NE(cluster, nullptr);
  Ask(*cluster, "CREATE TABLE public.kept AS SELECT 5 AS n");
  cluster->Kill();
  EXPECT_EQ(cluster->postmaster_pid(), 0);
  ASSERT_TRUE(std::filesystem::exists(folder.path() + "/store/data/postmaster.pid"));
  ASSERT_EQ(cluster->StartAgain(), absl::OkStatus());
  EXPECT_EQ(Ask(*cluster, "SELECT n FROM public.kept"), "5");
  ASSERT_EQ(cluster->Stop("fast"), absl::OkStatus());
  // The number of a process that runs and is no server.
  std::ofstream(folder.path() + "/store/data/postmaster.pid") << getpid() << "\n" << folder.path() << "\n";
  ASSERT_EQ(cluster->StartAgain(), absl::OkStatus());
  EXPECT_EQ(Ask(*cluster, "SELECT n FROM public.kept"), "5");
}

TEST(LocalCluster, BeginsAgainWhereInitdbWasCutShort) {
  const TempDir folder;
  const std::string store = folder.path() + "/store";
  std::filesystem::create_directories(store + "/data.new/base");
  std::ofstream(store + "/data.new/PG_VERSION") << "15\n";
  const auto cluster = MustStart(OptionsFor(store));
  ASSERT_NE(cluster, nullptr);
  EXPECT_EQ(Ask(*cluster, "SELECT 1"), "1");
}

TEST(LocalCluster, PutsTheSocketElsewhereWhereTheFoldersNameIsTooLong) {
  const TempDir folder;
  const auto cluster = MustStart(OptionsFor(folder.path() + "/" + std::string(120, 'x')));
  ASSERT_NE(cluster, nullptr);
  EXPECT_EQ(Ask(*cluster, "SELECT 1"), "1");
  const std::string socket_folder = Ask(*cluster, "SHOW unix_socket_directories");
  EXPECT_THAT(socket_folder, HasSubstr("/tmp/pgc-"));
  ASSERT_EQ(cluster->Stop("fast"), absl::OkStatus());
  EXPECT_FALSE(std::filesystem::exists(socket_folder));
}

TEST(LocalCluster, AcceptsAFolderWithQuotesAndSpaces) {
  const TempDir folder;
  const auto cluster = MustStart(OptionsFor(folder.path() + "/it's a \\ 'store', too"));
  ASSERT_NE(cluster, nullptr);
  EXPECT_EQ(Ask(*cluster, "SELECT 1"), "1");
}

TEST(LocalCluster, RefusesAFolderOfSomethingElse) {
  const TempDir folder;
  std::ofstream(folder.path() + "/letter") << "x";
  const auto cluster = LocalCluster::Start(OptionsFor(folder.path()));
  EXPECT_EQ(CodeOf(cluster.status()), "PGC-STORE-DIR");
  struct stat entry = {};
  ASSERT_EQ(stat(folder.path().c_str(), &entry), 0);
  EXPECT_EQ(entry.st_uid, geteuid());
}

TEST(LocalCluster, ShowsTheServersLogWhenItDoesNotStart) {
  const TempDir folder;
  auto options = OptionsFor(folder.path() + "/store");
  options.settings = {"shared_buffers = nonsense"};
  const auto cluster = LocalCluster::Start(options);
  EXPECT_EQ(CodeOf(cluster.status()), "PGC-STORE-START");
  EXPECT_THAT(MessageOf(cluster.status()), HasSubstr("shared_buffers"));
}

TEST(LocalCluster, AsksForThePasswordOverTcp) {
  pgconvoy::testing::PgCluster cluster;
  EXPECT_TRUE(Connection::Open(cluster.Superuser(), {}).ok());
  EXPECT_EQ(CodeOf(Connection::Open(cluster.EndpointFor("postgres", "guess", "postgres"), {}).status()),
            "PGC-PG-AUTH");
}

TEST(PgClusterOfTests, GivesServersThatLiveAtOnceTheirOwnIdentifiers) {
  constexpr char kIdentifier[] = "SELECT system_identifier FROM pg_control_system()";
  pgconvoy::testing::PgCluster one;
  pgconvoy::testing::PgCluster two;
  EXPECT_NE(one.QueryValue("postgres", kIdentifier), two.QueryValue("postgres", kIdentifier));
}

}  // namespace
}  // namespace pgconvoy::pg
