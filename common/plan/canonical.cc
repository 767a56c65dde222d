#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <map>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/crypto.h"
#include "common/plan/plan.h"

namespace pgconvoy::plan {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using nlohmann::ordered_json;

// Escaping makes JSON longer than the YAML it came from, never by so much.
constexpr size_t kMaxJsonBytes = 4 * kMaxPlanBytes;

template <typename T>
T OrDefault(T value, T fallback) {
  return value == 0 ? fallback : value;
}

ordered_json ToJson(const Message& message);

// Fields of all types that v1.Plan has; int64 as text, which is the protobuf JSON mapping.
ordered_json SingleToJson(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE: return ToJson(reflection.GetMessage(message, &field));
    case FieldDescriptor::CPPTYPE_INT32: return reflection.GetInt32(message, &field);
    case FieldDescriptor::CPPTYPE_INT64: return std::to_string(reflection.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL: return reflection.GetBool(message, &field);
    case FieldDescriptor::CPPTYPE_ENUM: return reflection.GetEnum(message, &field)->name();
    default: return reflection.GetString(message, &field);
  }
}

ordered_json MapToJson(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  std::map<std::string, ordered_json> sorted;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    sorted[entry.GetReflection()->GetString(entry, field.message_type()->map_key())] =
        SingleToJson(entry, *field.message_type()->map_value());
  }
  ordered_json object = ordered_json::object();
  for (auto& [key, value] : sorted) {
    object[key] = std::move(value);
  }
  return object;
}

// v1.Plan repeats messages and strings only.
ordered_json ListToJson(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  ordered_json array = ordered_json::array();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    array.push_back(field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE
                        ? ToJson(reflection.GetRepeatedMessage(message, &field, i))
                        : ordered_json(reflection.GetRepeatedString(message, &field, i)));
  }
  return array;
}

ordered_json ToJson(const Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  ordered_json object = ordered_json::object();
  for (const FieldDescriptor* const field : fields) {
    object[field->name()] = field->is_map()        ? MapToJson(message, *field)
                            : field->is_repeated() ? ListToJson(message, *field)
                                                   : SingleToJson(message, *field);
  }
  return object;
}

// protobuf quotes the text around a fault, which may be a secret in the wrong place.
std::string WithoutQuotedText(std::string_view message) {
  std::string out;
  bool quoted = false;
  for (const char c : message.substr(0, message.find('\n'))) {
    quoted = c == '"' ? !quoted : quoted;
    if (!quoted || c == '"') {
      out += c;
    }
  }
  return Printable(out);
}

}  // namespace

void ApplyDefaults(v1::Plan& plan) {
  for (auto& [name, server] : *plan.mutable_servers()) {
    server.set_max_projects(OrDefault(server.max_projects(), 8));
    if (server.control_database().empty()) {
      server.set_control_database("pgconvoy");
    }
  }
  if (plan.has_backup()) {
    v1::Backup& backup = *plan.mutable_backup();
    backup.set_compression_level(OrDefault(backup.compression_level(), 1));
    backup.set_chunk_bytes(OrDefault<int64_t>(backup.chunk_bytes(), 8 << 20));
    backup.set_retention_days(OrDefault(backup.retention_days(), 30));
  }
  for (v1::Check& check : *plan.mutable_checks()) {
    check.set_severity(OrDefault(check.severity(), v1::Check::ERROR));
  }
  v1::Execution& execution = *plan.mutable_execution();
  execution.set_batch_size(OrDefault(execution.batch_size(), 20));
  execution.set_batch_bytes(OrDefault<int64_t>(execution.batch_bytes(), 1 << 30));
  execution.set_max_attempts(OrDefault(execution.max_attempts(), 8));
  execution.set_initial_backoff_ms(OrDefault<int64_t>(execution.initial_backoff_ms(), 500));
  execution.set_max_backoff_ms(OrDefault<int64_t>(execution.max_backoff_ms(), 30'000));
  execution.set_on_failure(OrDefault(execution.on_failure(), v1::Execution::ROLLBACK));
  execution.set_phase_timeout_ms(OrDefault<int64_t>(execution.phase_timeout_ms(), 300'000));
  execution.set_jobs(OrDefault(execution.jobs(), 4));
}

std::string CanonicalJson(const v1::Plan& plan) {
  v1::Plan complete = plan;
  ApplyDefaults(complete);
  return ToJson(complete).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

absl::StatusOr<v1::Plan> PlanFromJson(std::string_view json) {
  if (json.size() > kMaxJsonBytes) {
    return InputError("PGC-PLAN-TOO-LARGE", "the plan is larger than 4 MiB of JSON");
  }
  v1::Plan plan;
  const auto status = google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, &plan);
  if (!status.ok()) {
    const auto message = status.message();
    return InputError("PGC-PLAN-JSON", "not a plan: " + WithoutQuotedText({message.data(), message.size()}));
  }
  return plan;
}

std::string PlanHash(const v1::Plan& plan) { return Sha256Hex(CanonicalJson(plan)); }

}  // namespace pgconvoy::plan
