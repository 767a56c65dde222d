#include "common/pg/pg_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgconvoy::pg {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(PgError, TellsWhatMayBeTriedAgainFromWhatMayNot) {
  for (const char* const state : {"08006", "57P01", "57P02", "57P03", "57P05", "53300", "53100", "53400", "40001",
                                  "40P01", "55P03", "55006", "57014", "25P03", "XX000"}) {
    EXPECT_EQ(VerdictOf(FromSqlState(state, "x")), Verdict::kTransient) << state;
  }
  for (const char* const state :
       {"28P01", "28000", "42501", "3D000", "42P01", "23505", "22P02", "XX001", "XX002", "0A000", "42601"}) {
    EXPECT_EQ(VerdictOf(FromSqlState(state, "x")), Verdict::kPermanent) << state;
  }
  EXPECT_EQ(VerdictOf(FromSqlState("40003", "x")), Verdict::kInDoubt);
  EXPECT_EQ(VerdictOf(FromSqlState("08007", "x")), Verdict::kInDoubt);
}

TEST(PgError, NamesTheStateInTheCodeWhereItHasNoNameOfItsOwn) {
  EXPECT_EQ(CodeOf(FromSqlState("23505", "x")), "PGC-PG-23505");
  EXPECT_EQ(CodeOf(FromSqlState("28000", "x")), "PGC-PG-AUTH");
  EXPECT_EQ(CodeOf(FromSqlState("53100", "x")), "PGC-PG-DISK-FULL");
  EXPECT_EQ(CodeOf(FromSqlState("42501", "x")), "PGC-PG-DENIED");
  EXPECT_EQ(CodeOf(FromSqlState("3D000", "x")), "PGC-PG-NO-DATABASE");
  EXPECT_EQ(CodeOf(FromSqlState("42P01", "x")), "PGC-PG-NO-TABLE");
  EXPECT_EQ(CodeOf(FromSqlState("25006", "x")), "PGC-PG-READ-ONLY");
  EXPECT_EQ(CodeOf(FromSqlState("53300", "x")), "PGC-PG-CONNECTIONS");
  EXPECT_EQ(CodeOf(FromSqlState("XX000", "x")), "PGC-PG-INTERNAL");
}

TEST(PgError, KeepsTheStateThroughAnAnnotation) {
  EXPECT_EQ(SqlStateOf(Annotate(FromSqlState("23505", "x"), "load")), "23505");
  EXPECT_EQ(SqlStateOf(absl::OkStatus()), "");
  EXPECT_EQ(SqlStateOf(MakeError(Verdict::kTransient, "PGC-X-Y", "z")), "");
}

TEST(PgError, DropsTheValuesThatDataExceptionsQuote) {
  const auto value = FromSqlState("22P02", "invalid input syntax for type integer: \"s3cret\"");
  EXPECT_EQ(MessageOf(value), "invalid input syntax for type integer");
  EXPECT_THAT(Describe(FromSqlState("P0001", "row s3cret is bad")), Not(HasSubstr("s3cret")));
}

TEST(PgError, WritesNamesOfTenantsPrintably) {
  const auto status = FromSqlState("42P01", "relation \"a\x1b[31m\nb\" does not exist");
  EXPECT_THAT(MessageOf(status), Not(HasSubstr("\x1b")));
  EXPECT_THAT(MessageOf(status), Not(HasSubstr("\n")));
}

TEST(PgError, BoundsTheMessage) {
  EXPECT_LT(MessageOf(FromSqlState("42601", std::string(1 << 20, 'x'))).size(), 1000U);
}

TEST(ConnectFailure, ReadsTheStateOfTheLastRefusalInAnyLanguage) {
  const auto status = FromConnectFailure(
      "connection to server at \"db\" (::1), port 5432 failed: Connection refused\n"
      "\tIs the server running on that host and accepting TCP/IP connections?\n"
      "connection to server at \"db\" (127.0.0.1), port 5432 failed: "
      "FATAL:  28P01: Passwort-Authentifizierung für Benutzer »a« fehlgeschlagen\n"
      "ORT:  auth_failed, auth.c:338\n");
  EXPECT_EQ(CodeOf(status), "PGC-PG-AUTH");
  EXPECT_EQ(VerdictOf(status), Verdict::kPermanent);
  EXPECT_EQ(SqlStateOf(status), "28P01");
  EXPECT_THAT(MessageOf(status), Not(HasSubstr("ORT")));
}

TEST(ConnectFailure, GoesByTheTextWhereThereIsNoState) {
  const auto password = FromConnectFailure("FATAL:  password authentication failed for user \"a\"\n");
  EXPECT_EQ(CodeOf(password), "PGC-PG-AUTH");
  EXPECT_EQ(VerdictOf(password), Verdict::kPermanent);
  const auto refused = FromConnectFailure(
      "connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n"
      "\tIs the server running on that host and accepting TCP/IP connections?\n");
  EXPECT_EQ(CodeOf(refused), "PGC-PG-UNREACHABLE");
  EXPECT_EQ(VerdictOf(refused), Verdict::kTransient);
  EXPECT_THAT(MessageOf(refused), HasSubstr("Connection refused"));
  EXPECT_EQ(VerdictOf(FromConnectFailure("connection failed: timeout expired\n")), Verdict::kTransient);
  EXPECT_EQ(CodeOf(FromConnectFailure("SSL error: certificate verify failed\n")), "PGC-PG-TLS");
  EXPECT_EQ(VerdictOf(FromConnectFailure("SSL SYSCALL error: EOF detected\n")), Verdict::kTransient);
}

TEST(ConnectFailure, HasACodeForEveryRefusal) {
  const std::pair<const char*, const char*> table[] = {
      {"FATAL:  28000: no pg_hba.conf entry for host \"10.0.0.1\", user \"a\"\n", "PGC-PG-AUTH"},
      {"FATAL:  3D000: database \"a\" does not exist\n", "PGC-PG-NO-DATABASE"},
      {"FATAL:  55000: cannot connect to invalid database \"a\"\n", "PGC-PG-CLOSED-DATABASE"},
      {"FATAL:  53300: too many connections for role \"a\"\n", "PGC-PG-CONNECTIONS"},
      {"FATAL:  57P03: the database system is in recovery mode\n", "PGC-PG-LOST"},
      {"FATAL:  57P03: the database system is not accepting connections\n", "PGC-PG-LOST"},
      {"could not translate host name \"a\" to address: Name or service not known\n", "PGC-PG-UNREACHABLE"},
      {"invalid port number: \"70000\"\n", "PGC-PG-CONNINFO"},
  };
  for (const auto& [message, code] : table) {
    EXPECT_EQ(CodeOf(FromConnectFailure(message)), code) << message;
  }
}

TEST(ConnectFailure, NamesTheVersionWhereAPinnedSettingIsUnknown) {
  const auto status = FromConnectFailure(
      "FATAL:  42704: unrecognized configuration parameter \"client_connection_check_interval\"\n");
  EXPECT_EQ(CodeOf(status), "PGC-PG-VERSION");
}

}  // namespace
}  // namespace pgconvoy::pg
