// What a worker is told to look at: projects with what their attempts left.
//
// Thread safety: any thread; may wait for the store.
// Errors: PGC-API-ARGUMENT, PGC-API-NOT-FOUND, PGC-PLAN-INVALID, those of the store.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/migration_service.pb.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::service {

// Projects that one call may inspect; a larger migration is inspected in several calls that name them.
inline constexpr int kMaxInspectedProjects = 10'000;

// As many tasks as fit into messages. Of a migration, only projects that have ended well: the others are still
// somebody's work, or have nothing left to look at.
absl::StatusOr<std::vector<v1::Task>> InspectTasks(store::StoreReader& reader,
                                                   const v1::InspectProjectsRequest& request);

// Reads the change log of one project.
absl::StatusOr<v1::Task> ChangesTask(store::StoreReader& reader, const v1::ListChangesRequest& request);

// Every project that ended well in this migration or in another one of the same plan.
absl::StatusOr<v1::Task> ProofTask(store::StoreReader& reader, const std::string& migration_id);

}  // namespace pgconvoy::service
