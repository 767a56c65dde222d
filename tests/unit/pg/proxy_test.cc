#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/pg/connection.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/pg_proxy.h"
#include "tests/support/wait.h"

namespace pgconvoy::pg {
namespace {

using ::pgconvoy::testing::Eventually;
using ::pgconvoy::testing::PgCluster;
using ::pgconvoy::testing::PgProxy;

class ProxyTest : public ::testing::Test {
 protected:
  ProxyTest() : proxy_(cluster_.port()) { cluster_.Exec("postgres", "CREATE TABLE public.note (n int)"); }

  std::unique_ptr<Connection> Open() { return Open(proxy_); }

  std::unique_ptr<Connection> Open(const PgProxy& proxy) {
    Endpoint endpoint = cluster_.Superuser();
    endpoint.conninfo = "host=127.0.0.1 port=" + std::to_string(proxy.port());
    auto connection = Connection::Open(endpoint, {});
    EXPECT_TRUE(connection.ok()) << Describe(connection.status());
    return connection.ok() ? *std::move(connection) : nullptr;
  }

  // One row in a transaction of its own: the status of its COMMIT, or of what failed before.
  static absl::Status Insert(Connection& connection, int n) {
    PGC_ASSIGN_OR_RETURN(const auto transaction, Transaction::Begin(connection));
    PGC_RETURN_IF_ERROR(connection.Exec("INSERT INTO public.note VALUES ($1::int)", {std::to_string(n)}).status());
    return transaction->Commit();
  }

  bool IsThere(int n) const {
    return cluster_.QueryValue("postgres", "SELECT count(*) FROM public.note WHERE n = " + std::to_string(n)) == "1";
  }

  PgCluster cluster_;
  PgProxy proxy_;
};

TEST_F(ProxyTest, PassesEverythingUntilAFaultIsArmed) {
  const auto connection = Open();
  EXPECT_TRUE(Insert(*connection, 1).ok());
  EXPECT_TRUE(Insert(*connection, 2).ok());
  EXPECT_TRUE(IsThere(1) && IsThere(2));
  for (const auto fault :
       {PgProxy::kClosedAtMessage, PgProxy::kClosedAtStatement, PgProxy::kDroppedReply, PgProxy::kCut}) {
    EXPECT_EQ(proxy_.Landed(fault), 0);
  }
}

TEST_F(ProxyTest, ACommitWhoseAnswerIsDroppedIsInDoubtAndTheRowIsThere) {
  const auto connection = Open();
  proxy_.DropReplyTo("COMMIT");
  const absl::Status committed = Insert(*connection, 1);
  ASSERT_FALSE(committed.ok());
  EXPECT_EQ(VerdictOf(committed), Verdict::kInDoubt) << Describe(committed);
  EXPECT_TRUE(IsThere(1));
  EXPECT_EQ(proxy_.Landed(PgProxy::kDroppedReply), 1);
  EXPECT_TRUE(Insert(*Open(), 2).ok()) << "a fault lands once";
}

TEST_F(ProxyTest, ACommitThatTheServerNeverGetsIsInDoubtAndTheRowIsNotThere) {
  const auto connection = Open();
  proxy_.CloseAtStatement("COMMIT");
  const absl::Status committed = Insert(*connection, 1);
  ASSERT_FALSE(committed.ok());
  EXPECT_EQ(VerdictOf(committed), Verdict::kInDoubt) << Describe(committed);
  EXPECT_FALSE(IsThere(1));
  EXPECT_EQ(proxy_.Landed(PgProxy::kClosedAtStatement), 1);
}

TEST_F(ProxyTest, ClosesAtTheNthMessageAndOnlyThere) {
  const auto connection = Open();
  proxy_.CloseAtMessage(3);
  EXPECT_TRUE(connection->ExecScript("INSERT INTO public.note VALUES (1)").ok());
  EXPECT_TRUE(connection->ExecScript("INSERT INTO public.note VALUES (2)").ok());
  EXPECT_FALSE(connection->ExecScript("INSERT INTO public.note VALUES (3)").ok());
  EXPECT_TRUE(IsThere(1) && IsThere(2));
  EXPECT_FALSE(IsThere(3));
  EXPECT_EQ(proxy_.Landed(PgProxy::kClosedAtMessage), 1);
}

TEST_F(ProxyTest, CutsWhatIsOpenAndTakesNewConnections) {
  const auto connection = Open();
  proxy_.CutAll();
  ASSERT_TRUE(Eventually([this] { return proxy_.Landed(PgProxy::kCut) == 1; }));
  EXPECT_FALSE(connection->ExecScript("INSERT INTO public.note VALUES (1)").ok());
  EXPECT_TRUE(Insert(*Open(), 2).ok());
  EXPECT_FALSE(IsThere(1));
}

TEST_F(ProxyTest, StallsWithoutAWordAndPassesEverythingAfterwards) {
  const auto connection = Open();
  proxy_.Stall(true);
  auto inserted = std::async(std::launch::async, [&] { return Insert(*connection, 1); });
  EXPECT_FALSE(IsThere(1));
  proxy_.Stall(false);
  EXPECT_TRUE(inserted.get().ok());
  EXPECT_TRUE(IsThere(1));
}

TEST_F(ProxyTest, PassesUnreadWhatItIsNotToRead) {
  PgProxy unread(cluster_.port(), PgProxy::Protocol::kUnread);
  const auto connection = Open(unread);
  unread.CloseAtMessage(1);
  EXPECT_TRUE(Insert(*connection, 1).ok());
  EXPECT_TRUE(IsThere(1));
}

}  // namespace
}  // namespace pgconvoy::pg
