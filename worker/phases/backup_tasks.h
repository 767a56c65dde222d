// Tasks about backups that are there: reading one whole, writing it as JSON, removing some.
//
// Thread safety: none needed; each call opens what it reads.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pgconvoy/v1/plan.pb.h"
#include "pgconvoy/v1/worker_service.pb.h"

namespace pgconvoy::worker {

// Each returns a line for everything that was read, written or removed. Errors as in worker/backup.
absl::StatusOr<std::vector<std::string>> VerifyBackup(const v1::Plan& plan,
                                                      const std::string& store_id,
                                                      const v1::VerifyBackupTask& task);
absl::StatusOr<std::vector<std::string>> ExportBackup(const v1::Plan& plan,
                                                      const std::string& store_id,
                                                      const v1::ExportBackupTask& task);
absl::StatusOr<std::vector<std::string>> PruneBackups(const v1::Plan& plan,
                                                      const std::string& store_id,
                                                      const v1::PruneBackupsTask& task);

}  // namespace pgconvoy::worker
