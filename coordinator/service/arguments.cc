#include "coordinator/service/arguments.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "common/plan/server_choice.h"
#include "coordinator/core/phase_table.h"

namespace pgconvoy::service {
namespace {

bool IsAttributeName(const std::string& name) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && name.size() <= kMaxNameBytes && name[0] >= 'a' && name[0] <= 'z' &&
         std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace

absl::Status Bad(const std::string& field, const std::string& what) {
  return InputError("PGC-API-ARGUMENT", field + ": " + what);
}

absl::Status CheckText(const std::string& field, const std::string& text, size_t limit) {
  if (text.size() > limit) {
    return Bad(field, "is longer than " + std::to_string(limit) + " bytes");
  }
  return IsUtf8(text) ? absl::OkStatus() : Bad(field, "is not UTF-8 without NUL");
}

absl::Status CheckName(const std::string& field, const std::string& text) {
  if (text.empty()) {
    return Bad(field, "is empty");
  }
  if (Printable(text) != text) {
    return Bad(field, "holds control characters");
  }
  return CheckText(field, text, kMaxNameBytes);
}

absl::StatusOr<MigrationId> ToMigrationId(const std::string& text) {
  const auto id = ParseDecimal(text);
  if (!id.has_value() || *id <= 0) {
    return Bad("migration id", "is not a positive decimal number");
  }
  return MigrationId{*id};
}

absl::StatusOr<store::PageRequest> ToPage(int32_t page_size, const std::string& page_token) {
  if (page_size < 0) {
    return Bad("page_size", "is negative");
  }
  store::PageRequest page;
  page.size = page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
  page.token = page_token;
  return page;
}

absl::StatusOr<std::vector<ProjectState>> ToStates(const google::protobuf::RepeatedField<int>& states) {
  std::set<ProjectState> chosen;
  for (const int state : states) {
    if (state < v1::PENDING || state > v1::NEEDS_OPERATOR) {
      return Bad("states", "holds a number that is not a state");
    }
    chosen.insert(static_cast<ProjectState>(state));
  }
  return std::vector<ProjectState>(chosen.begin(), chosen.end());
}

absl::Status CheckRef(const std::string& ref, bool optional) {
  if ((ref.empty() && optional) || IsValidRef(ref)) {
    return absl::OkStatus();
  }
  return InputError("PGC-API-REF", "project ref \"" + Printable(ref.substr(0, kMaxNameBytes)) + "\" is not valid",
                    "a ref is [a-z0-9][a-z0-9_-]{0,39}");
}

absl::StatusOr<std::string> ToActor(const std::string& name) {
  if (name.empty()) {
    return "unknown";
  }
  PGC_RETURN_IF_ERROR(CheckName("actor", name));
  return name;
}

absl::StatusOr<core::Command> ToCommand(core::CommandKind kind,
                                        const std::string& migration_id,
                                        const std::string& ref,
                                        const std::string& actor,
                                        const std::string& reason) {
  core::Command command;
  command.kind = kind;
  PGC_ASSIGN_OR_RETURN(command.migration, ToMigrationId(migration_id));
  PGC_RETURN_IF_ERROR(CheckRef(ref, true));
  command.ref = ref;
  PGC_ASSIGN_OR_RETURN(command.actor, ToActor(actor));
  PGC_RETURN_IF_ERROR(CheckText("reason", reason, kMaxReasonBytes));
  command.reason = reason;
  return command;
}

absl::Status CheckProject(const v1::ProjectSpec& project) {
  PGC_RETURN_IF_ERROR(CheckRef(project.ref(), false));
  if (project.estimated_bytes() < 0) {
    return Bad(project.ref() + ".estimated_bytes", "is negative");
  }
  if (project.attributes_size() > kMaxAttributes) {
    return Bad(project.ref() + ".attributes", "has more than " + std::to_string(kMaxAttributes) + " entries");
  }
  for (const auto& [key, value] : project.attributes()) {
    if (!IsAttributeName(key)) {
      return Bad(project.ref() + ".attributes", "\"" + Printable(key) + "\" is not [a-z][a-z0-9_]*");
    }
    PGC_RETURN_IF_ERROR(CheckText(project.ref() + ".attributes." + key, value, kMaxAttributeBytes));
  }
  return absl::OkStatus();
}

absl::Status CheckRequestId(const std::string& request_id) {
  // 8-4-4-4-12 hexadecimal digits.
  bool valid = request_id.size() == 36;
  for (size_t i = 0; valid && i < request_id.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    valid = dash ? request_id[i] == '-' : std::isxdigit(static_cast<unsigned char>(request_id[i])) != 0;
  }
  return valid ? absl::OkStatus() : Bad("header.request_id", "is not a UUID");
}

core::MigrationSpec ToSpec(const v1::Plan& plan, const v1::SubmitHeader& header) {
  core::PlanSections sections;
  sections.target = plan.has_target();
  sections.freeze = plan.has_freeze();
  sections.credentials = plan.has_credentials();
  sections.tables = plan.tables_size() > 0;
  sections.transform = plan.has_transform();
  sections.cutover = plan.has_cutover();
  sections.backup_only = plan.execution().mode() == v1::Execution::BACKUP_ONLY;
  sections.skip_backup = plan.execution().skip_backup();
  sections.rotates = plan.execution().mode() == v1::Execution::ROTATE_CREDENTIALS;
  sections.revokes = plan.execution().mode() == v1::Execution::REVOKE_CREDENTIALS;
  const v1::Execution& execution = plan.execution();
  core::MigrationSpec spec;
  spec.name = plan.name();
  spec.request_id = header.request_id();
  spec.plan_json = plan::CanonicalJson(plan);
  spec.plan_hash = plan::PlanHash(plan);
  spec.phases = core::ForwardPhases(sections);
  for (const auto& [name, server] : plan.servers()) {
    spec.limits.push_back({name, server.max_projects()});
  }
  // A protobuf map has no order of its own.
  std::sort(spec.limits.begin(), spec.limits.end(), [](const auto& a, const auto& b) { return a.server < b.server; });
  spec.batch_size = header.batch_size() > 0 ? header.batch_size() : execution.batch_size();
  spec.batch_bytes = execution.batch_bytes();
  spec.max_attempts = execution.max_attempts();
  spec.initial_backoff_ms = execution.initial_backoff_ms();
  spec.max_backoff_ms = execution.max_backoff_ms();
  spec.rollback_on_failure = execution.on_failure() != v1::Execution::KEEP;
  spec.credentials_of = MigrationId{execution.credentials_of()};
  return spec;
}

absl::StatusOr<core::ProjectInput> ToInput(const v1::ProjectSpec& project, const v1::Plan& plan) {
  core::ProjectInput input;
  input.ref = project.ref();
  if (project.attributes_size() > 0) {
    const std::map<std::string, std::string> sorted(project.attributes().begin(), project.attributes().end());
    input.attributes_json = nlohmann::json(sorted).dump();
  }
  input.estimated_bytes = project.estimated_bytes();
  plan::Values values(project.attributes().begin(), project.attributes().end());
  values["ref"] = project.ref();
  PGC_ASSIGN_OR_RETURN(input.source_server, plan::ServerOf(plan, plan.source().server(), values));
  // A backup takes no place on the target.
  if (plan.has_target() && plan.execution().mode() != v1::Execution::BACKUP_ONLY) {
    PGC_ASSIGN_OR_RETURN(input.target_server, plan::ServerOf(plan, plan.target().server(), values));
  }
  return input;
}

}  // namespace pgconvoy::service
