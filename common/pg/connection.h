// A PostgreSQL session of the worker: libpq behind absl::Status. The store uses libpqxx; this class exists because
// COPY must run in the same transaction as the ledger row and libpqxx 6.4 is slow or wrong at COPY.
//
// Every session pins its settings in the startup packet and asserts them after login, because the owner of a
// database may have set others (ALTER DATABASE … SET): role, search_path, DateStyle, IntervalStyle, TimeZone,
// extra_float_digits, bytea_output, lc_monetary, xmloption, array_nulls, transform_null_equals, client_encoding,
// standard_conforming_strings, quote_all_identifiers, row_security, client_min_messages, the timeouts,
// client_connection_check_interval, synchronous_commit, default_transaction_*, and where the server knows them
// restrict_nonsystem_relation_kind and transaction_timeout. The login costs one round trip more for it.
// Keepalives and tcp_user_timeout bound the wait on a dead network to about 5 s. A server that takes no COPY data for
// longer than that looks the same to the kernel: CopyIn then fails as TRANSIENT.
//
// Errors: every failure is a status of common/base/error.h made in common/pg/pg_error.cc from the SQLSTATE; message
// is the server's primary message only (DETAIL and CONTEXT may hold row data and are dropped). A connection that broke
// is TRANSIENT; COMMIT without an answer is IN_DOUBT. What data exceptions quote and what a tenant's code raises is
// dropped from the message as well. Beyond the codes of pg_error.h: PGC-PG-CONNINFO, PGC-PG-SETTINGS, PGC-PG-VERSION,
// PGC-PG-LOST, PGC-PG-IN-DOUBT, PGC-PG-ROLLED-BACK (COMMIT after a failed statement), PGC-PG-NUL, PGC-PG-COPY (COPY by
// Exec), PGC-PG-NOT-COPY.
// Thread safety: one thread at a time, but Interrupt() may be called from any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/crypto.h"

struct pg_conn;
struct pg_result;

namespace pgconvoy::pg {

struct Endpoint {
  // libpq keywords without user, password, dbname, options, application_name; one of these is PGC-PG-CONNINFO.
  std::string conninfo;
  std::string user;
  Secret password;
  std::string database;
  // At most 63 bytes; "pgc:<project hash>:<fence>" for sessions of an attempt.
  std::string application_name;

  Endpoint Clone() const;
};

struct SessionOptions {
  int64_t connect_timeout_s = 10;
  // 0: none. Milliseconds.
  int64_t statement_timeout_ms = 0;
  int64_t lock_timeout_ms = 10'000;
  // A session that sits in a transaction without a statement for so long is ended by the server.
  int64_t idle_in_transaction_timeout_ms = 60'000;
  // False only for the load session, whose last commit is synchronous.
  bool synchronous_commit = true;
};

// The rows of one statement. Values are text; nullopt is NULL. Views live as long as the Result.
class Result {
 public:
  explicit Result(pg_result* result);
  ~Result();
  Result(Result&& other) noexcept;
  Result& operator=(Result&& other) noexcept;
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;

  int rows() const;
  int columns() const;
  std::string_view column_name(int column) const;
  std::optional<std::string_view> Get(int row, int column) const;
  // Value as string; "" for NULL.
  std::string Text(int row, int column) const;
  // Value as integer; 0 for NULL. The query must return an integer there.
  int64_t Int(int row, int column) const;
  bool Bool(int row, int column) const;
  // Rows that INSERT, UPDATE, DELETE or COPY touched.
  int64_t affected() const;
  // For common/pg itself.
  pg_result* raw() const { return result_; }

 private:
  pg_result* result_;
};

// A bound parameter: text or NULL.
using Param = std::optional<std::string>;

class Connection {
 public:
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const Endpoint& endpoint, const SessionOptions& options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // One statement, parameters as $1…. Without parameters the simple protocol is used.
  absl::StatusOr<Result> Exec(const std::string& sql, const std::vector<Param>& params = {});
  // Any number of statements in one string, simple protocol, results dropped.
  absl::Status ExecScript(const std::string& sql);

  // One statement without parameters that is planned at its first use in this session and then kept under `name`: for
  // what takes longer to plan than to run. The same name always stands for the same statement.
  absl::StatusOr<Result> ExecPrepared(const std::string& name, const std::string& sql);

  // COPY … TO STDOUT. `sink` gets one row at a time, with its newline; its error cancels the COPY and is returned. The
  // session stays usable; a transaction that was open has failed.
  absl::Status CopyOut(const std::string& sql, const std::function<absl::Status(std::string_view row)>& sink);

  // COPY … FROM STDIN. `source` gives the next piece (any cut) or an empty view at the end; its error aborts the COPY
  // and is returned.
  // Returns the rows that the server says it took.
  absl::StatusOr<int64_t> CopyIn(const std::string& sql,
                                 const std::function<absl::StatusOr<std::string_view>()>& source);

  absl::Status Begin(const std::string& modes = "");
  // BEGIN and a first statement without parameters in one round trip.
  absl::StatusOr<Result> BeginWith(const std::string& statement);
  // IN_DOUBT when the answer is lost. A session that keeps nothing rolls back.
  absl::Status Commit();
  // Never fails visibly: a broken connection has rolled back.
  void Rollback();

  // From now on a server that says nothing for so long while it is waited for breaks the connection: TRANSIENT
  // PGC-PG-SILENT, or what a lost COMMIT gives. 0, as it is at first: it is waited for without end.
  void SetSilenceLimit(int64_t ms) { silence_limit_ms_ = ms; }

  // From now on nothing that runs here is kept: every transaction is READ ONLY and ends with ROLLBACK, and a statement
  // outside of one gets one of its own, in the same round trip. For sessions that look at other people's tables: the
  // planner runs IMMUTABLE functions that the owner of a table has put into its indexes, with the rights of whoever
  // asks. So they can change nothing, not even the settings of the session for the statement after them. CopyIn and
  // ExecScript with more than one statement fail outside of a transaction.
  void KeepNothing() { keeps_nothing_ = true; }

  // Has the server parse one statement and look up what it names, and neither plan nor run it.
  absl::Status Analyze(const std::string& sql);

  // Sets application_name, for good. An error says that the session is dead.
  absl::Status Rename(const std::string& application_name);

  // Asks the server to cancel what runs; safe from another thread, does not wait for the effect.
  void Interrupt();

  bool broken() const;
  int backend_pid() const;
  // 150020 for 15.20.
  int server_version() const;
  pg_conn* raw() { return conn_; }

 private:
  explicit Connection(pg_conn* conn);
  struct CancelHandle;
  bool in_transaction() const;
  pg_conn* conn_;
  std::unique_ptr<CancelHandle> cancel_;
  int64_t silence_limit_ms_ = 0;
  bool keeps_nothing_ = false;
  std::set<std::string> prepared_;
};

// Rolls back on destruction unless Commit() succeeded or was in doubt.
class Transaction {
 public:
  static absl::StatusOr<std::unique_ptr<Transaction>> Begin(Connection& connection, const std::string& modes = "");
  // With a first statement, in one round trip; its rows go to `result`.
  static absl::StatusOr<std::unique_ptr<Transaction>> BeginWith(Connection& connection,
                                                                const std::string& statement,
                                                                Result& result);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  absl::Status Commit();
  Connection& connection() { return connection_; }

 private:
  explicit Transaction(Connection& connection);
  Connection& connection_;
  bool open_ = true;
};

}  // namespace pgconvoy::pg
