// Connections of the coordinator to its store, and the one place where libpqxx's exceptions become our errors.
//
// Thread safety: one thread at a time per connection, but for SocketGuard.
// Errors, by code:
//   PGC-STORE-UNREACHABLE  TRANSIENT  no connection
//   PGC-STORE-UNAVAILABLE  TRANSIENT  a connection or the server failed; nothing was committed
//   PGC-STORE-IN-DOUBT     IN_DOUBT   COMMIT was sent and not answered
//   PGC-STORE-DATA         PERMANENT  the server refused a value (SQLSTATE class 21, 22 or 23); nothing was committed
//   PGC-STORE-REFUSED      OPERATOR   login, privileges or a missing object
// Messages hold the SQLSTATE and the server's primary message only.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/mutex.h"

// libpqxx 6's connection is a typedef of a template, which cannot be declared without its header.
#include <pqxx/connection>
#include <pqxx/transaction_base>

struct pg_conn;

namespace pgconvoy::store {

// Remembers libpq's connection below libpqxx's, which libpqxx does not show.
class OpenPolicy : public pqxx::connectionpolicy {
 public:
  using connectionpolicy::connectionpolicy;
  handle do_startconnect(handle old) override;
};

class Connection : public pqxx::basic_connection_base<OpenPolicy> {
 public:
  explicit Connection(const std::string& conninfo);
  // Rows of a binary COPY (binary_array.h) inside the transaction. `statement`: "COPY … FROM STDIN (FORMAT binary)".
  // Throws as libpqxx does. Only while the connection is the one that was made first: libpqxx connects anew silently.
  void CopyIn(pqxx::transaction_base& tx, const std::string& statement, const std::string& rows);

 private:
  pg_conn* const raw_;
};

enum class Access { kReadWrite, kReadOnly };

// Name under which the leader's session is seen in pg_stat_activity; a new leader ends the others of that name.
inline constexpr char kLeaderApplication[] = "pgconvoy-coordinator";
inline constexpr char kReaderApplication[] = "pgconvoy-coordinator-reader";

// Keepalives, timeouts and names are added to `conninfo` (keywords or URI) where it does not set them itself.
absl::StatusOr<std::unique_ptr<Connection>> Connect(const std::string& conninfo, Access access);

// Breaks a connection under the call that waits on it, which then fails. It holds a second descriptor of the
// connection's socket that is closed by itself alone, so that Shutdown() cannot hit a descriptor which libpq has closed
// and somebody else has opened in the meantime.
// Thread safety: any thread.
class SocketGuard {
 public:
  ~SocketGuard() { Reset(-1); }

  // Guards this socket from now on; -1 for none.
  void Reset(int socket);
  void Shutdown();

 private:
  Mutex mutex_;
  int descriptor_ ABSL_GUARDED_BY(mutex_) = -1;
};

// The error behind the exception that is being handled. To be called in a catch block only.
absl::Status StatusOfCurrentException();

// Runs `body`, which returns a Status or StatusOr, and turns what it throws into a status.
template <typename Body>
auto Guarded(Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (...) {
    return StatusOfCurrentException();
  }
}

}  // namespace pgconvoy::store
