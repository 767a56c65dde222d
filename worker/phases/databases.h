// Databases on the target server, through the provisioner. CREATE DATABASE and DROP DATABASE cannot run in a
// transaction; they are made harmless by name: one creates only under a name that carries its fence, and drops only
// what a fenced transaction has renamed to such a name.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

struct DatabaseInfo {
  std::string name;
  std::string owner;
  // Carries the COMMENT of this project and migration, or a name that only our attempts use.
  bool own = false;
  // An interrupted DROP DATABASE left it; it can only be dropped.
  bool invalid = false;
  bool connectable = true;
};

// The project's database under its final name, if it exists (own or not), and everything that attempts of this
// project made under temporary and doomed names.
absl::StatusOr<std::vector<DatabaseInfo>> ProjectDatabases(pg::Connection& provisioner, const Attempt& attempt);

// Dooms (fenced rename) and drops a database of ours, ending its sessions first. `n` tells several apart. OK when it is
// gone already.
absl::Status DoomAndDrop(pg::Connection& provisioner, const Attempt& attempt, const DatabaseInfo& database, int n);

// Ends the sessions of all clients there.
absl::Status EndSessionsIn(pg::Connection& provisioner, const std::string& database);

// Renames in a fenced transaction, ending the sessions that stand in the way first.
absl::Status RenameDatabase(pg::Connection& provisioner,
                            const Attempt& attempt,
                            const std::string& from,
                            const std::string& to);

// ALTER DATABASE … SET, in the caller's transaction. `value` is as the server prints it, lists of names included.
absl::Status SetOnDatabase(pg::Connection& connection,
                           const std::string& database,
                           const std::string& name,
                           const std::string& value);

}  // namespace pgconvoy::worker
