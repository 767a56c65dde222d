// The project's row in the registry, through the registrar.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// Column -> value as text; nullopt is NULL.
using RegistryValues = std::map<std::string, std::optional<std::string>>;

// The values that CUTOVER sets for this project, templates rendered. `verifier` fills {verifier}.
absl::StatusOr<RegistryValues> NewRegistryValues(const Attempt& attempt, const std::string& verifier);

// Reads the columns that CUTOVER sets. PGC-REGISTRY-ROW when there is not exactly one row for the project.
// `lock`: FOR UPDATE.
absl::StatusOr<RegistryValues> ReadRegistryRow(pg::Connection& registrar, const Attempt& attempt, bool lock);

// UPDATE … SET `to` WHERE ref = … AND every column still has its value in `from`. Returns the values as the row has
// them now, which a type or a trigger may write in another way ("2" as "2.00"); nothing when somebody else changed the
// row in between.
// Does nothing when `to` is empty.
absl::StatusOr<std::optional<RegistryValues>> SwitchRegistryRow(pg::Connection& registrar,
                                                                const Attempt& attempt,
                                                                const RegistryValues& from,
                                                                const RegistryValues& to);

// For proto maps and jsonb: NULL is an absent key.
std::string ToJson(const RegistryValues& values);
// `columns` gives the keys; those absent in the object are NULL.
absl::StatusOr<RegistryValues> FromJson(const std::string& json, const RegistryValues& columns);

// The cutover record that is in force for this project in this migration.
struct CutoverRecord {
  int64_t fence = 0;
  int64_t credentials_fence = 0;
  RegistryValues before;
  RegistryValues after;
};
absl::StatusOr<std::optional<CutoverRecord>> FindCutover(pg::Connection& registrar, const Attempt& attempt);

}  // namespace pgconvoy::worker
