// Finds on a target server what carries a name or COMMENT of ours but no live attempt owns, and removes it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pgconvoy/v1/worker_service.pb.h"
#include "worker/phases/sessions.h"

namespace pgconvoy::worker {

// Removes logins and databases of attempts that are over, and, when no project of the store is live, the templates.
// An object whose fence is the newest of its project is left alone while the project is in `live_refs`, and so is every
// object whose fence is `next_fence` or higher: it belongs to an attempt that began after `live_refs` was read. What a
// project owns under its final names is never touched. Returns one line for each thing removed; with `list_only`, for
// each that would be, and changes nothing.
absl::StatusOr<std::vector<std::string>> Reconcile(SessionPool& pool,
                                                   const v1::Server& server,
                                                   const std::string& store_id,
                                                   const v1::ReconcileTask& task);

// The same on every server that may be a target of the plan; nothing for a plan that has none or has not touched it.
absl::StatusOr<std::vector<std::string>> ReconcileTarget(SessionPool& pool,
                                                         const v1::Plan& plan,
                                                         const std::string& store_id,
                                                         const v1::ReconcileTask& task);

}  // namespace pgconvoy::worker
