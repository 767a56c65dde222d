// A plan that came over the API: parsed, defaulted and validated, with every problem reported.
#pragma once

#include <string>

#include "pgconvoy/v1/plan.pb.h"

namespace grpc {
class Status;
}

namespace pgconvoy::service {

// INVALID_ARGUMENT with all problems in the message and as field violations.
grpc::Status ReadPlan(const std::string& plan_json, v1::Plan& plan);

}  // namespace pgconvoy::service
