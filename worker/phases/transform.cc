#include "worker/phases/transform.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/columns.h"

namespace pgconvoy::worker {
namespace {

constexpr char kColumnType[] = R"sql(
SELECT pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
WHERE attrelid = $1::regclass AND attname = $2 AND attnum > 0 AND NOT attisdropped
)sql";

std::string Item(const std::string& field, int index, const char* part) {
  return field + "[" + std::to_string(index) + "]." + part;
}

}  // namespace

absl::Status RunStatement(pg::Connection& connection,
                          const Attempt& attempt,
                          const std::string& sql,
                          const std::string& field) {
  PGC_ASSIGN_OR_RETURN(const std::string rendered, plan::RenderSql(sql, attempt.values()));
  if (const auto done = connection.Exec(rendered); !done.ok()) {
    return Annotate(done.status(), field);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> RenderAll(const SqlTemplates& templates, const plan::Values& values) {
  std::vector<std::string> statements;
  for (const std::string& text : templates) {
    PGC_ASSIGN_OR_RETURN(std::string sql, plan::RenderSql(text, values));
    statements.push_back(std::move(sql));
  }
  return statements;
}

absl::Status RunSteps(pg::Connection& connection,
                      const Attempt& attempt,
                      const Steps& steps,
                      const std::string& field) {
  for (int i = 0; i < steps.size(); ++i) {
    PGC_RETURN_IF_ERROR(RunStatement(connection, attempt, steps[i].apply(), Item(field, i, "apply")));
  }
  return absl::OkStatus();
}

absl::Status UndoSteps(pg::Connection& connection,
                       const Attempt& attempt,
                       const Steps& steps,
                       const std::string& field) {
  for (int i = steps.size(); i-- > 0;) {
    PGC_RETURN_IF_ERROR(RunStatement(connection, attempt, steps[i].undo(), Item(field, i, "undo")));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> UpdateColumnsSql(pg::Connection& connection,
                                             const Attempt& attempt,
                                             const v1::Table& table) {
  std::string assignments;
  std::string differs;
  for (const v1::Column& column : table.columns()) {
    PGC_ASSIGN_OR_RETURN(const pg::Result type,
                         connection.Exec(kColumnType, {SplitTable(table.table()).Quoted(), column.name()}));
    if (type.rows() != 1) {
      return MakeError(Verdict::kPermanent, "PGC-SRC-COLUMN",
                       "table " + table.table() + " has no column \"" + column.name() + "\"",
                       "correct the table's columns in the plan");
    }
    PGC_ASSIGN_OR_RETURN(const std::string value, NewValueSql(column, attempt.values(), type.Text(0, 0)));
    const std::string name = Ident(column.name());
    assignments += (assignments.empty() ? "" : ", ") + name + " = " + value;
    differs += (differs.empty() ? "" : " OR ") + name + "::pg_catalog.text IS DISTINCT FROM (" + value +
               ")::pg_catalog.text";
  }
  if (assignments.empty()) {
    return "";
  }
  PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(table, attempt.values()));
  return "UPDATE " + SplitTable(table.table()).Quoted() + " SET " + assignments +
         (condition.empty() ? " WHERE (" : condition + " AND (") + differs + ")";
}

std::vector<std::string> TextsOfJson(const std::string& json) {
  const auto array = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> texts;
  for (const auto& item : array.is_array() ? array : nlohmann::json::array()) {
    if (item.is_string()) {
      texts.push_back(item.get<std::string>());
    }
  }
  return texts;
}

}  // namespace pgconvoy::worker
