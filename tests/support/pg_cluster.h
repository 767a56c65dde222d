// A real PostgreSQL server for one test, in a folder of its own, stopped and removed on destruction.
//
// Its data folder is a copy of one that is made once per machine and server version, /tmp/pgconvoy-test-template-…
// (0.03 s instead of 0.5 s); clusters that live at the same time in a process come from different templates, because
// their system identifiers must differ.
//
// Thread safety: Exec and the queries may be called from any thread, the rest from one.
// Errors: everything throws std::runtime_error, which fails the test.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/pg/connection.h"
#include "common/pg/local_cluster.h"
#include "tests/support/temp_dir.h"

namespace pgconvoy::testing {

struct PgClusterOptions {
  // False: fsync=off and full_page_writes=off. A status store must be durable: pgconvoy refuses any other.
  bool durable = false;
  // Further lines of postgresql.conf, such as "max_connections = 5".
  std::vector<std::string> settings = {};
  // Major version of the server; 0: that of Debian. See HasPostgres.
  int major = 0;
};

// Whether servers of this major version can be started here. Those that Debian lacks are fetched once, which takes a
// network; the reason goes to stderr when they cannot be.
bool HasPostgres(int major);

class PgCluster {
 public:
  explicit PgCluster(const PgClusterOptions& options = {});
  ~PgCluster();
  PgCluster(const PgCluster&) = delete;
  PgCluster& operator=(const PgCluster&) = delete;

  // As superuser postgres over the socket, with the server's own settings. Many statements are allowed; see QueryRows
  // for the value of the last one. NULL is "".
  void Exec(const std::string& database, const std::string& sql) const;
  // The first column of the first row.
  std::string QueryValue(const std::string& database, const std::string& sql) const;
  std::vector<std::vector<std::string>> QueryRows(const std::string& database, const std::string& sql) const;

  // Over TCP with a password, as a worker logs in. `Superuser` is role postgres.
  pg::Endpoint EndpointFor(const std::string& role, const std::string& password, const std::string& database) const;
  pg::Endpoint Superuser(const std::string& database = "postgres") const;
  // "host=127.0.0.1 port=N": the conninfo of a plan's server.
  std::string TcpConninfo() const;
  // host, port, user and dbname of the superuser over the socket, where no password is asked for.
  std::string SocketConninfo(const std::string& database = "postgres") const;
  int port() const { return port_; }
  const std::string& password() const;
  std::string log() const;

  // Fast stop and start.
  void Restart();
  void Stop(const std::string& mode = "fast");
  void Start();
  // SIGKILL to the postmaster; returns when all its children are gone.
  void Kill();

 private:
  TempDir folder_;
  int template_index_;
  int port_ = 0;
  std::unique_ptr<pg::LocalCluster> cluster_;
};

}  // namespace pgconvoy::testing
