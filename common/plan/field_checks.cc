#include "common/plan/field_checks.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/model/model.h"
#include "common/plan/secret_ref.h"
#include "common/plan/template.h"

namespace pgconvoy::plan {
namespace {

// Placeholders that few fields have; no attribute may take their names.
const std::set<std::string> kCutoverNames = {"database", "user", "verifier"};

bool IsWord(std::string_view value, bool underscore) {
  const auto is_alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !value.empty() && value.size() <= kMaxNameBytes && is_alnum(value[0]) &&
         std::all_of(value.begin(), value.end(),
                     [&](char c) { return is_alnum(c) || c == '-' || (underscore && c == '_'); });
}

}  // namespace

void FieldChecks::Error(const std::string& field, std::string_view code, std::string message, std::string remedy) {
  problems_.Add({"", 0, 0, field, std::string(code), std::move(message), std::move(remedy), false});
}

void FieldChecks::Warning(const std::string& field, std::string_view code, std::string message, std::string remedy) {
  problems_.Add({"", 0, 0, field, std::string(code), std::move(message), std::move(remedy), true});
}

void FieldChecks::Take(const std::string& field, const absl::Status& status) {
  if (!status.ok()) {
    Error(field, CodeOf(status), MessageOf(status), RemedyOf(status));
  }
}

bool FieldChecks::Required(const std::string& field, std::string_view value) {
  const bool blank = value.find_first_not_of(" \t\r\n") == std::string_view::npos;
  if (blank) {
    Error(field, "PGC-PLAN-REQUIRED", "the key is required");
  }
  return !blank;
}

void FieldChecks::Word(const std::string& field, std::string_view value, bool underscore) {
  if (!IsWord(value, underscore)) {
    Error(field, "PGC-PLAN-NAME", "\"" + Printable(value.substr(0, kMaxNameBytes)) + "\" is not allowed as a name",
          underscore ? "allowed: [a-z0-9][a-z0-9_-]{0,62}" : "allowed: [a-z0-9][a-z0-9-]{0,62}");
  }
}

void FieldChecks::PlainName(const std::string& field, std::string_view value) {
  if (!IsUtf8(value) || value.size() > kMaxNameBytes) {
    Error(field, "PGC-PLAN-NAME", "not a name of 1 to 63 bytes of UTF-8");
  }
}

void FieldChecks::Range(const std::string& field, int64_t value, int64_t min, int64_t max) {
  if (value != 0 && (value < min || value > max)) {
    Error(field, "PGC-PLAN-RANGE",
          std::to_string(value) + " is not in the range " + std::to_string(min) + ".." + std::to_string(max));
  }
}

void FieldChecks::SecretRef(const std::string& field, std::string_view value) {
  if (!value.empty() && !IsSecretRef(value)) {
    Error(field, "PGC-PLAN-SECRET-LITERAL", "a plan may not hold a secret",
          "write ${env:NAME} or ${file:PATH}; the worker resolves it");
  }
}

bool FieldChecks::HasPlaceholder(std::string_view value) {
  const auto names = PlaceholdersIn(value);
  return names.ok() && !names->empty();
}

void FieldChecks::Placeholders(const std::string& field, std::string_view value, const std::set<std::string>& extra) {
  const auto names = PlaceholdersIn(value);
  if (!names.ok()) {
    return;  // reported by the check of the template
  }
  std::vector<std::string> known = {"ref"};
  known.insert(known.end(), attributes_.begin(), attributes_.end());
  known.insert(known.end(), extra.begin(), extra.end());
  for (const std::string& name : *names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) {
      continue;
    }
    if (kCutoverNames.contains(name)) {
      Error(field, "PGC-PLAN-PLACEHOLDER", "{" + name + "} has no value here",
            "with credentials, checks and the cutover have {database} and {user}, and cutover.set has {verifier}");
    } else if (const auto near = Nearest(name, known)) {
      Error(field, "PGC-PLAN-PLACEHOLDER", "{" + name + "} is unknown", "did you mean {" + *near + "}?");
    } else {
      Warning(field, "PGC-PLAN-PLACEHOLDER", "{" + name + "} is not in registry.attribute_columns",
              "the CSV of projects must have a column of this name");
    }
  }
}

void FieldChecks::NameTemplate(const std::string& field, std::string_view value, bool per_project) {
  Placeholders(field, value, {});
  const auto names = PlaceholdersIn(value);
  if (per_project && names.ok() && names->empty()) {
    Error(field, "PGC-PLAN-PLACEHOLDER", "all projects would share this name", "put {ref} into it");
    return;
  }
  // The longest ref; attributes can be any length, and are checked when their project is run.
  Values longest;
  for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
    longest[name] = name == "ref" ? std::string(kMaxRefBytes, 'a') : "a";
  }
  Take(field, RenderName(value, longest).status());
}

void FieldChecks::SqlTemplate(const std::string& field, std::string_view value, const std::set<std::string>& extra) {
  Placeholders(field, value, extra);
  Take(field, CheckSqlTemplate(value));
}

void FieldChecks::ConditionTemplate(const std::string& field,
                                    std::string_view value,
                                    const std::set<std::string>& extra) {
  Placeholders(field, value, extra);
  const absl::Status status = CheckSqlTemplate(value);
  Take(field, status.ok() ? CheckSqlExpression(value) : status);
}

void FieldChecks::TextTemplate(const std::string& field, std::string_view value, const std::set<std::string>& extra) {
  Placeholders(field, value, extra);
  Take(field, CheckTextTemplate(value));
}

bool FieldChecks::Qualified(const std::string& field, std::string_view value, size_t parts) {
  const auto split = SplitQualified(value, parts);
  if (!split.ok()) {
    Error(field, "PGC-PLAN-TABLE", MessageOf(split.status()), RemedyOf(split.status()));
  }
  return split.ok();
}

}  // namespace pgconvoy::plan
