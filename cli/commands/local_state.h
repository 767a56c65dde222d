// What `pgconvoy local` remembers of a running instance: DIR/local.json, mode 0600, replaced atomically.
//
// A process is named by its id and its start time, so that an id that the kernel has given to somebody else is never
// mistaken for ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pgconvoy::cli {

struct ProcessRef {
  // "supervisor", "coordinator", "local-1", …
  std::string name;
  pid_t pid = 0;
  // Field 22 of /proc/PID/stat: clock ticks after boot.
  int64_t start_ticks = 0;
};

struct LocalState {
  std::string address;
  ProcessRef supervisor;
  ProcessRef coordinator;
  std::vector<ProcessRef> workers;
};

// $XDG_STATE_HOME/pgconvoy, else ~/.local/state/pgconvoy; /var/lib/pgconvoy for root, whose home is closed to the
// user that PostgreSQL runs as.
std::string DefaultLocalDir();
std::string LocalStateFile(const std::string& dir);

absl::Status WriteLocalState(const std::string& dir, const LocalState& state);
// NotFound when there is no file.
absl::StatusOr<LocalState> ReadLocalState(const std::string& dir);

// The start time of a live process; nothing when there is none, zombies included.
std::optional<int64_t> StartTicks(pid_t pid);
bool IsAlive(const ProcessRef& process);

// The address of the instance in the default folder, if one runs.
std::optional<std::string> RunningLocalAddress();

}  // namespace pgconvoy::cli
