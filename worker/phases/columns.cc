#include "worker/phases/columns.h"

#include <algorithm>
#include <map>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"

namespace pgconvoy::worker {
namespace {

constexpr char kAllColumns[] = R"sql(
SELECT DISTINCT attname FROM pg_catalog.pg_attribute
WHERE attrelid = ANY ($1::pg_catalog.regclass[]::pg_catalog.oid[]) AND attnum > 0 AND NOT attisdropped
)sql";

// The name in `column "x" does not exist` and `column t.x does not exist`.
std::string MissingColumn(std::string_view message) {
  constexpr std::string_view kBegin = "column ";
  const size_t begin = message.find(kBegin);
  if (begin == std::string_view::npos) {
    return "";
  }
  std::string name(message.substr(begin + kBegin.size()));
  name = name.substr(0, name.find(' '));
  name = name.substr(name.rfind('.') == std::string::npos ? 0 : name.rfind('.') + 1);
  std::erase(name, '"');
  return name;
}

absl::Status Unmapped(const v1::Table& table, const v1::Column& column, const pg::Result& found) {
  std::string named;
  for (int row = 0; row < std::min(found.rows(), kMaxNamedValues); ++row) {
    named += (row == 0 ? "\"" : ", \"") + Printable(found.Text(row, 0)) + "\"";
  }
  if (found.rows() > kMaxNamedValues) {
    named += " and more";
  }
  return MakeError(
      Verdict::kPermanent, "PGC-VALUE-UNMAPPED",
      table.table() + "." + column.name() + " holds " + named + ", to which the plan's `values` give no new value",
      "add it to the column's values, or say on_unmapped: KEEP");
}

}  // namespace

absl::StatusOr<std::string> ColumnHint(pg::Connection& connection,
                                       const absl::Status& status,
                                       const std::vector<std::string>& tables) {
  if (status.ok() || (pg::SqlStateOf(status) != "42703" && CodeOf(status) != "PGC-SRC-COLUMN")) {
    return "";
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result columns, connection.Exec(kAllColumns, {TextArray(tables)}));
  std::vector<std::string> names;
  for (int row = 0; row < columns.rows(); ++row) {
    names.push_back(columns.Text(row, 0));
  }
  const auto nearest = Nearest(MissingColumn(MessageOf(status)), names);
  return nearest ? "; did you mean \"" + *nearest + "\"?" : "";
}

const v1::Column* FindColumn(const v1::Table& table, const std::string& name) {
  for (const v1::Column& column : table.columns()) {
    if (column.name() == name) {
      return &column;
    }
  }
  return nullptr;
}

absl::StatusOr<std::string> ConditionSql(const v1::Table& table, const plan::Values& values) {
  if (table.where().empty()) {
    return "";
  }
  PGC_ASSIGN_OR_RETURN(const std::string where, plan::RenderSql(table.where(), values));
  return " WHERE (" + where + ")";
}

absl::StatusOr<std::string> NewValueSql(const v1::Column& column,
                                        const plan::Values& values,
                                        const std::string& type) {
  if (!column.expression().empty()) {
    PGC_ASSIGN_OR_RETURN(const std::string expression, plan::RenderSql(column.expression(), values));
    return "(" + expression + ")";
  }
  const std::string old_value = Ident(column.name()) + "::pg_catalog.text";
  std::string sql = "CASE " + old_value;
  for (const auto& [from, to] : std::map(column.values().begin(), column.values().end())) {
    sql += " WHEN " + Literal(from) + " THEN " + Literal(to);
  }
  sql += " ELSE " + old_value + " END";
  return type.empty() ? sql : "(" + sql + ")::" + type;
}

absl::Status CheckMapped(pg::Connection& connection, const v1::Table& table, const std::string& condition) {
  for (const v1::Column& column : table.columns()) {
    if (column.values().empty() || column.on_unmapped() == v1::Column::KEEP) {
      continue;
    }
    std::vector<std::string> known;
    for (const auto& [from, to] : std::map(column.values().begin(), column.values().end())) {
      known.push_back(from);
    }
    const std::string value = Ident(column.name()) + "::pg_catalog.text";
    PGC_ASSIGN_OR_RETURN(
        const pg::Result found,
        connection.Exec("SELECT DISTINCT " + value + " FROM " + SplitTable(table.table()).Quoted() +
                            (condition.empty() ? " WHERE " : condition + " AND ") + value +
                            " <> ALL ($1::pg_catalog.text[]) ORDER BY 1 LIMIT " + std::to_string(kMaxNamedValues + 1),
                        {TextArray(known)}));
    if (found.rows() > 0) {
      return Unmapped(table, column, found);
    }
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::worker
