// Cells of CSV (RFC 4180) that may be opened in a spreadsheet. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pgconvoy::render {

// `text` in quotes where it needs them.
std::string CsvCell(std::string_view text);

// The same for text that came from elsewhere: a ' goes in front where a spreadsheet would run it, which is where it
// begins with = + - @ or a tab and is no plain number.
std::string CsvText(std::string_view text);
bool IsFormula(std::string_view text);

// Cells that are CSV already, with commas and an end of line.
std::string CsvLine(const std::vector<std::string>& cells);

}  // namespace pgconvoy::render
