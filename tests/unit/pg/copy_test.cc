#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/pg/connection.h"
#include "common/pg/pg_error.h"
#include "tests/support/pg_cluster.h"
#include "worker/copy/digest.h"

namespace pgconvoy::pg {
namespace {

using ::pgconvoy::testing::PgCluster;

// Gives `text` in pieces of `piece_bytes`, then the end.
std::function<absl::StatusOr<std::string_view>()> InPieces(const std::string& text, size_t piece_bytes) {
  return [&text, piece_bytes, at = size_t{0}]() mutable -> absl::StatusOr<std::string_view> {
    const std::string_view piece = std::string_view(text).substr(at, piece_bytes);
    at += piece.size();
    return piece;
  };
}

class CopyTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { cluster_ = new PgCluster(); }
  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }

  void SetUp() override {
    auto connection = Connection::Open(cluster_->Superuser(), {});
    ASSERT_TRUE(connection.ok()) << Describe(connection.status());
    connection_ = *std::move(connection);
  }

  std::string ReadAll(const std::string& sql, RowDigest* digest = nullptr) {
    std::string text;
    const absl::Status status = connection_->CopyOut(sql, [&](std::string_view row) {
      EXPECT_TRUE(row.ends_with('\n'));
      text += row;
      if (digest != nullptr) {
        digest->Add(row);
      }
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << Describe(status);
    return text;
  }

  RowDigest DigestOf(const std::string& table) {
    RowDigest digest;
    ReadAll("COPY " + table + " TO STDOUT", &digest);
    return digest;
  }

  static PgCluster* cluster_;
  std::unique_ptr<Connection> connection_;
};

PgCluster* CopyTest::cluster_ = nullptr;

constexpr char kAwkwardTable[] =
    "CREATE TEMP TABLE awkward (id int, t text, b bytea, a text[], n numeric, d date, ts timestamptz, f float8,"
    " i interval, j json, r int4range);"
    "INSERT INTO awkward VALUES"
    " (1, E'line\\nfeed\\ttab\\rreturn', '\\x00ff5c0a', ARRAY['a,b', NULL, '{\"\\\\'], 1.50, 'infinity', '-infinity',"
    "  'NaN', '1 year 2 months -3 days 04:05:06.789', '{\"b\": 1,  \"a\": 2}', '[1,5)'),"
    " (2, '\\N', '', '{}', 'NaN', '0044-03-15 BC', '2024-02-29 23:59:59.999999+14', '-0', '-178000000 years', 'null',"
    "  'empty'),"
    " (3, '\\.', NULL, NULL, 123456789012345678901234567890.000, NULL, NULL, 5e-324, NULL, NULL, '(,)'),"
    " (4, '', '\\x', '[2:3]={x,y}', 0.00, '5874897-12-31', '1970-01-01 00:00:00+00', 'Infinity', '0', '[]', NULL),"
    " (5, NULL, NULL, NULL, NULL, NULL, NULL, 0.1, NULL, NULL, NULL),"
    " (6, E'h\\u00e9\\U0001F600 \\\\ \"q\" ''s''', NULL, NULL, -0.000001, NULL, NULL, 1e308, NULL, NULL, NULL)";

TEST_F(CopyTest, CarriesAwkwardValuesAndProvesIt) {
  ASSERT_EQ(connection_->ExecScript(kAwkwardTable), absl::OkStatus());
  const std::string text = ReadAll("COPY awkward TO STDOUT");
  ASSERT_TRUE(connection_->ExecScript("CREATE TEMP TABLE loaded (LIKE awkward)").ok());
  const auto rows = connection_->CopyIn("COPY loaded FROM STDIN", InPieces(text, 7));
  ASSERT_TRUE(rows.ok()) << Describe(rows.status());
  EXPECT_EQ(*rows, 6);
  EXPECT_EQ(DigestOf("loaded"), DigestOf("awkward"));
  EXPECT_EQ(DigestOf("loaded").rows(), 6);
  EXPECT_EQ(DigestOf("loaded").bytes(), static_cast<int64_t>(text.size()));
}

TEST_F(CopyTest, SeesASwapThatKeepsCountAndValues) {
  ASSERT_EQ(connection_->ExecScript(kAwkwardTable), absl::OkStatus());
  const RowDigest before = DigestOf("awkward");
  ASSERT_TRUE(connection_
                  ->ExecScript("UPDATE awkward SET f = CASE id WHEN 5 THEN 1e308 ELSE 0.1 END"
                               " WHERE id IN (5, 6)")
                  .ok());
  EXPECT_EQ(DigestOf("awkward").rows(), before.rows());
  EXPECT_NE(DigestOf("awkward").Hex(), before.Hex());
}

TEST_F(CopyTest, GivesOneDigestWhateverTheOrderOfRows) {
  ASSERT_EQ(connection_->ExecScript(kAwkwardTable), absl::OkStatus());
  RowDigest up;
  RowDigest down;
  const std::string ascending = ReadAll("COPY (SELECT * FROM awkward ORDER BY id) TO STDOUT", &up);
  const std::string descending = ReadAll("COPY (SELECT * FROM awkward ORDER BY id DESC) TO STDOUT", &down);
  EXPECT_NE(ascending, descending);
  EXPECT_EQ(up, down);
}

TEST_F(CopyTest, LoadsTheSameWhateverTheSizeOfThePieces) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) {
    text += std::to_string(i) + "\tvalue " + std::to_string(i * 7919) + "\n";
  }
  std::vector<std::string> digests;
  for (const size_t piece : {size_t{1000}, size_t{64 << 10}, size_t{(64 << 10) + 1}, text.size()}) {
    ASSERT_TRUE(connection_->ExecScript("DROP TABLE IF EXISTS p; CREATE TEMP TABLE p (n int, v text)").ok());
    const auto rows = connection_->CopyIn("COPY p FROM STDIN", InPieces(text, piece));
    ASSERT_TRUE(rows.ok()) << Describe(rows.status());
    EXPECT_EQ(*rows, 20'000);
    digests.push_back(DigestOf("p").Hex());
  }
  EXPECT_EQ(std::vector<std::string>(4, digests[0]), digests);
}

TEST_F(CopyTest, LoadsNothingFromAnEmptySource) {
  ASSERT_TRUE(connection_->ExecScript("CREATE TEMP TABLE p (n int)").ok());
  const auto rows = connection_->CopyIn("COPY p FROM STDIN", InPieces("", 10));
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(*rows, 0);
}

TEST_F(CopyTest, LeavesTheSessionUsableWhenTheSinkFails) {
  int rows = 0;
  const auto status =
      connection_->CopyOut("COPY (SELECT generate_series(1, 10000000)) TO STDOUT", [&](std::string_view) {
        return ++rows < 3 ? absl::OkStatus() : MakeError(Verdict::kPermanent, "PGC-T-SINK", "full");
      });
  EXPECT_EQ(CodeOf(status), "PGC-T-SINK");
  EXPECT_EQ(rows, 3);
  EXPECT_FALSE(connection_->broken());
  EXPECT_EQ(connection_->Exec("SELECT 7")->Int(0, 0), 7);
}

TEST_F(CopyTest, LoadsNothingWhenTheSourceFails) {
  ASSERT_TRUE(connection_->ExecScript("CREATE TEMP TABLE p (n int)").ok());
  bool first = true;
  const auto rows = connection_->CopyIn("COPY p FROM STDIN", [&]() -> absl::StatusOr<std::string_view> {
    if (std::exchange(first, false)) {
      return "1\n2\n";
    }
    return MakeError(Verdict::kPermanent, "PGC-T-SOURCE", "damaged");
  });
  EXPECT_EQ(CodeOf(rows.status()), "PGC-T-SOURCE");
  EXPECT_EQ(connection_->Exec("SELECT count(*) FROM p")->Int(0, 0), 0);
}

TEST_F(CopyTest, ReportsWhatTheServerRefusedOfALongLoad) {
  ASSERT_TRUE(connection_->ExecScript("CREATE TEMP TABLE p (n int PRIMARY KEY)").ok());
  std::string text = "1\n1\n";
  for (int i = 2; i < 500'000; ++i) {
    text += std::to_string(i) + "\n";
  }
  const auto rows = connection_->CopyIn("COPY p FROM STDIN", InPieces(text, 1 << 20));
  EXPECT_EQ(SqlStateOf(rows.status()), "23505");
  EXPECT_EQ(connection_->Exec("SELECT count(*) FROM p")->Int(0, 0), 0);
}

TEST_F(CopyTest, KeepsTheRowThatCouldNotBeReadOutOfTheError) {
  ASSERT_TRUE(connection_->ExecScript("CREATE TEMP TABLE p (n int)").ok());
  const auto rows = connection_->CopyIn("COPY p FROM STDIN", InPieces("s3cret\n", 100));
  EXPECT_EQ(SqlStateOf(rows.status()), "22P02");
  EXPECT_EQ(Describe(rows.status()).find("s3cret"), std::string::npos);
}

TEST_F(CopyTest, ReportsASourceThatLosesItsServerMidway) {
  const std::string terminate =
      "SELECT pg_terminate_backend(" + std::to_string(connection_->backend_pid()) + ", 5000)";
  int rows = 0;
  const auto status = connection_->CopyOut(
      "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT", [&](std::string_view) {
        if (++rows == 10) {
          cluster_->Exec("postgres", terminate);
        }
        return absl::OkStatus();
      });
  EXPECT_EQ(VerdictOf(status), Verdict::kTransient) << Describe(status);
  EXPECT_LT(rows, 1'000'000);
  EXPECT_TRUE(connection_->broken());
}

TEST_F(CopyTest, RefusesAStatementThatIsNoCopyOfItsDirection) {
  const auto sink = [](std::string_view) { return absl::OkStatus(); };
  EXPECT_EQ(CodeOf(connection_->CopyOut("SELECT 1", sink)), "PGC-PG-NOT-COPY");
  ASSERT_TRUE(connection_->ExecScript("CREATE TEMP TABLE p (n int)").ok());
  EXPECT_EQ(CodeOf(connection_->CopyOut("COPY p FROM STDIN", sink)), "PGC-PG-NOT-COPY");
  EXPECT_EQ(CodeOf(connection_->CopyIn("COPY p TO STDOUT", InPieces("", 1)).status()), "PGC-PG-NOT-COPY");
  EXPECT_EQ(CodeOf(connection_->CopyOut("COPY absent TO STDOUT", sink)), "PGC-PG-NO-TABLE");
  EXPECT_TRUE(connection_->Exec("SELECT 1").ok());
}

}  // namespace
}  // namespace pgconvoy::pg
