#include "worker/core/toc.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

// As pg_restore -l of PostgreSQL 15 printed it.
constexpr char kListing[] = R"(;
; Archive created at 2026-02-01 10:00:00 UTC
;     TOC Entries: 36
;
; Selected TOC Entries:
;
6; 2615 16385 SCHEMA - auth postgres
857; 1247 16420 TYPE auth e postgres
224; 1255 16388 FUNCTION auth f() postgres
217; 1259 16390 TABLE auth users postgres
223; 1259 16436 TABLE we ird my TRIGGER postgres
222; 1259 16435 SEQUENCE we ird my TRIGGER_id_seq postgres
3229; 0 0 TABLE ATTACH auth part1 postgres
3232; 2606 16399 CONSTRAINT auth users users_b_key postgres
3386; 2618 16418 RULE auth t2 r postgres
3240; 2620 16408 TRIGGER auth users a_own postgres
3396; 0 0 COMMENT auth TRIGGER a_own ON users postgres
3241; 2620 16409 TRIGGER auth users b_other postgres
3397; 0 0 COMMENT auth TRIGGER b_other ON users postgres
3242; 2620 16410 TRIGGER auth users c We"ird postgres
3398; 0 0 COMMENT auth TRIGGER "c We""ird" ON users postgres
3239; 2606 16403 FK CONSTRAINT auth t2 t2_id_fkey postgres
3399; 0 0 COMMENT auth CONSTRAINT t2_id_fkey ON t2 postgres
3388; 3256 16411 POLICY auth users p postgres
3400; 0 0 COMMENT auth POLICY p ON users postgres
3387; 0 16390 ROW SECURITY auth users postgres
)";

std::vector<TocEntry> Parsed(std::string_view listing) {
  auto entries = ParseToc(listing);
  EXPECT_TRUE(entries.ok()) << Describe(entries.status());
  return entries.ok() ? *std::move(entries) : std::vector<TocEntry>();
}

TEST(ParseToc, ReadsEntriesAndSkipsTheHeading) {
  const std::vector<TocEntry> entries = Parsed(kListing);
  ASSERT_EQ(entries.size(), 20u);
  EXPECT_EQ(entries[3].dump_id, 217);
  EXPECT_EQ(entries[3].catalog_oid, 1259);
  EXPECT_EQ(entries[3].object_oid, 16390);
  EXPECT_EQ(entries[3].type, "TABLE");
  EXPECT_EQ(entries[3].line, "217; 1259 16390 TABLE auth users postgres");
}

TEST(ParseToc, TakesTheLongestTypeThatFits) {
  const std::vector<TocEntry> entries = Parsed(
      "1; 0 0 TABLE ATTACH auth part1 postgres\n"
      "2; 0 0 SEQUENCE OWNED BY auth s postgres\n"
      "3; 2606 9 FK CONSTRAINT auth t f postgres\n"
      "4; 0 0 DEFAULT ACL auth DEFAULT PRIVILEGES FOR TABLES postgres\n");
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0].type, "TABLE ATTACH");
  EXPECT_EQ(entries[1].type, "SEQUENCE OWNED BY");
  EXPECT_EQ(entries[2].type, "FK CONSTRAINT");
  EXPECT_EQ(entries[3].type, "DEFAULT ACL");
}

TEST(ParseToc, TakesALastLineWithoutItsEnd) { EXPECT_EQ(Parsed("1; 0 0 TABLE auth users postgres").size(), 1u); }

TEST(ParseToc, RefusesWhatItDoesNotKnowInsteadOfLosingIt) {
  for (const char* line :
       {"1; 2328 16500 FOREIGN TABLE auth remote postgres", "1; 3466 16501 EVENT TRIGGER - et postgres",
        "1; 6104 16502 PUBLICATION - p postgres", "1; 0 0 TABLESPACE x", "1; 0 0 TABLES auth users postgres",
        "1; 0 0 table auth users postgres", "1 0 0 TABLE auth users postgres", "x; 0 0 TABLE auth users postgres",
        "1; 0 TABLE auth users postgres", "1; 0 0", "1; ", "TABLE"}) {
    const auto entries = ParseToc(std::string("2; 0 0 TABLE auth t postgres\n") + line + "\n");
    EXPECT_EQ(CodeOf(entries.status()), "PGC-SCHEMA-TOC") << line;
    EXPECT_FALSE(RemedyOf(entries.status()).empty()) << line;
  }
}

TEST(ParseToc, ShowsAnUnknownEntryWithoutItsControlCharacters) {
  const auto entries = ParseToc("1; 0 0 SUBSCRIPTION \x1b[2J postgres\n");
  EXPECT_EQ(MessageOf(entries.status()).find('\x1b'), std::string::npos);
}

TEST(Split, LeavesForTheEndWhatWouldDisturbTheLoadOrTheVerification) {
  const SplitToc split = Split(Parsed(kListing), {});
  EXPECT_EQ(split.laid_first, R"(6; 2615 16385 SCHEMA - auth postgres
857; 1247 16420 TYPE auth e postgres
224; 1255 16388 FUNCTION auth f() postgres
217; 1259 16390 TABLE auth users postgres
223; 1259 16436 TABLE we ird my TRIGGER postgres
222; 1259 16435 SEQUENCE we ird my TRIGGER_id_seq postgres
3229; 0 0 TABLE ATTACH auth part1 postgres
3232; 2606 16399 CONSTRAINT auth users users_b_key postgres
3386; 2618 16418 RULE auth t2 r postgres
)");
  EXPECT_EQ(split.added_last, R"(3240; 2620 16408 TRIGGER auth users a_own postgres
3396; 0 0 COMMENT auth TRIGGER a_own ON users postgres
3241; 2620 16409 TRIGGER auth users b_other postgres
3397; 0 0 COMMENT auth TRIGGER b_other ON users postgres
3242; 2620 16410 TRIGGER auth users c We"ird postgres
3398; 0 0 COMMENT auth TRIGGER "c We""ird" ON users postgres
3399; 0 0 COMMENT auth CONSTRAINT t2_id_fkey ON t2 postgres
3388; 3256 16411 POLICY auth users p postgres
3400; 0 0 COMMENT auth POLICY p ON users postgres
3387; 0 16390 ROW SECURITY auth users postgres
)");
}

TEST(Split, LeavesForTheEndAConstraintThatOldRowsMayBreak) {
  const SplitToc split = Split(Parsed("1; 2606 9 CHECK CONSTRAINT auth users not_valid postgres\n"), {});
  EXPECT_EQ(split.laid_first, "");
  EXPECT_EQ(split.added_last, "1; 2606 9 CHECK CONSTRAINT auth users not_valid postgres\n");
}

TEST(Split, LeavesOutSkippedTriggersWithTheirComments) {
  const SplitToc split = Split(Parsed(kListing), {16409, 16410});
  EXPECT_EQ(split.added_last, R"(3240; 2620 16408 TRIGGER auth users a_own postgres
3396; 0 0 COMMENT auth TRIGGER a_own ON users postgres
3399; 0 0 COMMENT auth CONSTRAINT t2_id_fkey ON t2 postgres
3388; 3256 16411 POLICY auth users p postgres
3400; 0 0 COMMENT auth POLICY p ON users postgres
3387; 0 16390 ROW SECURITY auth users postgres
)");
}

TEST(Split, SkipsNothingButATriggerForATriggersOid) {
  const SplitToc split = Split(Parsed("1; 1259 16409 TABLE auth users postgres\n"), {16409});
  EXPECT_EQ(split.laid_first, "1; 1259 16409 TABLE auth users postgres\n");
}

TEST(BodyOfScript, BeginsAtTheFirstObjectAndHoldsNoPsqlCommands) {
  const std::string body = BodyOfScript(R"(--
-- PostgreSQL database dump
--

\restrict key1

SET row_security = off;

--
-- Name: auth; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA auth;

--
-- PostgreSQL database dump complete
--

\unrestrict key1

)",
                                        "key1");
  EXPECT_EQ(body, R"(--
-- Name: auth; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA auth;

--
-- PostgreSQL database dump complete
--


)");
}

TEST(BodyOfScript, IsEmptyWithoutObjects) {
  EXPECT_EQ(BodyOfScript("\\restrict k\n\nSET row_security = off;\n\n\\unrestrict k\n", "k"), "");
}

}  // namespace
}  // namespace pgconvoy::worker
