#include "worker/phases/registry.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "worker/core/sql.h"

namespace pgconvoy::worker {
namespace {

constexpr char kFindCutover[] = R"sql(
SELECT fence, credentials_fence, before, after FROM pgconvoy.cutover
WHERE store_id = $1 AND project = $2 AND migration = $3 AND undone_fence IS NULL
ORDER BY fence DESC LIMIT 1
)sql";

std::string RegistryTable(const Attempt& attempt) { return SplitTable(attempt.plan().registry().table()).Quoted(); }

// An empty map with the columns of cutover.set.
RegistryValues SetColumns(const Attempt& attempt) {
  RegistryValues columns;
  for (const auto& [column, value] : attempt.plan().cutover().set()) {
    columns[column] = std::nullopt;
  }
  return columns;
}

// A list of the columns as text, after a first one that is never missing.
std::string AsText(const RegistryValues& columns) {
  std::string list = "1";
  for (const auto& [column, unused] : columns) {
    list += ", " + Ident(column) + "::pg_catalog.text";
  }
  return list;
}

// The only row of a query of AsText(columns).
RegistryValues ValuesOf(const pg::Result& row, RegistryValues columns) {
  int index = 1;
  for (auto& [column, value] : columns) {
    const auto text = row.Get(0, index++);
    value = text ? std::optional<std::string>(*text) : std::nullopt;
  }
  return columns;
}

}  // namespace

absl::StatusOr<RegistryValues> NewRegistryValues(const Attempt& attempt, const std::string& verifier) {
  plan::Values values = attempt.values();
  values["verifier"] = verifier;
  RegistryValues rendered;
  for (const auto& [column, value] : attempt.plan().cutover().set()) {
    PGC_ASSIGN_OR_RETURN(rendered[column], plan::RenderText(value, values));
  }
  return rendered;
}

absl::StatusOr<RegistryValues> ReadRegistryRow(pg::Connection& registrar, const Attempt& attempt, bool lock) {
  const RegistryValues columns = SetColumns(attempt);
  PGC_ASSIGN_OR_RETURN(
      const pg::Result row,
      registrar.Exec("SELECT " + AsText(columns) + " FROM " + RegistryTable(attempt) + " WHERE " +
                         Ident(attempt.plan().registry().ref_column()) + " = $1" + (lock ? " FOR UPDATE" : ""),
                     {attempt.grant().ref}));
  if (row.rows() != 1) {
    return MakeError(Verdict::kPermanent, "PGC-REGISTRY-ROW",
                     "the registry has " + std::to_string(row.rows()) + " rows for project " + attempt.grant().ref,
                     "it must have exactly one; correct the list of projects or the registry");
  }
  return ValuesOf(row, columns);
}

absl::StatusOr<std::optional<RegistryValues>> SwitchRegistryRow(pg::Connection& registrar,
                                                                const Attempt& attempt,
                                                                const RegistryValues& from,
                                                                const RegistryValues& to) {
  if (to.empty()) {
    return std::optional(to);
  }
  std::vector<pg::Param> params = {attempt.grant().ref};
  const auto bind = [&params](const std::optional<std::string>& value) {
    params.push_back(value);
    return "$" + std::to_string(params.size());
  };
  std::string assignments;
  for (const auto& [column, value] : to) {
    assignments += (assignments.empty() ? "" : ", ") + Ident(column) + " = " + bind(value);
  }
  std::string conditions;
  for (const auto& [column, value] : from) {
    conditions += " AND " + Ident(column) + "::pg_catalog.text IS NOT DISTINCT FROM " + bind(value);
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result updated,
                       registrar.Exec("UPDATE " + RegistryTable(attempt) + " SET " + assignments + " WHERE " +
                                          Ident(attempt.plan().registry().ref_column()) + " = $1" + conditions +
                                          " RETURNING " + AsText(to),
                                      params));
  return updated.rows() == 1 ? std::optional(ValuesOf(updated, to)) : std::nullopt;
}

std::string ToJson(const RegistryValues& values) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [column, value] : values) {
    if (value.has_value()) {
      object[column] = *value;
    }
  }
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<RegistryValues> FromJson(const std::string& json, const RegistryValues& columns) {
  const auto object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return MakeError(Verdict::kOperator, "PGC-CUTOVER-RECORD", "the cutover record in the registry is damaged");
  }
  RegistryValues values = columns;
  for (auto& [column, value] : values) {
    const auto it = object.find(column);
    value = it != object.end() && it->is_string() ? std::optional<std::string>(it->get<std::string>()) : std::nullopt;
  }
  return values;
}

absl::StatusOr<std::optional<CutoverRecord>> FindCutover(pg::Connection& registrar, const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(
      const pg::Result found,
      registrar.Exec(kFindCutover, {attempt.grant().store_id, attempt.grant().ref, attempt.made_by()}));
  if (found.rows() == 0) {
    return std::optional<CutoverRecord>();
  }
  const RegistryValues columns = SetColumns(attempt);
  CutoverRecord record;
  record.fence = found.Int(0, 0);
  record.credentials_fence = found.Int(0, 1);
  PGC_ASSIGN_OR_RETURN(record.before, FromJson(found.Text(0, 2), columns));
  PGC_ASSIGN_OR_RETURN(record.after, FromJson(found.Text(0, 3), columns));
  return std::optional<CutoverRecord>(std::move(record));
}

}  // namespace pgconvoy::worker
