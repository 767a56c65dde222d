// What operators are shown: rows of the core and the store as messages.
//
// Thread safety: pure.
// Errors: PGC-STORE-PAYLOAD where a backup's result cannot be read; everything else is shown as it is.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/migration.pb.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace pgconvoy::service {

v1::Phase ToWire(Phase phase);
v1::Direction ToWire(Direction direction);
v1::Migration ToWire(const core::MigrationRow& row, bool with_plan);
v1::Batch ToWire(const core::BatchRow& row);
v1::Project ToWire(const store::ProjectView& view);
v1::Project ToWire(const store::ProjectDetail& detail);
v1::Attempt ToWire(const core::AttemptRow& row);
v1::Worker ToWire(const core::WorkerRow& row, int running);
v1::Event ToWire(const store::EventView& view);
// Of a project, as the store keeps them; whatever is no text is passed over.
void SetAttributes(const std::string& json, google::protobuf::Map<std::string, std::string>& attributes);

// Passes over what a restore has adopted: it is listed where it was made.
absl::Status AddBackup(const store::BackupView& view, v1::ListBackupsResponse& response);
// The backup's result with a mark: pruned at `prune_time`, or also removed.
absl::StatusOr<core::BackupMark> MarkPruned(const store::BackupView& view, WallMs prune_time);
absl::StatusOr<core::BackupMark> MarkRemoved(const store::BackupView& view);

}  // namespace pgconvoy::service
