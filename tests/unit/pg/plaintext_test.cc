#include "common/pg/plaintext.h"

#include <gtest/gtest.h>

namespace pgconvoy::pg {
namespace {

TEST(ForbiddenPlaintext, IsWhatIsSaidForAServerOnAnotherMachine) {
  EXPECT_EQ(ForbiddenPlaintext("host=db1 sslmode=disable"), "disable");
  EXPECT_EQ(ForbiddenPlaintext("host=db1 sslmode=allow"), "allow");
  EXPECT_EQ(ForbiddenPlaintext("sslmode=prefer host=192.0.2.1 port=5432"), "prefer");
  EXPECT_EQ(ForbiddenPlaintext("host='db1' sslmode = 'disable'"), "disable");
  EXPECT_EQ(ForbiddenPlaintext("host=db1 sslmode=verify-full sslmode=disable"), "disable") << "libpq takes the last";
  EXPECT_EQ(ForbiddenPlaintext("postgresql://db1/x?sslmode=disable"), "disable");
}

TEST(ForbiddenPlaintext, LooksAtEveryHostAndAtTheAddressRatherThanItsName) {
  EXPECT_EQ(ForbiddenPlaintext("host=localhost,db1 sslmode=disable"), "disable");
  EXPECT_EQ(ForbiddenPlaintext("host=/run/postgresql,db1 sslmode=disable"), "disable");
  EXPECT_EQ(ForbiddenPlaintext("host=localhost hostaddr=192.0.2.1 sslmode=disable"), "disable");
  EXPECT_EQ(ForbiddenPlaintext("hostaddr=127.0.0.1,192.0.2.1 sslmode=disable"), "disable");
  EXPECT_EQ(ForbiddenPlaintext("host=localhost,db1 hostaddr=127.0.0.1, sslmode=disable"), "disable");
  EXPECT_EQ(ForbiddenPlaintext("host=db1 hostaddr=127.0.0.1 sslmode=disable"), std::nullopt);
}

TEST(ForbiddenPlaintext, IsNothingWhereNobodyElseListensOrNothingWasSaid) {
  for (const char* const conninfo :
       {"host=db1", "host=db1 sslmode=require", "host=db1 sslmode=verify-ca", "host=db1 sslmode=verify-full",
        "sslmode=disable", "host=/run/postgresql sslmode=disable", "host=@abstract sslmode=disable",
        "host=localhost sslmode=disable", "host=127.0.0.1 sslmode=allow", "host=::1 sslmode=prefer",
        "host=127.0.0.1,::1,localhost sslmode=disable", "host=db1 sslmode=disable gssencmode=require", "",
        "host='db1 sslmode=disable", "host=db1 sslmode=disable bogus=1"}) {
    EXPECT_EQ(ForbiddenPlaintext(conninfo), std::nullopt) << conninfo;
  }
}

}  // namespace
}  // namespace pgconvoy::pg
