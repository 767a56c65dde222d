// The schema `pgconvoy`: numbered SQL files, embedded in the binary, applied in order by the leader.
//
// A file that has once been released is never changed; a change is a new file. The table schema_migration remembers
// each applied file with its digest.
// Errors: PGC-STORE-NEWER when the store was written by a newer version, PGC-STORE-ALTERED when an applied file's
// digest is not the one this binary has. Both before anything is changed.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "coordinator/store/session.h"

namespace pgconvoy::store {

struct SchemaFile {
  int version;
  std::string_view name;
  std::string_view sql;
};

// In order of version. Defined in a generated file.
std::span<const SchemaFile> SchemaFiles();

// Reads only. OK for an empty database.
absl::Status CheckSchema(pqxx::transaction_base& tx, std::span<const SchemaFile> files);

// Applies what is missing, in the caller's transaction, after CheckSchema.
absl::Status MigrateSchema(pqxx::transaction_base& tx, std::span<const SchemaFile> files);

}  // namespace pgconvoy::store
