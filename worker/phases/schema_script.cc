#include "worker/phases/schema_script.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

constexpr std::string_view kFirstLine = "-- pgconvoy schema ";
constexpr std::string_view kPrelude = "\nSET search_path = '';\nSET check_function_bodies = off;\n";
constexpr std::string_view kBetween = "\n-- The rows come here.\n";

absl::Status Malformed() {
  return MakeError(Verdict::kPermanent, "PGC-BACKUP-SCHEMA", "schema.sql is not as a backup writes it");
}

bool Take(std::string_view& text, std::string_view prefix) {
  const bool there = text.starts_with(prefix);
  text.remove_prefix(there ? prefix.size() : 0);
  return there;
}

nlohmann::json ToJson(const ForeignKey& key) {
  return {{"table", key.table},           {"referenced", key.referenced}, {"name", key.name},
          {"definition", key.definition}, {"validated", key.validated},   {"partitioned", key.partitioned},
          {"applies", key.applies},       {"matches", key.matches}};
}

ForeignKey ToForeignKey(const nlohmann::json& json) {
  ForeignKey key;
  json.at("table").get_to(key.table);
  json.at("referenced").get_to(key.referenced);
  json.at("name").get_to(key.name);
  json.at("definition").get_to(key.definition);
  json.at("validated").get_to(key.validated);
  json.at("partitioned").get_to(key.partitioned);
  json.at("applies").get_to(key.applies);
  json.at("matches").get_to(key.matches);
  return key;
}

std::string ForeignKeysSql(const SourceSchema& schema) {
  std::string sql;
  for (const ForeignKey& key : schema.foreign_keys) {
    sql += AddConstraintSql(key, /*not_valid=*/false) + ";\n";
  }
  return sql;
}

absl::Status ReadHead(const nlohmann::json& head, SourceSchema& schema, size_t& template_bytes) {
  try {
    head.at("encoding").get_to(schema.encoding);
    head.at("collate").get_to(schema.collate);
    head.at("ctype").get_to(schema.ctype);
    head.at("forced_tables").get_to(schema.forced_tables);
    head.at("objects").get_to(schema.objects);
    head.at("template_bytes").get_to(template_bytes);
    head.at("schemas").get_to(schema.schemas);
    head.at("settings").get_to(schema.settings);
    for (const nlohmann::json& key : head.at("foreign_keys")) {
      schema.foreign_keys.push_back(ToForeignKey(key));
    }
  } catch (const nlohmann::json::exception&) {
    return Malformed();
  }
  return absl::OkStatus();
}

}  // namespace

std::string ToScript(const SourceSchema& schema) {
  nlohmann::json keys = nlohmann::json::array();
  for (const ForeignKey& key : schema.foreign_keys) {
    keys.push_back(ToJson(key));
  }
  const nlohmann::json head = {{"encoding", schema.encoding}, {"collate", schema.collate},
                               {"ctype", schema.ctype},       {"forced_tables", schema.forced_tables},
                               {"objects", schema.objects},   {"template_bytes", schema.template_sql.size()},
                               {"schemas", schema.schemas},   {"settings", schema.settings},
                               {"foreign_keys", keys}};
  std::string script(kFirstLine);
  script += head.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  script += kPrelude;
  script += schema.template_sql;
  script += kBetween;
  script += ForeignKeysSql(schema);
  return script + schema.finish_sql;
}

absl::StatusOr<SourceSchema> FromScript(std::string_view script) {
  const size_t end = script.find('\n');
  if (end == std::string_view::npos || !Take(script, kFirstLine)) {
    return Malformed();
  }
  const size_t head_bytes = end - kFirstLine.size();
  SourceSchema schema;
  size_t template_bytes = 0;
  PGC_RETURN_IF_ERROR(
      ReadHead(nlohmann::json::parse(script.substr(0, head_bytes), nullptr, /*allow_exceptions=*/false), schema,
               template_bytes));
  script.remove_prefix(head_bytes);
  if (!Take(script, kPrelude) || script.size() < template_bytes) {
    return Malformed();
  }
  schema.template_sql = script.substr(0, template_bytes);
  script.remove_prefix(template_bytes);
  if (!Take(script, kBetween)) {
    return Malformed();
  }
  if (!Take(script, ForeignKeysSql(schema))) {
    return Malformed();
  }
  schema.finish_sql = script;
  return schema;
}

}  // namespace pgconvoy::worker
