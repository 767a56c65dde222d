#include "common/plan/project_check.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/secret_ref.h"

namespace pgconvoy::plan {
namespace {

// Placeholders that are no attributes.
constexpr std::array<std::string_view, 4> kOwnMeaning = {"ref", "database", "user", "verifier"};

bool HasOwnMeaning(const std::string& name) {
  return std::find(kOwnMeaning.begin(), kOwnMeaning.end(), name) != kOwnMeaning.end();
}

std::string Item(std::string_view list, int index) { return std::string(list) + "[" + std::to_string(index) + "]"; }

}  // namespace

ProjectCheck::ProjectCheck(const v1::Plan& plan) {
  // Many projects may come from one database, but not where its owner or who gets into it changes.
  const v1::Credentials& credentials = plan.credentials();
  const bool own = credentials.permissions() == v1::Credentials::OWNER || credentials.has_fallback();
  AddName("source.database", plan.source().database(), own ? "database" : "");
  AddName("target.database", plan.target().database(), "database");
  AddName("credentials.user", plan.credentials().user(), "login");
  for (int i = 0; i < plan.freeze().apply_size(); ++i) {
    Use(Item("freeze.apply", i), plan.freeze().apply(i));
  }
  for (int i = 0; i < plan.freeze().undo_size(); ++i) {
    Use(Item("freeze.undo", i), plan.freeze().undo(i));
  }
  for (int i = 0; i < plan.tables_size(); ++i) {
    Use(Item("tables", i) + ".where", plan.tables(i).where());
    for (int c = 0; c < plan.tables(i).columns_size(); ++c) {
      Use(Item(Item("tables", i) + ".columns", c) + ".expression", plan.tables(i).columns(c).expression());
    }
  }
  for (const auto& [column, value] : std::map(plan.cutover().set().begin(), plan.cutover().set().end())) {
    Use("cutover.set." + column, value);
  }
  AddName("credentials.fallback.user", plan.credentials().fallback().user(), "");
  for (int i = 0; i < plan.cutover().statements_size(); ++i) {
    Use(Item("cutover.statements", i) + ".apply", plan.cutover().statements(i).apply());
    Use(Item("cutover.statements", i) + ".undo", plan.cutover().statements(i).undo());
  }
  UseTransform(plan.transform());
  for (int i = 0; i < plan.checks_size(); ++i) {
    UseCheck(Item("checks", i), plan.checks(i));
  }
}

void ProjectCheck::UseTransform(const v1::Transform& transform) {
  for (int i = 0; i < transform.prepare_size(); ++i) {
    Use(Item("transform.prepare", i) + ".apply", transform.prepare(i).apply());
    Use(Item("transform.prepare", i) + ".undo", transform.prepare(i).undo());
  }
  for (int i = 0; i < transform.changes_size(); ++i) {
    Use(Item("transform.changes", i), transform.changes(i));
  }
  for (int i = 0; i < transform.finish_size(); ++i) {
    Use(Item("transform.finish", i) + ".apply", transform.finish(i).apply());
    Use(Item("transform.finish", i) + ".undo", transform.finish(i).undo());
  }
  for (int i = 0; i < transform.policies_size(); ++i) {
    for (int c = 0; c < transform.policies(i).create_size(); ++c) {
      Use(Item(Item("transform.policies", i) + ".create", c), transform.policies(i).create(c));
    }
  }
}

void ProjectCheck::Use(const std::string& field, const std::string& text) {
  const auto names = PlaceholdersIn(text);
  if (!names.ok()) {
    return;  // reported by ValidatePlan
  }
  for (const std::string& name : *names) {
    if (!HasOwnMeaning(name)) {
      needed_.emplace(name, field);
    }
  }
}

void ProjectCheck::UseCheck(const std::string& field, const v1::Check& check) {
  Use(field + ".sql", check.sql());
  Use(field + ".equals.sql", check.equals().sql());
  Use(field + ".connection.user", check.connection().user());
  // A secret ref's ${…} is no template.
  if (!IsSecretRef(check.http().url())) {
    Use(field + ".http.url", check.http().url());
  }
  Use(field + ".http.expect_body", check.http().expect_body());
}

void ProjectCheck::AddName(const std::string& field, const std::string& text, const std::string& what) {
  const auto placeholders = PlaceholdersIn(text);
  if (text.empty() || !placeholders.ok()) {
    return;
  }
  Use(field, text);
  // Distinct refs alone make distinct names, and need no memory in a large fleet.
  const bool may_collide = !what.empty() && *placeholders != std::vector<std::string>{"ref"};
  names_.push_back({field, text, what, may_collide, {}});
}

absl::Status ProjectCheck::CheckAttributes(const std::string& ref, const Values& attributes) const {
  for (const auto& [name, value] : attributes) {
    if (HasOwnMeaning(name)) {
      return InputError(
          "PGC-PLAN-ATTRIBUTE",
          "project " + Printable(ref) + " has an attribute " + name + ", but {" + name + "} has a meaning of its own",
          "rename the attribute");
    }
  }
  for (const auto& [name, field] : needed_) {
    if (!attributes.contains(name)) {
      return InputError("PGC-PLAN-PLACEHOLDER",
                        "project " + Printable(ref) + " has no attribute " + name + ", which " + field + " uses",
                        "give every project an attribute of this name, in the registry or in the CSV");
    }
  }
  return absl::OkStatus();
}

absl::Status ProjectCheck::Claim(Name& name, const std::string& ref, const Values& values) {
  auto rendered = RenderName(name.text, values);
  if (!rendered.ok()) {
    return Annotate(rendered.status(), "project " + Printable(ref) + ", " + name.field);
  }
  if (!name.may_collide) {
    return absl::OkStatus();
  }
  const auto [other, claimed] = name.ref_of.emplace(*std::move(rendered), ref);
  if (claimed) {
    return absl::OkStatus();
  }
  return InputError("PGC-PLAN-COLLISION",
                    "projects " + Printable(other->second) + " and " + Printable(ref) + " would both get the " +
                        name.what + " \"" + Printable(other->first) + "\"",
                    "put {ref} into " + name.field + ", or give the projects different attributes");
}

absl::Status ProjectCheck::Add(const std::string& ref, const Values& attributes) {
  PGC_RETURN_IF_ERROR(CheckAttributes(ref, attributes));
  Values values = attributes;
  values["ref"] = ref;
  for (Name& name : names_) {
    PGC_RETURN_IF_ERROR(Claim(name, ref, values));
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::plan
