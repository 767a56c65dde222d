// What attempts that are over left on the servers of a plan, in the registry's database and in the backup directory.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "pgconvoy/v1/plan.pb.h"
#include "pgconvoy/v1/worker_service.pb.h"
#include "worker/phases/sessions.h"

namespace pgconvoy::worker {

// Does what Reconcile does on every server that has a provisioner, and removes backup folders that were never sealed or
// are being removed. What may still matter to somebody is only reported: roles and databases that carry our COMMENT but
// that the project's registry row does not name, databases that a rollback set aside, projects that are still frozen,
// and backups that the store does not know. `say` is told one line for each, once it is so, which begins with
// "removed", "would remove" or "left alone".
absl::Status FindOrphans(SessionPool& pool,
                         const v1::Plan& plan,
                         const std::string& store_id,
                         const v1::ReconcileTask& task,
                         const std::function<void(const std::string& line)>& say);

}  // namespace pgconvoy::worker
