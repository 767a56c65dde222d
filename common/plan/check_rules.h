// The rules for `checks` and for credentials without a target, as part of ValidatePlan.
//
// Thread safety: one thread.
#pragma once

#include <set>
#include <string>

#include "common/plan/field_checks.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::plan {

// Placeholders that checks and the cutover have besides the ref and the attributes.
std::set<std::string> NamesOf(const v1::Plan& plan);

void ValidateChecks(const v1::Plan& plan, FieldChecks& checks);

// permissions, schemas and fallback.
void ValidateAccess(const v1::Plan& plan, FieldChecks& checks);

}  // namespace pgconvoy::plan
