#include "common/plan/sql_scan.h"

#include <gtest/gtest.h>

#include <string>

namespace pgconvoy::plan {
namespace {

// "C" code, "S" string, "I" identifier, "B" blank, "U" unterminated; equal neighbours of code and blank once.
std::string Spans(std::string_view sql) {
  std::string out;
  for (SqlScanner scanner(sql); !scanner.done();) {
    const char letter = "BCSIU"[static_cast<int>(scanner.Next().span)];
    if (out.empty() || out.back() != letter || (letter != 'C' && letter != 'B')) {
      out += letter;
    }
  }
  return out;
}

TEST(SqlScanner, FindsTheEndsOfQuotesAndComments) {
  const std::pair<const char*, const char*> table[] = {
      {"", ""},
      {"a = b", "CBCBC"},
      {"'it''s' x", "SBC"},
      {"'a\\' x", "SBC"},
      {"E'a\\' b' x", "CSBC"},
      {"typE'a\\' x", "CSBC"},
      {"\"a\"\"b\".c", "IC"},
      {"a -- 'b\nc", "CBC"},
      {"a --", "CB"},
      {"/* ' /* */ \" */ x", "BC"},
      {"$$ ' $$ x", "SBC"},
      {"$tag$ $$ $tag$ x", "SBC"},
      {"$1 + a$b$c", "CBCBC"},
      {"'open", "U"},
      {"E'open\\'", "CU"},
      {"\"open", "U"},
      {"/* open /* */", "U"},
      {"$a$ open $b$", "U"},
      {"a - b / c", "CBCBCBCBC"},
  };
  for (const auto& [sql, spans] : table) {
    EXPECT_EQ(Spans(sql), spans) << sql;
  }
}

}  // namespace
}  // namespace pgconvoy::plan
