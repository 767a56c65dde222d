// Starts a reconcile task on a worker when a migration has ended. Best effort: what it misses the next one finds.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/service/backend.h"
#include "coordinator/service/task_broker.h"

namespace pgconvoy::service {

// Refs that fit into one task message; a larger fleet is not reconciled, because a ref that is left out would be taken
// for a project that is gone.
inline constexpr int kMaxReconcileRefs = 50'000;

// A ReconcileTask for this plan with what the store knows is live.
absl::StatusOr<v1::Task> MakeReconcileTask(store::StoreReader& reader, const std::string& plan_json);

void StartReconcile(const Backend& backend, TaskBroker& broker, MigrationId migration);

}  // namespace pgconvoy::service
