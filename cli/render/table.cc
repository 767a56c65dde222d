#include "cli/render/table.h"

#include <algorithm>
#include <numeric>

#include "common/base/text.h"

namespace pgconvoy::render {
namespace {

constexpr size_t kGap = 2;
// A clipped column keeps so much.
constexpr size_t kLeastColumns = 8;

Table Shown(const Table& table, bool wide) {
  Table shown;
  std::vector<size_t> kept;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (wide || !table.columns[i].wide_only) {
      kept.push_back(i);
      shown.columns.push_back(table.columns[i]);
    }
  }
  for (const auto& row : table.rows) {
    auto& cells = shown.rows.emplace_back();
    for (size_t i : kept) {
      cells.push_back({Printable(row[i].text), row[i].tone});
    }
  }
  return shown;
}

std::vector<size_t> Widths(const Table& table) {
  std::vector<size_t> widths;
  for (const Column& column : table.columns) {
    widths.push_back(Columns(column.title));
  }
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Columns(row[i].text));
    }
  }
  return widths;
}

void Shrink(const Table& table, size_t limit, std::vector<size_t>& widths) {
  size_t total = std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1));
  for (size_t i = widths.size(); i-- > 0 && total > limit;) {
    if (!table.columns[i].shrink || widths[i] <= kLeastColumns) {
      continue;
    }
    const size_t cut = std::min(total - limit, widths[i] - kLeastColumns);
    widths[i] -= cut;
    total -= cut;
  }
}

std::string DrawRow(const Table& table,
                    const std::vector<Cell>& cells,
                    const std::vector<size_t>& widths,
                    const Style& style) {
  std::string line;
  size_t owed = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string text = Clip(cells[i].text, widths[i], style);
    const size_t pad = widths[i] - Columns(text);
    if (table.columns[i].right) {
      owed += pad;
    }
    if (!text.empty()) {
      line.append(owed, ' ');
      owed = 0;
      line += Paint(text, cells[i].tone, style);
    }
    owed += kGap + (table.columns[i].right ? 0 : pad);
  }
  return line + "\n";
}

}  // namespace

std::string Draw(const Table& table, bool wide, const Style& style) {
  const Table shown = Shown(table, wide);
  std::vector<size_t> widths = Widths(shown);
  if (style.width > 0 && !widths.empty()) {
    Shrink(shown, static_cast<size_t>(style.width), widths);
  }
  std::vector<Cell> titles;
  for (const Column& column : shown.columns) {
    titles.push_back({column.title, Tone::kTitle});
  }
  std::string text = DrawRow(shown, titles, widths, style);
  for (const auto& row : shown.rows) {
    text += DrawRow(shown, row, widths, style);
  }
  return text;
}

}  // namespace pgconvoy::render
