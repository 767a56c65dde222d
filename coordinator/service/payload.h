// What workers reported, as the store keeps it: proto messages as JSON.
//
// Thread safety: pure.
#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <string>

#include "absl/status/statusor.h"
#include "common/base/error.h"

namespace pgconvoy::service {

// A field that a newer version wrote is passed over. PGC-STORE-PAYLOAD.
template <typename Message>
absl::StatusOr<Message> FromJson(const std::string& json) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  Message message;
  if (!google::protobuf::util::JsonStringToMessage(json, &message, options).ok()) {
    return MakeError(Verdict::kOperator, "PGC-STORE-PAYLOAD", "the store holds a payload that cannot be read");
  }
  return message;
}

// "" when it cannot be written.
inline std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  return google::protobuf::util::MessageToJsonString(message, &json, options).ok() ? json : std::string();
}

}  // namespace pgconvoy::service
