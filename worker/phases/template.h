// Template databases: what a source defines, laid once per target server and cloned for every project.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

struct SourceSchema;

struct TemplateNames {
  std::string database;
  std::string owner;
};

// Lays the schema under these names on the attempt's target server; OK at once when it is there already. A lock in the
// control database sees to it that one worker at a time does this; what a worker that died left half laid is dropped,
// and a half-laid one is never used: it gets its name last. The definition runs as a login that can do nothing else,
// and that cannot log in any more afterwards.
// Thread safety: any thread; callers with the same names wait for each other.
absl::Status LayTemplate(Attempt& attempt, const SourceSchema& schema, const TemplateNames& names);

}  // namespace pgconvoy::worker
