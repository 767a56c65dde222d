// Finds on a target server what carries a name or COMMENT of ours but no live attempt owns, and removes it.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "pgconvoy/v1/worker_service.pb.h"
#include "worker/phases/sessions.h"

namespace pgconvoy::worker {

// Removes logins and databases of attempts that are over, and, when no project of the store is live, the templates.
// An object whose fence is the newest of its project is left alone while the project is in `live_refs`, and so is every
// object whose fence is `next_fence` or higher: it belongs to an attempt that began after `live_refs` was read. What a
// project owns under its final names is never touched. `say` is told of each thing once it is removed; with `list_only`
// of each that would be, and nothing is changed.
using SayRemoved = std::function<void(const std::string& what)>;
absl::Status Reconcile(SessionPool& pool,
                       const v1::Server& server,
                       const std::string& store_id,
                       const v1::ReconcileTask& task,
                       const SayRemoved& say);

// The same on every server that may be a target of the plan; nothing for a plan that has none or has not touched it.
absl::Status ReconcileTarget(SessionPool& pool,
                             const v1::Plan& plan,
                             const std::string& store_id,
                             const v1::ReconcileTask& task,
                             const SayRemoved& say);

}  // namespace pgconvoy::worker
