// A private PostgreSQL cluster in a folder: initdb, start, stop. Used for --store=embedded:DIR and by the tests.
//
// PostgreSQL refuses to run as root: when this process is root, the cluster is owned and run by `run_as`.
// Nothing here finds processes by name. A process belongs to the cluster when its working directory is the cluster's
// data folder; a postmaster.pid that names any other process is stale.
//
// Layout of the folder: data/ (PGDATA), postgres.log, and the socket. A socket's path may have 107 bytes: where the
// folder's name is too long for that, the socket stands in a fresh folder /tmp/pgc-XXXXXX, removed by Stop().
// Two callers must not start the same cluster at the same time.
//
// Thread safety: one thread at a time.
// Errors: PGC-STORE-START, PGC-STORE-STOP, PGC-STORE-DIR, PGC-STORE-USER, PGC-PG-NO-BINARY; all PERMANENT.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/pg/run_command.h"

namespace pgconvoy::pg {

struct LocalClusterOptions {
  // Created with mode 0700 when it does not exist. Holds data/, the log and the socket.
  std::string directory;
  // 0: unix socket only.
  int port = 0;
  // Written to data/pgconvoy.conf at every start, for example "fsync = off". What stands below its include line in
  // postgresql.conf wins over it.
  std::vector<std::string> settings;
  // Lines of pg_hba.conf, written at every start. Default: trust for role postgres over the socket, whose folder only
  // the owner can enter; scram-sha-256 for everybody else there and on 127.0.0.1.
  std::vector<std::string> hba;
  // The folder of initdb, pg_ctl and postgres. Empty: that of PostgresBinary.
  std::string binaries = {};
  // Used only when this process is root.
  std::string run_as = "postgres";
};

class LocalCluster {
 public:
  // Makes the cluster if there is none, starts it if it does not run, waits until it accepts connections. One that
  // runs already is taken over as it is, with its port.
  // PGC-STORE-START with the tail of the server's log when it does not come up.
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Start(const LocalClusterOptions& options);
  // Leaves the server running unless StopFast was called or `stop_on_destroy` set.
  ~LocalCluster();

  // "host=DIR port=… user=postgres dbname=…" over the unix socket (trust for the owner's role).
  std::string SocketConninfo(const std::string& database = "postgres") const;
  // "host=127.0.0.1 port=N"; only when a port was given.
  std::string TcpConninfo() const;
  // "host=DIR port=…" over the socket, without user and dbname.
  std::string SocketAddress() const;

  // pg_ctl stop -m MODE and wait. mode: "fast" or "immediate".
  absl::Status Stop(const std::string& mode);
  absl::Status StartAgain();
  // SIGKILL to the postmaster and wait until its children are gone.
  void Kill();
  // 0 when it does not run.
  int postmaster_pid() const;
  const std::string& directory() const { return options_.directory; }
  std::string log_path() const;
  void set_stop_on_destroy(bool stop) { stop_on_destroy_ = stop; }

 private:
  LocalCluster(LocalClusterOptions options, OsUser user);
  absl::Status Prepare();
  absl::Status Initialize() const;
  absl::Status Configure();
  absl::Status Launch();
  absl::Status ChooseSocketFolder();
  void RemoveStaleLocks() const;
  void TakeOver();
  absl::Status PgCtl(const std::vector<std::string>& arguments, const std::string& code) const;
  absl::StatusOr<std::string> Binary(const std::string& name) const;
  std::string data() const;

  LocalClusterOptions options_;
  OsUser user_;
  std::string socket_folder_;
  // The port that names the socket; also the TCP port where one was given.
  int port_ = 0;
  bool stop_on_destroy_ = false;
};

// Where initdb, pg_ctl and pg_dump are: $PGCONVOY_PG_BINDIR, else the highest /usr/lib/postgresql/*/bin, else PATH.
absl::StatusOr<std::string> PostgresBinary(const std::string& name);

}  // namespace pgconvoy::pg
