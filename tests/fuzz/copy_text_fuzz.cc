// A row of COPY text becomes one JSON object with the columns in order, or is refused. The input is TYPES LF ROW, the
// types separated by blanks; json and jsonb, whose text is PostgreSQL's to vouch for, are left out.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/base/text.h"
#include "tests/fuzz/fuzz.h"
#include "worker/backup/json_row.h"
#include "worker/copy/digest.h"

namespace {

using pgconvoy::fuzz::Require;

std::vector<std::string> TypesOf(std::string_view words) {
  std::vector<std::string> types;
  while (!words.empty()) {
    std::string type(pgconvoy::fuzz::TakeUntil(words, ','));
    types.push_back(type.find("json") == std::string::npos ? type : "text");
  }
  return types;
}

// 1e999 is JSON, but more than nlohmann's numbers hold.
bool IsObjectOf(size_t members, const std::string& text) {
  try {
    const auto parsed = nlohmann::json::parse(text);
    return parsed.is_object() && parsed.size() == members;
  } catch (const nlohmann::json::out_of_range&) {
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

void CheckDigest(std::string_view row) {
  pgconvoy::RowDigest digest;
  digest.Add(row);
  const auto again = pgconvoy::RowDigest::FromParts(digest.rows(), digest.bytes(), digest.Hex());
  Require(again.has_value() && *again == digest, "a digest survives being written down");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view row = pgconvoy::fuzz::Text(data, size);
  const std::vector<std::string> types = TypesOf(pgconvoy::fuzz::TakeUntil(row, '\n'));
  CheckDigest(row);
  if (types.empty()) {
    return 0;
  }
  std::vector<std::string> columns;
  for (size_t i = 0; i < types.size(); ++i) {
    columns.push_back("c" + std::to_string(i));
  }
  std::string out;
  if (pgconvoy::backup::AppendJsonRow(columns, types, row, out).ok()) {
    Require(IsObjectOf(columns.size(), out), "a row is one JSON object with every column");
  }
  return 0;
}
