#include "common/plan/check_rules.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>

#include "common/base/text.h"
#include "common/plan/secret_ref.h"
#include "common/plan/template.h"

namespace pgconvoy::plan {
namespace {

constexpr int64_t kMaxHttpTimeoutMs = 600'000;
constexpr int kMinHttpStatus = 100;
constexpr int kMaxHttpStatus = 599;

std::string Item(std::string_view list, int index) { return std::string(list) + "[" + std::to_string(index) + "]"; }

// What a variable and a header may be called.
bool IsName(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return (c < 0x80 && std::isalnum(c) != 0) || more.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

class Rules {
 public:
  Rules(const v1::Plan& plan, FieldChecks& checks) : plan_(plan), checks_(checks) {}

  void One(const std::string& field, const v1::Check& check) {
    if (check.stage() == v1::Check::STAGE_UNSPECIFIED) {
      checks_.Error(field + ".stage", "PGC-PLAN-REQUIRED", "the key is required", "allowed: PRE, POST, INTEGRITY");
    }
    // A statement beside a connection is run by that login.
    const bool alone = !check.sql().empty() && !check.has_connection();
    const int kinds = (alone ? 1 : 0) + (check.has_connection() ? 1 : 0) + (check.has_http() ? 1 : 0) +
                      (check.environment().empty() ? 0 : 1);
    if (kinds > 1) {
      checks_.Error(field, "PGC-PLAN-CHECK", "the check is of more than one kind",
                    "keep one of sql, connection, http and environment");
      return;
    }
    const bool at_place = kinds == 0 || !check.sql().empty() || check.has_connection();
    if (at_place) {
      Place(field, check.place(), check.stage());
    } else if (check.place() != v1::Check::PLACE_UNSPECIFIED) {
      checks_.Error(field + ".place", "PGC-PLAN-CHECK", "a check of this kind runs at no place", "leave out the key");
    }
    Sql(field, check, kinds);
    if (check.has_connection()) {
      Connection(field + ".connection", check);
    }
    if (check.has_http()) {
      Http(field + ".http", check);
    }
    Environment(field, check);
  }

 private:
  void Place(const std::string& field, v1::Check::Place place, v1::Check::Stage stage) {
    if (place == v1::Check::PLACE_UNSPECIFIED) {
      checks_.Error(field + ".place", "PGC-PLAN-REQUIRED", "the key is required",
                    "allowed: SOURCE, TARGET, REGISTRY");
    } else if (place == v1::Check::REGISTRY && !plan_.has_registry()) {
      checks_.Error(field + ".place", "PGC-PLAN-CHECK", "the plan has no registry");
    } else if (place == v1::Check::TARGET && !plan_.has_target()) {
      checks_.Error(field + ".place", "PGC-PLAN-CHECK", "the plan has no target");
    } else if (place == v1::Check::TARGET && stage == v1::Check::PRE) {
      checks_.Error(field + ".place", "PGC-PLAN-CHECK", "the target does not exist before the migration",
                    "use stage: POST");
    }
  }

  void Sql(const std::string& field, const v1::Check& check, int kinds) {
    if (check.has_equals() && check.sql().empty()) {
      checks_.Error(field + ".equals", "PGC-PLAN-CHECK", "there is no sql to compare with");
    } else if (check.has_equals()) {
      checks_.ConditionTemplate(field + ".sql", check.sql(), NamesOf(plan_));
      Place(field + ".equals", check.equals().place(), check.stage());
      if (checks_.Required(field + ".equals.sql", check.equals().sql())) {
        checks_.ConditionTemplate(field + ".equals.sql", check.equals().sql(), NamesOf(plan_));
      }
    } else if (!check.sql().empty() || kinds == 0) {
      if (checks_.Required(field + ".sql", check.sql())) {
        checks_.SqlTemplate(field + ".sql", check.sql(), NamesOf(plan_));
      }
    }
  }

  void Connection(const std::string& field, const v1::Check& check) {
    if (checks_.Required(field + ".user", check.connection().user())) {
      checks_.NameTemplate(field + ".user", check.connection().user(), false);
    }
    checks_.SecretRef(field + ".password", check.connection().password());
    if ((check.connection().refused() || check.has_equals()) && !check.sql().empty()) {
      checks_.Error(field, "PGC-PLAN-CHECK",
                    "a statement that is run by a login goes with neither refused nor equals");
    }
    const auto& settings = check.connection().settings();
    for (const auto& [name, value] : std::map(settings.begin(), settings.end())) {
      if (name.find('.') == std::string::npos || check.sql().empty()) {
        checks_.Error(field + ".settings." + name, "PGC-PLAN-SETTING",
                      "only a setting with a dot in its name may be set here, for the check's sql");
      }
      checks_.TextTemplate(field + ".settings." + name, value, NamesOf(plan_));
    }
  }

  void Http(const std::string& field, const v1::Check& check) {
    const v1::Check::Http& http = check.http();
    if (checks_.Required(field + ".url", http.url()) && !IsSecretRef(http.url())) {
      checks_.TextTemplate(field + ".url", http.url(), NamesOf(plan_));
      const bool scheme = http.url().starts_with("http://") || http.url().starts_with("https://");
      if (!scheme && !http.url().starts_with('{')) {
        checks_.Error(field + ".url", "PGC-PLAN-CHECK", "not an http or https URL",
                      "begin it with https://, or with an attribute that does");
      }
    }
    checks_.Range(field + ".expect_status", http.expect_status(), kMinHttpStatus, kMaxHttpStatus);
    checks_.Range(field + ".timeout_ms", http.timeout_ms(), 1, kMaxHttpTimeoutMs);
    checks_.TextTemplate(field + ".expect_body", http.expect_body(), NamesOf(plan_));
    for (const auto& [name, value] : std::map(http.headers().begin(), http.headers().end())) {
      if (!IsName(name, "-_")) {
        checks_.Error(field + ".headers." + name, "PGC-PLAN-NAME", "not the name of a header");
      }
      if (AsciiLower(name) == "authorization") {
        checks_.SecretRef(field + ".headers." + name, value);
      }
    }
  }

  void Environment(const std::string& field, const v1::Check& check) {
    for (int i = 0; i < check.environment_size(); ++i) {
      if (!IsName(check.environment(i), "_")) {
        checks_.Error(Item(field + ".environment", i), "PGC-PLAN-NAME", "not the name of a variable");
      }
    }
  }

  static std::string AsciiLower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
  }

  const v1::Plan& plan_;
  FieldChecks& checks_;
};

void Schemas(const v1::Plan& plan, FieldChecks& checks) {
  const auto& schemas = plan.credentials().schemas();
  if (schemas.empty()) {
    checks.Error("credentials.schemas", "PGC-PLAN-REQUIRED", "without a target, the login would be of no use",
                 "list the schemas for which it gets permissions, or give the plan a target");
  }
  std::set<std::string> seen;
  for (int i = 0; i < schemas.size(); ++i) {
    const std::string field = Item("credentials.schemas", i);
    if (checks.Required(field, schemas[i])) {
      checks.PlainName(field, schemas[i]);
    }
    if (!seen.insert(schemas[i]).second) {
      checks.Error(field, "PGC-PLAN-DUPLICATE", "the schema is listed twice");
    }
  }
}

void FallbackRules(const v1::Plan& plan, FieldChecks& checks) {
  const v1::Fallback& fallback = plan.credentials().fallback();
  const std::string field = "credentials.fallback";
  if (checks.Required(field + ".user", fallback.user())) {
    checks.NameTemplate(field + ".user", fallback.user(), false);
  }
  if (checks.Required(field + ".password", fallback.password())) {
    checks.SecretRef(field + ".password", fallback.password());
  }
  if (fallback.revoke_connect() && !plan.has_cutover()) {
    checks.Error(field + ".revoke_connect", "PGC-PLAN-REQUIRED", "without a cutover nothing is revoked",
                 "give the plan a cutover");
  }
}

}  // namespace

std::set<std::string> NamesOf(const v1::Plan& plan) {
  std::set<std::string> names;
  if (plan.has_target() || plan.has_credentials()) {
    names.insert("database");
  }
  if (plan.has_credentials()) {
    names.insert("user");
  }
  return names;
}

void ValidateChecks(const v1::Plan& plan, FieldChecks& checks) {
  std::set<std::string> names;
  Rules rules(plan, checks);
  for (int i = 0; i < plan.checks_size(); ++i) {
    const v1::Check& check = plan.checks(i);
    const std::string field = Item("checks", i);
    if (checks.Required(field + ".name", check.name())) {
      checks.Word(field + ".name", check.name(), true);
      if (!names.insert(check.name()).second) {
        checks.Error(field + ".name", "PGC-PLAN-DUPLICATE", "another check has this name");
      }
    }
    rules.One(field, check);
  }
}

void ValidateAccess(const v1::Plan& plan, FieldChecks& checks) {
  const v1::Credentials& credentials = plan.credentials();
  if (plan.has_target()) {
    const auto needless = [&](bool present, const std::string& field) {
      if (present) {
        checks.Error("credentials." + field, "PGC-PLAN-CHECK", "with a target, the login owns a database of its own",
                     "leave out the key");
      }
    };
    needless(credentials.permissions() != v1::Credentials::PERMISSIONS_UNSPECIFIED, "permissions");
    needless(!credentials.schemas().empty(), "schemas");
    needless(credentials.has_fallback(), "fallback");
    return;
  }
  Schemas(plan, checks);
  if (credentials.has_fallback()) {
    FallbackRules(plan, checks);
  }
  const bool owns = credentials.permissions() == v1::Credentials::OWNER;
  if ((owns || credentials.has_fallback()) && !FieldChecks::HasPlaceholder(plan.source().database())) {
    checks.Error(owns ? "credentials.permissions" : "credentials.fallback", "PGC-PLAN-PLACEHOLDER",
                 owns ? "all projects would own one database" : "all projects would share one database",
                 "put {ref} or an attribute into source.database");
  }
}

}  // namespace pgconvoy::plan
