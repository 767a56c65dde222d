// A coordinator with an embedded store and some workers as children of this process, for one machine.
//
// The coordinator comes first; once it serves, the workers. A child that dies is started again after a pause that
// grows while it keeps dying. SIGINT, SIGTERM and SIGHUP stop the workers (SIGTERM: they drain), then the
// coordinator; a second signal kills the workers, which lose nothing by it. Children get a process group of their
// own, so that Ctrl-C reaches this process alone, and SIGTERM from the kernel when this process dies.
//
// Thread safety: main thread only, before it has started any other thread: the signals are blocked for all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/commands/local_state.h"

namespace pgconvoy::cli {

struct SupervisorOptions {
  std::string dir;
  std::string listen;
  int workers = 1;
  int slots = 1;
};

class Supervisor {
 public:
  // `say` gets lines for people. `ready` is called once, when the coordinator serves and every worker is connected.
  Supervisor(SupervisorOptions options,
             std::function<void(const std::string&)> say,
             std::function<void(const LocalState&)> ready);

  // Returns when everything has stopped: OK after a signal, else why it could not be started.
  // PGC-LOCAL-RUNNING when an instance runs in that folder already, PGC-LOCAL-START otherwise.
  absl::Status Run();

 private:
  struct Child {
    std::string name;
    std::vector<std::string> argv;
    pid_t pid = 0;
    int64_t start_ticks = 0;
    int64_t started_ms = 0;
    int64_t backoff_ms = 0;
    // 0: not waiting to be started again.
    int64_t restart_at_ms = 0;
  };
  enum class Stage { kCoordinator, kWorkers, kReady };

  absl::Status Prepare();
  absl::Status Supervise();
  absl::Status Spawn(Child& child);
  // Notices dead children. In the first stages a coordinator that dies ends it all.
  absl::Status Reap();
  absl::Status RestartDue();
  // Goes to the next stage when it is time.
  absl::Status Advance();
  bool CoordinatorServes();
  bool WorkersConnected();
  absl::Status StartWorkers();
  void Stop();
  void StopChildren(const std::vector<Child*>& children);
  absl::Status SaveState() const;
  LocalState State() const;
  std::string LogPath(const std::string& name) const;
  absl::Status StartError(const std::string& what, const std::string& name) const;

  const SupervisorOptions options_;
  const std::function<void(const std::string&)> say_;
  const std::function<void(const LocalState&)> ready_;
  Stage stage_ = Stage::kCoordinator;
  int64_t deadline_ms_ = 0;
  std::string address_;
  Child coordinator_;
  std::vector<Child> workers_;
  int lock_fd_ = -1;
};

}  // namespace pgconvoy::cli
