#include "common/plan/yaml_loader.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/base/text.h"

namespace pgconvoy::plan {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using nlohmann::json;
using Kind = YamlNode::Kind;

constexpr size_t kMaxShownBytes = 40;

std::string Shown(std::string_view text) { return "\"" + Printable(text.substr(0, kMaxShownBytes)) + "\""; }

std::string Child(const std::string& path, const std::string& key) { return path.empty() ? key : path + "." + key; }

std::vector<std::string> KeysOf(const Descriptor& message) {
  std::vector<std::string> keys;
  for (int i = 0; i < message.field_count(); ++i) {
    keys.push_back(message.field(i)->name());
  }
  return keys;
}

// The names that may be written: all but the unspecified one, which is what an absent key means.
std::vector<std::string> NamesOf(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) {
      names.push_back(type.value(i)->name());
    }
  }
  return names;
}

std::string Suggest(const std::string& word, const std::vector<std::string>& allowed) {
  if (const auto near = Nearest(word, allowed)) {
    return "did you mean \"" + *near + "\"?";
  }
  return "allowed: " + Join(allowed, ", ");
}

bool IsDigits(std::string_view text) {
  return !text.empty() && text[0] != '0' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

class Loader {
 public:
  Loader(const std::string& file, ProblemList& problems, LoadedYaml& out)
      : file_(file), problems_(problems), out_(out) {}

  std::optional<json> Message(const YamlNode& node, const Descriptor& message, const std::string& path);

 private:
  std::nullopt_t Fail(
      Place place, const std::string& path, std::string_view code, std::string_view message, std::string_view remedy);
  bool Is(const YamlNode& node, Kind kind, const std::string& path, std::string_view wanted);
  std::optional<json> Field(const YamlNode& node, const FieldDescriptor& field, const std::string& path);
  std::optional<json> List(const YamlNode& node, const FieldDescriptor& field, const std::string& path);
  std::optional<json> Map(const YamlNode& node, const FieldDescriptor& value, const std::string& path);
  std::optional<json> Single(const YamlNode& node, const FieldDescriptor& field, const std::string& path);
  std::optional<json> Number(const YamlNode& node, int64_t max, const std::string& path);
  std::optional<json> Bool(const YamlNode& node, const std::string& path);
  std::optional<json> Enum(const YamlNode& node, const EnumDescriptor& type, const std::string& path);

  const std::string& file_;
  ProblemList& problems_;
  LoadedYaml& out_;
};

std::nullopt_t Loader::Fail(
    Place place, const std::string& path, std::string_view code, std::string_view message, std::string_view remedy) {
  problems_.Add(
      {file_, place.line, place.column, path, std::string(code), std::string(message), std::string(remedy), false});
  out_.reported.push_back(path);
  return std::nullopt;
}

// Never shows the value: it may be a password in the wrong place.
bool Loader::Is(const YamlNode& node, Kind kind, const std::string& path, std::string_view wanted) {
  if (node.kind == kind) {
    return true;
  }
  if (node.kind == Kind::kRefused) {
    out_.reported.push_back(path);
  } else if (node.kind == Kind::kNull) {
    Fail(node.place, path, "PGC-PLAN-NULL", "the key has no value", "give it one or remove the key");
  } else {
    Fail(node.place, path, "PGC-PLAN-TYPE", "expected " + std::string(wanted), "");
  }
  return false;
}

std::optional<json> Loader::Message(const YamlNode& node, const Descriptor& message, const std::string& path) {
  if (!Is(node, Kind::kMapping, path, "a mapping of keys to values")) {
    return std::nullopt;
  }
  json object = json::object();
  for (const YamlEntry& entry : node.entries) {
    const std::string child = Child(path, entry.key);
    const FieldDescriptor* const field = message.FindFieldByName(entry.key);
    if (field == nullptr) {
      const std::vector<std::string> keys = KeysOf(message);
      Fail(entry.place, child, "PGC-PLAN-UNKNOWN-KEY", "unknown key", Suggest(entry.key, keys));
      if (const auto near = Nearest(entry.key, keys)) {
        out_.reported.push_back(Child(path, *near));
      }
    } else if (auto value = Field(entry.value, *field, child)) {
      object[entry.key] = *std::move(value);
    }
  }
  return object;
}

std::optional<json> Loader::Field(const YamlNode& node, const FieldDescriptor& field, const std::string& path) {
  out_.places[path] = node.place;
  if (field.is_map()) {
    return Map(node, *field.message_type()->map_value(), path);
  }
  return field.is_repeated() ? List(node, field, path) : Single(node, field, path);
}

std::optional<json> Loader::List(const YamlNode& node, const FieldDescriptor& field, const std::string& path) {
  if (!Is(node, Kind::kSequence, path, "a list")) {
    return std::nullopt;
  }
  json array = json::array();
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string item = path + "[" + std::to_string(i) + "]";
    out_.places[item] = node.items[i].place;
    // A broken item leaves an empty one behind, so that the indices of the others stay those of the file.
    auto value = Single(node.items[i], field, item);
    array.push_back(value.has_value()                 ? *std::move(value)
                    : field.message_type() != nullptr ? json::object()
                                                      : json(""));
  }
  return array;
}

std::optional<json> Loader::Map(const YamlNode& node, const FieldDescriptor& value, const std::string& path) {
  if (!Is(node, Kind::kMapping, path, "a mapping of names to values")) {
    return std::nullopt;
  }
  json object = json::object();
  for (const YamlEntry& entry : node.entries) {
    const std::string child = Child(path, entry.key);
    out_.places[child] = entry.value.place;
    if (auto loaded = Single(entry.value, value, child)) {
      object[entry.key] = *std::move(loaded);
    }
  }
  return object;
}

std::optional<json> Loader::Single(const YamlNode& node, const FieldDescriptor& field, const std::string& path) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE: return Message(node, *field.message_type(), path);
    case FieldDescriptor::CPPTYPE_INT32: return Number(node, std::numeric_limits<int32_t>::max(), path);
    case FieldDescriptor::CPPTYPE_INT64: return Number(node, std::numeric_limits<int64_t>::max(), path);
    case FieldDescriptor::CPPTYPE_BOOL: return Bool(node, path);
    case FieldDescriptor::CPPTYPE_ENUM: return Enum(node, *field.enum_type(), path);
    default:  // v1.Plan has no other type than string
      return Is(node, Kind::kScalar, path, "text") ? std::optional<json>(node.text) : std::nullopt;
  }
}

std::optional<json> Loader::Number(const YamlNode& node, int64_t max, const std::string& path) {
  if (!Is(node, Kind::kScalar, path, "a number")) {
    return std::nullopt;
  }
  const std::optional<int64_t> value = ParseDecimal(node.text);
  const bool negative = node.text.starts_with('-') && IsDigits(std::string_view(node.text).substr(1));
  if (node.quoted || (!value.has_value() && !IsDigits(node.text) && !negative)) {
    return Fail(node.place, path, "PGC-PLAN-TYPE", Shown(node.text) + " is not a plain decimal number",
                "write digits only, without quotes, sign, leading zero or separators: 8");
  }
  if (!value.has_value() || *value < 1 || *value > max) {
    return Fail(node.place, path, "PGC-PLAN-RANGE",
                Shown(node.text) + " is not in the range 1.." + std::to_string(max),
                "remove the key to get the default");
  }
  return json(*value);
}

std::optional<json> Loader::Bool(const YamlNode& node, const std::string& path) {
  if (!Is(node, Kind::kScalar, path, "true or false")) {
    return std::nullopt;
  }
  if (node.quoted || (node.text != "true" && node.text != "false")) {
    return Fail(node.place, path, "PGC-PLAN-TYPE", Shown(node.text) + " is neither true nor false",
                "write true or false, in lower case and without quotes");
  }
  return json(node.text == "true");
}

std::optional<json> Loader::Enum(const YamlNode& node, const EnumDescriptor& type, const std::string& path) {
  const std::vector<std::string> names = NamesOf(type);
  if (!Is(node, Kind::kScalar, path, "one of " + Join(names, ", "))) {
    return std::nullopt;
  }
  if (std::find(names.begin(), names.end(), node.text) == names.end()) {
    return Fail(node.place, path, "PGC-PLAN-ENUM", Shown(node.text) + " is not allowed here",
                "allowed: " + Join(names, ", "));
  }
  return json(node.text);
}

bool IsInside(const std::string& inner, const std::string& outer) {
  return inner.starts_with(outer) &&
         (outer.empty() || inner.size() == outer.size() || inner[outer.size()] == '.' || inner[outer.size()] == '[');
}

}  // namespace

Place LoadedYaml::PlaceOf(std::string field) const {
  while (!field.empty()) {
    if (const auto it = places.find(field); it != places.end()) {
      return it->second;
    }
    const size_t cut = field.find_last_of(".[");
    field.resize(cut == std::string::npos ? 0 : cut);
  }
  return {};
}

bool LoadedYaml::IsReported(const std::string& field) const {
  return std::any_of(reported.begin(), reported.end(),
                     [&](const std::string& path) { return IsInside(field, path) || IsInside(path, field); });
}

LoadedYaml LoadYaml(const YamlNode& root, const Descriptor& message, const std::string& file, ProblemList& problems) {
  LoadedYaml out;
  const std::optional<json> loaded = Loader(file, problems, out).Message(root, message, "");
  out.json = loaded.value_or(json::object()).dump();
  return out;
}

}  // namespace pgconvoy::plan
