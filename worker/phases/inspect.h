// Looking at projects for an operator: what PRE_VALIDATION or POST_VALIDATION would say, whether what must hold still
// holds, whether a target still holds what was verified, and what a project needs. Makes and changes nothing but the
// login of target_view.h.
//
// Thread safety: any thread, with an attempt of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pgconvoy/v1/worker_service.pb.h"
#include "worker/phases/attempt.h"
#include "worker/phases/schema.h"

namespace pgconvoy::worker {

// An attempt that reports to nobody and holds nothing.
class NoReporter : public Reporter {
 public:
  absl::Status Intent(const v1::Intent& intent) override;
  void Progress(int64_t, int64_t) override {}
  absl::Status Checkpoint() override { return absl::OkStatus(); }
};

// The tools of a task that looks at projects; all of them outlive it.
struct Inspector {
  const v1::Plan& plan;
  const std::string& store_id;
  SessionPool& pool;
  SchemaCache& schemas;
  Reporter& reporter;

  // An attempt that only looks. Without a fence: a project that no migration has taken up.
  absl::StatusOr<std::unique_ptr<Attempt>> Look(const v1::ProjectGrant& project,
                                                const std::string& migration_id) const;
};

// Never fails: what cannot be inspected is an inspection with an error.
v1::ProjectInspection InspectProject(const Inspector& inspector,
                                     const v1::ProjectGrant& project,
                                     const std::string& migration_id,
                                     const std::vector<v1::Inspection>& kinds);

v1::Error ErrorOf(const absl::Status& status);

}  // namespace pgconvoy::worker
