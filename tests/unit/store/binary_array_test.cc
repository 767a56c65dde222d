#include "coordinator/store/binary_array.h"

#include <gtest/gtest.h>

#include <pqxx/pqxx>

#include "coordinator/store/session.h"
#include "tests/unit/store/store_fixture.h"

namespace pgconvoy::store {
namespace {

class BinaryArrayTest : public StoreFixture {
 protected:
  // How the server reads the array.
  std::string Read(BinaryArray array, const std::string& type) {
    pqxx::connection connection(Conninfo());
    pqxx::work tx(connection);
    tx.exec("SET TimeZone = 'UTC'");
    return tx.exec_params1("SELECT $1::" + type + "[]::text", pqxx::binarystring(std::move(array).Finish()))[0]
        .c_str();
  }
};

TEST_F(BinaryArrayTest, IsReadByTheServerAsWhatWasAdded) {
  BinaryArray numbers(Element::kInt8);
  numbers.AddInt8(-5);
  numbers.AddNull();
  numbers.AddInt8(INT64_MAX);
  EXPECT_EQ(Read(std::move(numbers), "bigint"), "{-5,NULL,9223372036854775807}");

  BinaryArray small(Element::kInt4);
  small.AddInt4(-1);
  EXPECT_EQ(Read(std::move(small), "integer"), "{-1}");

  BinaryArray flags(Element::kBool);
  flags.AddBool(true);
  flags.AddBool(false);
  EXPECT_EQ(Read(std::move(flags), "boolean"), "{t,f}");

  BinaryArray texts(Element::kText);
  texts.AddText("");
  texts.AddTextOrNull("");
  texts.AddText("a,\"b\" \\ ü");
  EXPECT_EQ(Read(std::move(texts), "text"), "{\"\",NULL,\"a,\\\"b\\\" \\\\ ü\"}");

  BinaryArray times(Element::kTimestamptz);
  times.AddTime(1'700'000'000'123);
  times.AddTimeOrNull(0);
  EXPECT_EQ(Read(std::move(times), "timestamptz"), "{\"2023-11-14 22:13:20.123+00\",NULL}");
}

TEST_F(BinaryArrayTest, CopiesRows) {
  Connection connection(Conninfo());
  pqxx::work tx(connection);
  tx.exec0("CREATE TEMP TABLE t (a bigint, b text, c timestamptz, d json); SET TimeZone = 'UTC'");
  BinaryCopy copy(4);
  copy.BeginRow();
  copy.AddInt8(7);
  copy.AddText("tab\tand \\");
  copy.AddTime(1'700'000'000'123);
  copy.AddTextOrNull(R"({"n":1})");
  copy.BeginRow();
  copy.AddInt8OrNull(0);
  copy.AddText("");
  copy.AddTimeOrNull(0);
  copy.AddTextOrNull("");
  connection.CopyIn(tx, "COPY t FROM STDIN (FORMAT binary)", std::move(copy).Finish());
  const pqxx::result rows = tx.exec("SELECT a, b, c, d FROM t ORDER BY a");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(std::string(rows[0][0].c_str()), "7");
  EXPECT_EQ(std::string(rows[0][1].c_str()), "tab\tand \\");
  EXPECT_EQ(std::string(rows[0][2].c_str()), "2023-11-14 22:13:20.123+00");
  EXPECT_EQ(std::string(rows[0][3].c_str()), R"({"n":1})");
  EXPECT_TRUE(rows[1][0].is_null() && rows[1][2].is_null() && rows[1][3].is_null());
  EXPECT_EQ(std::string(rows[1][1].c_str()), "");
}

TEST_F(BinaryArrayTest, ACopyThatTheServerRefusesFailsWithItsSqlState) {
  Connection connection(Conninfo());
  pqxx::work tx(connection);
  tx.exec0("CREATE TEMP TABLE t (a bigint CHECK (a > 0))");
  BinaryCopy copy(1);
  copy.BeginRow();
  copy.AddInt8(-1);
  try {
    connection.CopyIn(tx, "COPY t FROM STDIN (FORMAT binary)", std::move(copy).Finish());
    FAIL() << "the row was taken";
  } catch (const pqxx::sql_error& error) {
    EXPECT_EQ(error.sqlstate(), "23514");
  }
}

TEST_F(BinaryArrayTest, MayBeEmpty) { EXPECT_EQ(Read(BinaryArray(Element::kInt8), "bigint"), "{}"); }

}  // namespace
}  // namespace pgconvoy::store
