// Definitions as the file schema.sql of a backup: plain SQL for psql, and with a first line from which a SourceSchema
// can be made again without the source.
//
// Thread safety: pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/phases/schema.h"

namespace pgconvoy::worker {

std::string ToScript(const SourceSchema& schema);
// Everything but tables, sequences and hash, which the manifest knows. PGC-BACKUP-SCHEMA when ToScript did not make it.
absl::StatusOr<SourceSchema> FromScript(std::string_view script);

}  // namespace pgconvoy::worker
