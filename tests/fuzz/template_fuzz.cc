// Whatever a project's attribute holds, it stays one literal: a template renders to the same sequence of quotes,
// comments and code for any value. The input is VALUE NUL TEMPLATE.
#include <string>
#include <vector>

#include "common/base/text.h"
#include "common/plan/sql_scan.h"
#include "common/plan/template.h"
#include "tests/fuzz/fuzz.h"

namespace {

using pgconvoy::fuzz::Require;
using pgconvoy::plan::SqlSpan;

// The spans of the text, with what is code as it is written.
std::vector<std::pair<SqlSpan, std::string>> ShapeOf(std::string_view sql) {
  std::vector<std::pair<SqlSpan, std::string>> shape;
  for (pgconvoy::plan::SqlScanner scanner(sql); !scanner.done();) {
    const auto piece = scanner.Next();
    shape.emplace_back(piece.span, piece.span == SqlSpan::kCode ? std::string(piece.text) : "");
  }
  return shape;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = pgconvoy::fuzz::Text(data, size);
  const std::string value(pgconvoy::fuzz::TakeUntil(text, '\0'));
  const auto hostile = pgconvoy::plan::RenderSql(text, {{"ref", value}, {"owner_id", value}});
  const auto harmless = pgconvoy::plan::RenderSql(text, {{"ref", "x"}, {"owner_id", "x"}});
  if (hostile.ok()) {
    Require(harmless.ok(), "a value decides on nothing but itself");
    Require(pgconvoy::IsUtf8(value) || *hostile == *harmless, "a value that is used is UTF-8");
    Require(ShapeOf(*hostile) == ShapeOf(*harmless), "a value stays one literal or identifier");
  }
  if (const auto name = pgconvoy::plan::RenderName(text, {{"ref", value}}); name.ok()) {
    Require(pgconvoy::plan::CheckName(*name).ok(), "a rendered name may be a name");
  }
  if (pgconvoy::plan::CheckSqlExpression(text).ok()) {
    const std::string inside = "(" + std::string(text) + ")";
    Require(ShapeOf(inside).back() == std::pair(SqlSpan::kCode, std::string(")")),
            "an expression stays in its parentheses");
  }
  return 0;
}
