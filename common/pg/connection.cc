#include "common/pg/connection.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/base/text.h"
#include "common/pg/pg_error.h"
#include "common/pg/startup.h"

namespace pgconvoy::pg {
namespace {

// Measured: 64 KiB per PQputCopyData is 6 % faster than a call per row, 1 MiB is slower than either.
constexpr size_t kCopyPieceBytes = 64 << 10;

constexpr char kBeginToRollBack[] = "BEGIN READ ONLY";
constexpr char kRename[] = "SELECT pg_catalog.set_config('application_name', $1, false)";

// A connection, and how long its server may be silent while it is waited for: libpq's own blocking calls would wait for
// ever for a server that has stopped without closing its sockets.
struct Link {
  PGconn* conn;
  // 0: without end.
  int64_t limit_ms;
  // Set when the limit was passed; the connection is broken then.
  bool silent = false;

  // Waits for a sign of life and takes it in. False when the connection is broken.
  bool Await() {
    pollfd fd{PQsocket(conn), POLLIN, 0};
    if (fd.fd < 0) {
      return false;
    }
    int ready = 0;
    do {
      ready = ::poll(&fd, 1, limit_ms == 0 ? -1 : static_cast<int>(limit_ms));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) {
      silent = true;
      ::shutdown(fd.fd, SHUT_RDWR);
    }
    return PQconsumeInput(conn) == 1;
  }

  // As PQgetResult.
  PGresult* NextResult() {
    while (PQisBusy(conn) != 0 && Await()) {
    }
    return PQgetResult(conn);
  }

  // As PQgetCopyData.
  int NextRow(char** row) {
    for (;;) {
      const int length = PQgetCopyData(conn, row, /*async=*/1);
      if (length != 0) {
        return length;
      }
      if (!Await()) {
        return -2;
      }
    }
  }
};

std::string Field(const PGresult* result, int field) {
  const char* const value = PQresultErrorField(result, field);
  return value == nullptr ? "" : value;
}

absl::Status Lost(const Link& link, std::string_view doing) {
  if (link.silent) {
    return MakeError(
        Verdict::kTransient, "PGC-PG-SILENT",
        "the server was silent for " + std::to_string(link.limit_ms) + " ms during " + std::string(doing),
        "look at what the server does; execution.phase_timeout_ms of the plan is how long it may be silent");
  }
  return MakeError(Verdict::kTransient, "PGC-PG-LOST", "the connection broke during " + std::string(doing));
}

// Names of tables and constraints are no row data.
std::string WithNames(const PGresult* result, std::string message) {
  const std::string table = Field(result, PG_DIAG_TABLE_NAME);
  const std::string constraint = Field(result, PG_DIAG_CONSTRAINT_NAME);
  if (!table.empty() && message.find(table) == std::string::npos) {
    message += " (table " + Field(result, PG_DIAG_SCHEMA_NAME) + "." + table + ")";
  }
  if (!constraint.empty() && message.find(constraint) == std::string::npos) {
    message += " (constraint " + constraint + ")";
  }
  return message;
}

absl::Status ErrorOf(const Link& link, const PGresult* result, std::string_view doing) {
  const std::string state = Field(result, PG_DIAG_SQLSTATE);
  if (state.empty()) {
    return Lost(link, doing);
  }
  return FromSqlState(state, WithNames(result, Field(result, PG_DIAG_MESSAGE_PRIMARY)));
}

bool Succeeded(const PGresult* result) {
  const ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

// The session is over after these, so an error answer to COMMIT does not say what became of the transaction.
bool EndsSession(const PGresult* result) {
  const std::string severity = Field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity != "ERROR";
}

// Ends a COPY that `status` says has begun: refuses to send, or discards what comes.
void LeaveCopy(Link& link, ExecStatusType status) {
  if (status == PGRES_COPY_IN) {
    PQputCopyEnd(link.conn, "given up by the client");
  } else if (status == PGRES_COPY_OUT) {
    char* row = nullptr;
    while (link.NextRow(&row) > 0) {
      PQfreemem(row);
    }
  }
}

// Reads all results that are left; the first error among them.
absl::Status Drain(Link& link, int64_t* affected = nullptr) {
  absl::Status status;
  for (;;) {
    const Result result(link.NextResult());
    if (result.raw() == nullptr) {
      return status;
    }
    const ExecStatusType kind = PQresultStatus(result.raw());
    if (kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT) {
      LeaveCopy(link, kind);
    } else if (!Succeeded(result.raw())) {
      status.Update(ErrorOf(link, result.raw(), "COPY"));
    } else if (affected != nullptr) {
      *affected = result.affected();
    }
    // A lost connection reports itself for ever.
    if (PQstatus(link.conn) == CONNECTION_BAD) {
      return status.ok() ? Lost(link, "COPY") : status;
    }
  }
}

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

absl::Status CheckText(const std::string& sql, const std::vector<Param>& params) {
  if (HasNul(sql) || std::any_of(params.begin(), params.end(), [](const Param& p) { return p && HasNul(*p); })) {
    return InputError("PGC-PG-NUL", "a statement or parameter holds a NUL byte");
  }
  return absl::OkStatus();
}

bool SendExtended(PGconn* conn, const std::string& sql, const std::vector<Param>& params) {
  std::vector<const char*> values;
  for (const Param& param : params) {
    values.push_back(param ? param->c_str() : nullptr);
  }
  return PQsendQueryParams(conn, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                           nullptr, 0) == 1;
}

bool Send(PGconn* conn, const std::string& sql, const std::vector<Param>& params) {
  return params.empty() ? PQsendQuery(conn, sql.c_str()) == 1 : SendExtended(conn, sql, params);
}

// As PQexec and PQexecParams: the last result, or the one that begins a COPY. A null one says that nothing came.
Result Run(Link& link, const std::string& sql, const std::vector<Param>& params) {
  Result last(nullptr);
  if (!Send(link.conn, sql, params)) {
    return last;
  }
  while (PGresult* const next = link.NextResult()) {
    last = Result(next);
    const ExecStatusType status = PQresultStatus(next);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || PQstatus(link.conn) == CONNECTION_BAD) {
      break;
    }
  }
  return last;
}

// The answer to one statement in a transaction of its own that is rolled back; if BEGIN fails, to that. A failed
// statement ends its pipeline, so ROLLBACK has another.
Result RunAndRollBack(Link& link, const std::string& sql, const std::vector<Param>& params) {
  Result answer(nullptr);
  PGconn* const conn = link.conn;
  if (PQenterPipelineMode(conn) != 1) {
    return answer;
  }
  constexpr int kPipelines = 2;
  const bool sent = SendExtended(conn, kBeginToRollBack, {}) && SendExtended(conn, sql, params) &&
                    PQpipelineSync(conn) == 1 && SendExtended(conn, "ROLLBACK", {}) && PQpipelineSync(conn) == 1;
  bool begun = false;
  for (int ended = 0; sent && ended < kPipelines && PQstatus(conn) != CONNECTION_BAD;) {
    Result next(link.NextResult());
    const ExecStatusType status = next.raw() == nullptr ? PGRES_EMPTY_QUERY : PQresultStatus(next.raw());
    if (status == PGRES_PIPELINE_SYNC) {
      ++ended;
    } else if (next.raw() != nullptr && status != PGRES_PIPELINE_ABORTED && ended == 0 && answer.raw() == nullptr) {
      if (begun || !Succeeded(next.raw())) {
        answer = std::move(next);
      }
      begun = true;
    }
  }
  PQexitPipelineMode(conn);
  return answer;
}

// Runs `sql`, which must start a COPY in the direction of `expected`.
absl::Status StartCopy(Link& link, const std::string& sql, ExecStatusType expected) {
  PGC_RETURN_IF_ERROR(CheckText(sql, {}));
  const Result result = Run(link, sql, {});
  const ExecStatusType status = PQresultStatus(result.raw());
  if (status == expected) {
    return absl::OkStatus();
  }
  if (status != PGRES_COPY_IN && status != PGRES_COPY_OUT && !Succeeded(result.raw())) {
    return ErrorOf(link, result.raw(), "COPY");
  }
  LeaveCopy(link, status);
  (void)Drain(link);
  return InputError("PGC-PG-NOT-COPY", "the statement is not a COPY of the expected direction");
}

// Collects pieces of any size and hands them to libpq in pieces of the best size.
class CopyBuffer {
 public:
  explicit CopyBuffer(PGconn* conn) : conn_(conn) { pending_.reserve(kCopyPieceBytes); }

  // False when libpq takes no more; Drain() then says why.
  bool Add(std::string_view piece) {
    while (!piece.empty()) {
      const size_t taken = std::min(piece.size(), kCopyPieceBytes - pending_.size());
      // A whole piece needs no copy on the way.
      if (pending_.empty() && taken == kCopyPieceBytes) {
        if (!Put(piece.substr(0, taken))) {
          return false;
        }
      } else {
        pending_.append(piece.substr(0, taken));
        if (pending_.size() == kCopyPieceBytes && !Flush()) {
          return false;
        }
      }
      piece.remove_prefix(taken);
    }
    return true;
  }

  bool Flush() {
    const bool ok = pending_.empty() || Put(pending_);
    pending_.clear();
    return ok;
  }

 private:
  bool Put(std::string_view data) { return PQputCopyData(conn_, data.data(), static_cast<int>(data.size())) == 1; }

  PGconn* conn_;
  std::string pending_;
};

}  // namespace

Endpoint Endpoint::Clone() const { return {conninfo, user, password.Clone(), database, application_name}; }

Result::Result(pg_result* result) : result_(result) {}

Result::~Result() { PQclear(result_); }

Result::Result(Result&& other) noexcept : result_(std::exchange(other.result_, nullptr)) {}

Result& Result::operator=(Result&& other) noexcept {
  std::swap(result_, other.result_);
  return *this;
}

int Result::rows() const { return PQntuples(result_); }

int Result::columns() const { return PQnfields(result_); }

std::string_view Result::column_name(int column) const {
  const char* const name = PQfname(result_, column);
  return name == nullptr ? "" : name;
}

std::optional<std::string_view> Result::Get(int row, int column) const {
  if (row < 0 || row >= rows() || column < 0 || column >= columns() || PQgetisnull(result_, row, column) != 0) {
    return std::nullopt;
  }
  return std::string_view(PQgetvalue(result_, row, column), static_cast<size_t>(PQgetlength(result_, row, column)));
}

std::string Result::Text(int row, int column) const { return std::string(Get(row, column).value_or("")); }

int64_t Result::Int(int row, int column) const {
  const std::string_view text = Get(row, column).value_or("0");
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

bool Result::Bool(int row, int column) const { return Get(row, column) == "t"; }

int64_t Result::affected() const { return ParseDecimal(PQcmdTuples(result_)).value_or(0); }

struct Connection::CancelHandle {
  explicit CancelHandle(PGconn* conn) : cancel(PQgetCancel(conn)) {}
  ~CancelHandle() { PQfreeCancel(cancel); }
  CancelHandle(const CancelHandle&) = delete;
  CancelHandle& operator=(const CancelHandle&) = delete;
  PGcancel* cancel;
};

Connection::Connection(pg_conn* conn) : conn_(conn), cancel_(std::make_unique<CancelHandle>(conn)) {}

Connection::~Connection() { PQfinish(conn_); }

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const Endpoint& endpoint,
                                                             const SessionOptions& options) {
  PGC_ASSIGN_OR_RETURN(pg_conn* const conn, Connect(endpoint, options));
  return std::unique_ptr<Connection>(new Connection(conn));
}

absl::StatusOr<Result> Connection::Exec(const std::string& sql, const std::vector<Param>& params) {
  PGC_RETURN_IF_ERROR(CheckText(sql, params));
  Link link{conn_, silence_limit_ms_};
  Result result = keeps_nothing_ && !in_transaction() ? RunAndRollBack(link, sql, params) : Run(link, sql, params);
  const ExecStatusType status = PQresultStatus(result.raw());
  if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
    LeaveCopy(link, status);
    (void)Drain(link);
    return InputError("PGC-PG-COPY", "COPY with STDIN or STDOUT cannot be run as a plain statement");
  }
  if (!Succeeded(result.raw())) {
    return ErrorOf(link, result.raw(), "a statement");
  }
  return result;
}

absl::StatusOr<Result> Connection::ExecPrepared(const std::string& name, const std::string& sql) {
  if (!prepared_.contains(name)) {
    PGC_RETURN_IF_ERROR(ExecScript("PREPARE " + name + " AS " + sql));
    prepared_.insert(name);
  }
  return Exec("EXECUTE " + name);
}

absl::Status Connection::ExecScript(const std::string& sql) { return Exec(sql).status(); }

absl::Status Connection::CopyOut(const std::string& sql,
                                 const std::function<absl::Status(std::string_view row)>& sink) {
  std::unique_ptr<Transaction> own;
  if (keeps_nothing_ && !in_transaction()) {
    PGC_ASSIGN_OR_RETURN(own, Transaction::Begin(*this));
  }
  Link link{conn_, silence_limit_ms_};
  PGC_RETURN_IF_ERROR(StartCopy(link, sql, PGRES_COPY_OUT));
  for (;;) {
    char* row = nullptr;
    const int length = link.NextRow(&row);
    if (length <= 0) {
      return length == -1 ? Drain(link) : Lost(link, "COPY");
    }
    absl::Status status = sink(std::string_view(row, static_cast<size_t>(length)));
    PQfreemem(row);
    if (!status.ok()) {
      Interrupt();
      LeaveCopy(link, PGRES_COPY_OUT);
      (void)Drain(link);
      return status;
    }
  }
}

absl::StatusOr<int64_t> Connection::CopyIn(const std::string& sql,
                                           const std::function<absl::StatusOr<std::string_view>()>& source) {
  Link link{conn_, silence_limit_ms_};
  PGC_RETURN_IF_ERROR(StartCopy(link, sql, PGRES_COPY_IN));
  CopyBuffer buffer(conn_);
  for (;;) {
    const absl::StatusOr<std::string_view> piece = source();
    if (!piece.ok()) {
      LeaveCopy(link, PGRES_COPY_IN);
      (void)Drain(link);
      return piece.status();
    }
    if (piece->empty() || !buffer.Add(*piece)) {
      break;
    }
  }
  const bool sent = buffer.Flush() && PQputCopyEnd(conn_, nullptr) == 1;
  int64_t rows = 0;
  PGC_RETURN_IF_ERROR(Drain(link, &rows));
  return sent ? absl::StatusOr<int64_t>(rows) : absl::StatusOr<int64_t>(Lost(link, "COPY"));
}

bool Connection::in_transaction() const { return PQtransactionStatus(conn_) != PQTRANS_IDLE; }

absl::Status Connection::Begin(const std::string& modes) {
  Link link{conn_, silence_limit_ms_};
  const Result begun = Run(link, "BEGIN " + modes + (keeps_nothing_ ? " READ ONLY" : ""), {});
  return Succeeded(begun.raw()) ? absl::OkStatus() : ErrorOf(link, begun.raw(), "a statement");
}

absl::StatusOr<Result> Connection::BeginWith(const std::string& statement) {
  if (!keeps_nothing_) {
    return Exec("BEGIN; " + statement);
  }
  PGC_RETURN_IF_ERROR(Begin());
  return Exec(statement);
}

absl::Status Connection::Analyze(const std::string& sql) {
  PGC_RETURN_IF_ERROR(CheckText(sql, {}));
  Link link{conn_, silence_limit_ms_};
  if (PQsendPrepare(conn_, "", sql.c_str(), 0, nullptr) != 1) {
    return Lost(link, "a statement");
  }
  Result last(nullptr);
  while (PGresult* const next = link.NextResult()) {
    last = Result(next);
    if (PQstatus(conn_) == CONNECTION_BAD) {
      break;
    }
  }
  return Succeeded(last.raw()) ? absl::OkStatus() : ErrorOf(link, last.raw(), "a statement");
}

absl::Status Connection::Rename(const std::string& application_name) {
  Link link{conn_, silence_limit_ms_};
  const Result renamed = Run(link, kRename, {application_name});
  return Succeeded(renamed.raw()) ? absl::OkStatus() : ErrorOf(link, renamed.raw(), "a statement");
}

absl::Status Connection::Commit() {
  Link link{conn_, silence_limit_ms_};
  if (broken()) {
    return Lost(link, "a transaction, before COMMIT");
  }
  if (keeps_nothing_) {
    Rollback();
    return broken() ? Lost(link, "a transaction that is rolled back") : absl::OkStatus();
  }
  const Result result = Run(link, "COMMIT", {});
  if (PQresultStatus(result.raw()) == PGRES_COMMAND_OK) {
    return std::string_view(PQcmdStatus(result.raw())) == "COMMIT"
               ? absl::OkStatus()
               : MakeError(Verdict::kPermanent, "PGC-PG-ROLLED-BACK",
                           "COMMIT rolled back, because a statement before it had failed");
  }
  if (EndsSession(result.raw())) {
    return MakeError(Verdict::kInDoubt, "PGC-PG-IN-DOUBT", "the answer to COMMIT is lost");
  }
  return ErrorOf(link, result.raw(), "COMMIT");
}

void Connection::Rollback() {
  if (!broken() && in_transaction()) {
    Link link{conn_, silence_limit_ms_};
    const Result ignored = Run(link, "ROLLBACK", {});
  }
}

void Connection::Interrupt() {
  std::array<char, 256> error{};
  PQcancel(cancel_->cancel, error.data(), static_cast<int>(error.size()));
}

bool Connection::broken() const { return PQstatus(conn_) == CONNECTION_BAD; }

int Connection::backend_pid() const { return PQbackendPID(conn_); }

int Connection::server_version() const { return PQserverVersion(conn_); }

absl::StatusOr<std::unique_ptr<Transaction>> Transaction::Begin(Connection& connection, const std::string& modes) {
  PGC_RETURN_IF_ERROR(connection.Begin(modes));
  return std::unique_ptr<Transaction>(new Transaction(connection));
}

absl::StatusOr<std::unique_ptr<Transaction>> Transaction::BeginWith(Connection& connection,
                                                                    const std::string& statement,
                                                                    Result& result) {
  auto first = connection.BeginWith(statement);
  if (!first.ok()) {
    connection.Rollback();
    return first.status();
  }
  result = *std::move(first);
  return std::unique_ptr<Transaction>(new Transaction(connection));
}

Transaction::Transaction(Connection& connection) : connection_(connection) {}

Transaction::~Transaction() {
  if (open_) {
    connection_.Rollback();
  }
}

absl::Status Transaction::Commit() {
  return PGC_UNDER_FAILPOINT("pg.commit", [this] {
    // Whatever the answer is, no transaction is left that a ROLLBACK could end.
    open_ = false;
    return connection_.Commit();
  });
}

}  // namespace pgconvoy::pg
