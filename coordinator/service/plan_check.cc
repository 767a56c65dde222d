#include "coordinator/service/plan_check.h"

#include <grpcpp/grpcpp.h>

#include <vector>

#include "common/base/error.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"

namespace pgconvoy::service {

grpc::Status ReadPlan(const std::string& plan_json, v1::Plan& plan) {
  if (plan_json.size() > plan::kMaxPlanBytes) {
    return rpc::ToGrpc(InputError("PGC-PLAN-SIZE", "the plan is larger than 1 MiB"));
  }
  auto parsed = plan::PlanFromJson(plan_json);
  if (!parsed.ok()) {
    return rpc::ToGrpc(parsed.status());
  }
  plan = *std::move(parsed);
  plan::ApplyDefaults(plan);
  std::string message;
  std::vector<rpc::FieldViolation> violations;
  for (const plan::Problem& problem : plan::ValidatePlan(plan)) {
    if (!problem.warning) {
      message += (message.empty() ? "" : "\n") + plan::Format(problem);
      violations.push_back({problem.field, problem.code + ": " + problem.message});
    }
  }
  return violations.empty() ? grpc::Status::OK : rpc::ToGrpc(InputError("PGC-PLAN-INVALID", message), violations);
}

}  // namespace pgconvoy::service
