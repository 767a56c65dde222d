// pg_dump and pg_restore as child processes: schema only, custom format, never a plain dump into psql.
#pragma once

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

struct SchemaScripts {
  std::string laid_first;
  std::string added_last;
};

// PGC-SRC-VERSION when the source's version (150020 for 15.20) is newer than pg_dump here, which would refuse it.
absl::Status CheckDumpable(int server_version);

// Dumps the definition of these schemas, or of the whole database where the plan moves it, as the reader. The password
// travels in a 0600 file that lives as long as the child (PGPASSFILE), not in arguments or environment.
// PGC-SCHEMA-DUMP with the tool's first line of complaint.
absl::StatusOr<SchemaScripts> DumpSchema(Attempt& attempt,
                                         const std::set<int64_t>& skipped_triggers,
                                         const std::vector<std::string>& schemas);

}  // namespace pgconvoy::worker
