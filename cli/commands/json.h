// Structured output: the protobuf JSON mapping with the proto's field names and every field present, and YAML with
// the same content. 64-bit integers are strings in JSON, as that mapping wants it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <google/protobuf/message.h>

#include "cli/commands/session.h"

namespace pgconvoy::cli {

using JsonRow = std::vector<std::pair<std::string, std::variant<std::string, int64_t, bool>>>;
// A vector of rows becomes an array of objects.
using JsonFields =
    std::vector<std::pair<std::string, std::variant<std::string, int64_t, bool, std::vector<JsonRow>>>>;

// Indented, ends with a newline.
std::string ToJson(const google::protobuf::Message& message);
std::string ToJson(const JsonFields& fields);
// On one line, ended: for streams of objects.
std::string ToJsonLine(const google::protobuf::Message& message);
std::string YamlFromJson(std::string_view json);

// `json` as the session wants it: as it is, or as YAML.
void OutStructured(const Session& session, const std::string& json);

}  // namespace pgconvoy::cli
