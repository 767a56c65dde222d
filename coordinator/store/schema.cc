#include "coordinator/store/schema.h"

#include <map>
#include <pqxx/pqxx>
#include <string>

#include "common/base/error.h"
#include "common/crypto/crypto.h"

namespace pgconvoy::store {
namespace {

constexpr char kTableExists[] = "SELECT to_regclass('pgconvoy.schema_migration') IS NOT NULL";

constexpr char kApplied[] = "SELECT version, name, sha256 FROM pgconvoy.schema_migration ORDER BY version";

constexpr char kCreateTable[] = R"sql(
CREATE SCHEMA IF NOT EXISTS pgconvoy;
CREATE TABLE IF NOT EXISTS pgconvoy.schema_migration (
  version    integer PRIMARY KEY,
  name       text NOT NULL,
  sha256     text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pgconvoy.schema_migration IS
  'Which schema files have been applied. Written by the leader that applied them.';
COMMENT ON COLUMN pgconvoy.schema_migration.version IS 'Number of the file; set when it is applied.';
COMMENT ON COLUMN pgconvoy.schema_migration.name IS 'Name of the file; set when it is applied.';
COMMENT ON COLUMN pgconvoy.schema_migration.sha256 IS
  'Digest of the file, hex; set when it is applied, compared at every start.';
COMMENT ON COLUMN pgconvoy.schema_migration.applied_at IS 'When it was applied, by the store''s clock.'
)sql";

constexpr char kRecord[] = "INSERT INTO pgconvoy.schema_migration (version, name, sha256) VALUES ($1, $2, $3)";

// Digest of each applied file by version; empty for a database without our schema.
std::map<int, std::string> Applied(pqxx::transaction_base& tx) {
  std::map<int, std::string> applied;
  if (!tx.exec(kTableExists)[0][0].as<bool>()) {
    return applied;
  }
  for (const auto& row : tx.exec(kApplied)) {
    applied[row[0].as<int>()] = row[2].as<std::string>();
  }
  return applied;
}

}  // namespace

absl::Status CheckSchema(pqxx::transaction_base& tx, std::span<const SchemaFile> files) {
  std::map<int, std::string> known;
  for (const SchemaFile& file : files) {
    known[file.version] = Sha256Hex(file.sql);
  }
  for (const auto& [version, digest] : Applied(tx)) {
    const auto it = known.find(version);
    if (it == known.end()) {
      return MakeError(Verdict::kOperator, "PGC-STORE-NEWER",
                       "the store has schema version " + std::to_string(version) + ", this coordinator knows " +
                           std::to_string(files.back().version),
                       "start a coordinator of the version that wrote the store, or a newer one");
    }
    if (it->second != digest) {
      return MakeError(Verdict::kOperator, "PGC-STORE-ALTERED",
                       "schema version " + std::to_string(version) +
                           " of the store was made from another file than this coordinator has",
                       "use an unmodified release of the version that wrote the store");
    }
  }
  return absl::OkStatus();
}

absl::Status MigrateSchema(pqxx::transaction_base& tx, std::span<const SchemaFile> files) {
  tx.exec(kCreateTable);
  const std::map<int, std::string> applied = Applied(tx);
  for (const SchemaFile& file : files) {
    if (applied.contains(file.version)) {
      continue;
    }
    tx.exec(std::string(file.sql));
    tx.exec_params(kRecord, file.version, std::string(file.name), Sha256Hex(file.sql));
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::store
