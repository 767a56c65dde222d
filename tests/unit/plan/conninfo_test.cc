#include "common/plan/conninfo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace pgconvoy::plan {
namespace {

TEST(CheckConninfo, TakesWhatSaysWhereTheServerIs) {
  for (const char* const conninfo :
       {"host=db1", "host=db1 port=5432", " host = db1\n port = 5432 ", "host='a b' sslmode=verify-full",
        "host=a\\ b", "host='it\\'s'", "host=/run/postgresql",
        "host=a,b port=5432,5433 target_session_attrs=read-write", "host=''"}) {
    EXPECT_TRUE(CheckConninfo(conninfo).ok()) << conninfo << ": " << Describe(CheckConninfo(conninfo));
  }
}

TEST(CheckConninfo, RefusesEverythingElse) {
  for (const char* const conninfo : {"",
                                     "  ",
                                     "db1",
                                     "host",
                                     "host=db1 db2",
                                     "host=db1 user=x",
                                     "host=db1 password=x",
                                     "host=db1 dbname=x",
                                     "host=db1 options=-cx",
                                     "host=db1 passfile=/x",
                                     "service=x",
                                     "host=db1 sslpassword=x",
                                     "host=db1 application_name=x",
                                     "host=db1 replication=true",
                                     "host=db1 client_encoding=x",
                                     "host=db1 prot=1",
                                     "host='db1",
                                     "host=db1 port=0",
                                     "host=db1 port=65536",
                                     "host=db1 port=",
                                     "host=db1 port=5432,",
                                     "host=db1 port='5432 '",
                                     "host=db1 port=x",
                                     "host=db1 sslmode=maybe",
                                     "postgres://db1",
                                     "postgresql://u:p@db1/x",
                                     "HOST=db1",
                                     "=x"}) {
    EXPECT_EQ(CodeOf(CheckConninfo(conninfo)), "PGC-PLAN-CONNINFO") << conninfo;
  }
}

TEST(CheckConninfo, RefusesWhatLibpqWouldNotSeeToTheEnd) {
  EXPECT_EQ(CodeOf(CheckConninfo(std::string_view("host=db1\0port=1", 15))), "PGC-PLAN-CONNINFO");
}

TEST(CheckConninfo, NamesTheKeywordAndNeverTheValue) {
  const std::string text = Describe(CheckConninfo("host=db1 password=hunter2"));
  EXPECT_THAT(text, ::testing::HasSubstr("password"));
  EXPECT_THAT(text, ::testing::Not(::testing::HasSubstr("hunter2")));
  EXPECT_THAT(Describe(CheckConninfo("hostt=db1")), ::testing::HasSubstr("did you mean host?"));
}

}  // namespace
}  // namespace pgconvoy::plan
