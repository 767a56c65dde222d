#include "coordinator/store/binary_array.h"

#include <gtest/gtest.h>

#include <pqxx/pqxx>

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

TEST_F(BinaryArrayTest, MayBeEmpty) { EXPECT_EQ(Read(BinaryArray(Element::kInt8), "bigint"), "{}"); }

}  // namespace
}  // namespace pgconvoy::store
