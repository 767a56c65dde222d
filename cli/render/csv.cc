#include "cli/render/csv.h"

namespace pgconvoy::render {
namespace {

// -12, +3.5: a spreadsheet shows what is there.
bool IsNumber(std::string_view text) {
  const std::string_view digits = text.substr(1);
  return !digits.empty() && digits.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

bool IsFormula(std::string_view text) {
  if (text.empty() || std::string_view("=+-@\t\r\n").find(text[0]) == std::string_view::npos) {
    return false;
  }
  return !((text[0] == '-' || text[0] == '+') && IsNumber(text));
}

std::string CsvCell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    return std::string(text);
  }
  std::string cell = "\"";
  for (const char c : text) {
    cell += c;
    if (c == '"') {
      cell += c;
    }
  }
  return cell + "\"";
}

std::string CsvText(std::string_view text) {
  return IsFormula(text) ? CsvCell("'" + std::string(text)) : CsvCell(text);
}

std::string CsvLine(const std::vector<std::string>& cells) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    line += (i == 0 ? "" : ",") + cells[i];
  }
  return line + "\n";
}

}  // namespace pgconvoy::render
