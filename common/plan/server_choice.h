// Which server of a plan a project uses: source.server and target.server are keys of `servers`, or name templates that
// give one, such as "{region}".
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/plan/template.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::plan {

// The key that `name` gives for a project. PGC-PLAN-PLACEHOLDER when a value is missing, PGC-PLAN-SERVER, with the
// nearest key, when the plan has no such server.
absl::StatusOr<std::string> ServerOf(const v1::Plan& plan, const std::string& name, const Values& values);

// The keys that `name` may give, sorted: all of them when it has a placeholder.
std::vector<std::string> PossibleServers(const v1::Plan& plan, const std::string& name);

// PGC-PLAN-SERVER that says which servers there are.
absl::Status NoSuchServer(const v1::Plan& plan, const std::string& name);

}  // namespace pgconvoy::plan
