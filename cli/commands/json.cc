#include "cli/commands/json.h"

#include <set>

#include <google/protobuf/util/json_util.h>
#include <nlohmann/json.hpp>

namespace pgconvoy::cli {
namespace {

using Json = nlohmann::ordered_json;

Json ToValue(const std::vector<JsonRow>& rows);

template <typename Value>
Json ToValue(const Value& value) {
  return value;
}

template <typename Fields>
Json ToObject(const Fields& fields) {
  Json object = Json::object();
  for (const auto& [key, value] : fields) {
    object[key] = std::visit([](const auto& v) { return ToValue(v); }, value);
  }
  return object;
}

Json ToValue(const std::vector<JsonRow>& rows) {
  Json array = Json::array();
  for (const JsonRow& row : rows) {
    array.push_back(ToObject(row));
  }
  return array;
}

std::string Map(const google::protobuf::Message& message, bool indent) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = indent;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Fails only for a message with malformed well-known types, which ours cannot be.
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : "{}";
}

// Plain where no YAML reader takes the word for anything but a string.
std::string YamlKey(const std::string& key) {
  static const std::set<std::string> kWords = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
  const bool plain = key.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789") == std::string::npos;
  const bool word = !key.empty() && key[0] >= 'a' && key[0] <= 'z';
  return plain && word && !kWords.contains(key) ? key : Json(key).dump();
}

// JSON strings are valid YAML scalars, so nothing is ever read back as another type.
void WriteYaml(const Json& value, size_t depth, std::string& out) {
  if (!value.is_structured() || value.empty()) {
    out += " " + value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    return;
  }
  if (depth > 0) {
    out += "\n";
  }
  const std::string indent(depth * 2, ' ');
  for (const auto& item : value.items()) {
    out += indent + (value.is_array() ? "-" : YamlKey(item.key()) + ":");
    WriteYaml(item.value(), depth + 1, out);
  }
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) { return Map(message, true); }
std::string ToJsonLine(const google::protobuf::Message& message) { return Map(message, false) + "\n"; }

std::string ToJson(const JsonFields& fields) {
  return ToObject(fields).dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string YamlFromJson(std::string_view json) {
  std::string yaml;
  WriteYaml(Json::parse(json, nullptr, false), 0, yaml);
  return yaml;
}

void OutStructured(const Session& session, const std::string& json) {
  Out(session.format() == Format::kYaml ? YamlFromJson(json) : json);
}

}  // namespace pgconvoy::cli
