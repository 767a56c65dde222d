// Tables of text. Columns are as wide as their widest cell; on a terminal the ones that may shrink give way until the
// table fits. Pure.
#pragma once

#include <string>
#include <vector>

#include "cli/render/text.h"

namespace pgconvoy::render {

struct Column {
  std::string title;
  // Numbers.
  bool right = false;
  // Only shown with -o wide.
  bool wide_only = false;
  // Clipped, the last such column first, when the terminal is too narrow.
  bool shrink = false;
};

struct Cell {
  // Made printable by Draw.
  std::string text;
  Tone tone = Tone::kPlain;
};

// Invariant: every row has as many cells as there are columns.
struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
};

// One line per row below a line of titles; no trailing spaces.
std::string Draw(const Table& table, bool wide, const Style& style);

}  // namespace pgconvoy::render
