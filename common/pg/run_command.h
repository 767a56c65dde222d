// Runs initdb and pg_ctl as the user that owns a cluster. Private to common/pg.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace pgconvoy::pg {

// Whose processes and files a cluster's are.
struct OsUser {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  // False when this process is that user already.
  bool switch_to = false;
};

// `run_as` when this process is root, else the user that it runs as. PGC-STORE-USER when there is no such user.
absl::StatusOr<OsUser> ClusterUser(const std::string& run_as);

struct CommandOutcome {
  // 128 + signal when a signal ended it.
  int exit_code = 0;
  // Standard output and error together, its last 8 KiB.
  std::string output;
};

// Runs argv[0] (a path) in "/" with the PG* variables removed, and waits for it.
// Errors: PGC-STORE-START when it cannot be started at all.
absl::StatusOr<CommandOutcome> RunCommand(const OsUser& user, const std::vector<std::string>& argv);

}  // namespace pgconvoy::pg
