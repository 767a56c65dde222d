#include "common/plan/server_choice.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::plan {
namespace {

std::vector<std::string> AllServers(const v1::Plan& plan) {
  std::vector<std::string> names;
  for (const auto& [name, unused] : plan.servers()) {
    names.push_back(name);
  }
  // A protobuf map has no order of its own.
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

absl::StatusOr<std::string> ServerOf(const v1::Plan& plan, const std::string& name, const Values& values) {
  PGC_ASSIGN_OR_RETURN(std::string key, RenderText(name, values));
  if (!plan.servers().contains(key)) {
    return NoSuchServer(plan, key);
  }
  return key;
}

std::vector<std::string> PossibleServers(const v1::Plan& plan, const std::string& name) {
  const auto placeholders = PlaceholdersIn(name);
  if (placeholders.ok() && !placeholders->empty()) {
    return AllServers(plan);
  }
  return plan.servers().contains(name) ? std::vector<std::string>{name} : std::vector<std::string>();
}

absl::Status NoSuchServer(const v1::Plan& plan, const std::string& name) {
  const std::vector<std::string> names = AllServers(plan);
  const auto near = Nearest(name, names);
  return InputError("PGC-PLAN-SERVER", "there is no server \"" + Printable(name) + "\" in servers",
                    near.has_value() ? "did you mean \"" + *near + "\"?" : "known: " + Join(names, ", "));
}

}  // namespace pgconvoy::plan
