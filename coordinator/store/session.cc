#include "coordinator/store/session.h"

#include <libpq-fe.h>
#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <map>
#include <pqxx/pqxx>
#include <string_view>

#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::store {
namespace {

// A dead network is noticed within about 5 seconds; libpq's own defaults would wait for hours.
const std::map<std::string, std::string>& DefaultKeywords() {
  static const auto* const keywords = new std::map<std::string, std::string>{
      {"connect_timeout", "10"},    {"keepalives", "1"},       {"keepalives_idle", "3"},
      {"keepalives_interval", "1"}, {"keepalives_count", "3"}, {"tcp_user_timeout", "5000"},
  };
  return *keywords;
}

// No parallel or compiled queries: what looks for a few rows must not take every processor from the leader, and a plan
// that is compiled for a quarter of a second is what a rough estimate leads to.
constexpr char kPinnedSettings[] =
    " -c search_path=pg_catalog,pg_temp -c statement_timeout=60000 -c lock_timeout=10000"
    " -c idle_in_transaction_session_timeout=60000 -c client_min_messages=error"
    " -c max_parallel_workers_per_gather=0 -c jit=off";

// Each statement of a group finds its rows by key, however many they are: plans that are made anew for every group,
// or that scan a table which had been small when they were made, only cost time.
constexpr char kWriterSettings[] =
    " -c plan_cache_mode=force_generic_plan -c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off";

std::string QuoteKeyword(std::string_view value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') {
      quoted += '\\';
    }
    quoted += c;
  }
  return quoted + "'";
}

// libpq's parser, because a connection string may be keywords or a URI.
absl::StatusOr<std::map<std::string, std::string>> ParseConninfo(const std::string& conninfo) {
  char* error = nullptr;
  PQconninfoOption* const options = PQconninfoParse(conninfo.c_str(), &error);
  if (options == nullptr) {
    // The parser's message can quote the string, and with it a password.
    PQfreemem(error);
    return InputError("PGC-STORE-CONNINFO", "the store's connection string cannot be parsed",
                      "use libpq keywords such as \"host=db1 dbname=pgconvoy user=pgconvoy\" or a postgresql:// URI");
  }
  std::map<std::string, std::string> keywords;
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    if (option->val != nullptr) {
      keywords[option->keyword] = option->val;
    }
  }
  PQconninfoFree(options);
  return keywords;
}

absl::StatusOr<std::string> Complete(const std::string& conninfo, Access access) {
  PGC_ASSIGN_OR_RETURN(auto keywords, ParseConninfo(conninfo));
  for (const auto& [keyword, value] : DefaultKeywords()) {
    keywords.emplace(keyword, value);
  }
  const bool read_only = access == Access::kReadOnly;
  keywords["application_name"] = read_only ? kReaderApplication : kLeaderApplication;
  keywords["client_encoding"] = "UTF8";
  keywords["options"] += kPinnedSettings;
  keywords["options"] += read_only ? " -c default_transaction_read_only=on" : kWriterSettings;
  std::string text;
  for (const auto& [keyword, value] : keywords) {
    text += keyword + "=" + QuoteKeyword(value) + " ";
  }
  return text;
}

// The first line without its severity: DETAIL and CONTEXT may hold row data.
std::string PrimaryMessage(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  for (const std::string_view severity : {"ERROR:  ", "FATAL:  ", "PANIC:  "}) {
    if (text.starts_with(severity)) {
      text.remove_prefix(severity.size());
    }
  }
  return Printable(text);
}

absl::Status FromSqlError(const pqxx::sql_error& error) {
  const std::string& state = error.sqlstate();
  const std::string message = "SQLSTATE " + state + ": " + PrimaryMessage(error.what());
  const std::string category = state.substr(0, 2);
  if (category == "21" || category == "22" || category == "23") {
    return MakeError(Verdict::kPermanent, "PGC-STORE-DATA", message);
  }
  if (category == "28" || category == "3D" || category == "3F" || category == "42") {
    return MakeError(Verdict::kOperator, "PGC-STORE-REFUSED", message,
                     "the store's role must own the schema pgconvoy, or have CREATE on the database");
  }
  return MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", message);
}

}  // namespace

namespace {

// The policy is a private member of libpqxx's connection, and made by it: this is the only way out.
thread_local pg_conn* latest_connection = nullptr;

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

}  // namespace

OpenPolicy::handle OpenPolicy::do_startconnect(handle old) {
  latest_connection = old != nullptr ? old : normalconnect(old);
  return latest_connection;
}

Connection::Connection(const std::string& conninfo) : basic_connection_base(conninfo), raw_(latest_connection) {}

void Connection::CopyIn(pqxx::transaction_base& tx, const std::string& statement, const std::string& rows) {
  tx.exec0(statement);
  const bool sent =
      PQputCopyData(raw_, rows.data(), static_cast<int>(rows.size())) == 1 && PQputCopyEnd(raw_, nullptr) == 1;
  Result failed(nullptr, &PQclear);
  while (PGresult* const result = PQgetResult(raw_)) {
    Result owned(result, &PQclear);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
      failed = std::move(owned);
    }
  }
  if (!sent || PQstatus(raw_) == CONNECTION_BAD) {
    throw pqxx::broken_connection("the connection was lost during COPY");
  }
  if (failed != nullptr) {
    const char* const state = PQresultErrorField(failed.get(), PG_DIAG_SQLSTATE);
    throw pqxx::sql_error(PQresultErrorMessage(failed.get()), statement, state);
  }
}

absl::StatusOr<std::unique_ptr<Connection>> Connect(const std::string& conninfo, Access access) {
  PGC_ASSIGN_OR_RETURN(const std::string complete, Complete(conninfo, access));
  try {
    return std::make_unique<Connection>(complete);
  } catch (const std::exception& error) {
    const std::string message = PrimaryMessage(error.what());
    // What libpq says of a value that it cannot take, such as port 70000. No server was asked.
    if (message.starts_with("invalid ")) {
      return InputError("PGC-STORE-CONNINFO", "the store's connection string cannot be used: " + message,
                        "correct --store");
    }
    return MakeError(Verdict::kTransient, "PGC-STORE-UNREACHABLE", "no connection to the store: " + message,
                     "check that the store runs and that --store names it");
  }
}

void SocketGuard::Reset(int socket) {
  const MutexLock lock(mutex_);
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
  descriptor_ = socket < 0 ? -1 : ::dup(socket);
}

void SocketGuard::Shutdown() {
  const MutexLock lock(mutex_);
  if (descriptor_ >= 0) {
    ::shutdown(descriptor_, SHUT_RDWR);
  }
}

absl::Status StatusOfCurrentException() {
  try {
    throw;
  } catch (const pqxx::in_doubt_error&) {
    return MakeError(Verdict::kInDoubt, "PGC-STORE-IN-DOUBT", "the store did not answer COMMIT");
  } catch (const pqxx::statement_completion_unknown&) {
    return MakeError(Verdict::kInDoubt, "PGC-STORE-IN-DOUBT", "the store did not answer COMMIT");
  } catch (const pqxx::sql_error& error) {
    return FromSqlError(error);
  } catch (const std::exception& error) {
    return MakeError(Verdict::kTransient, "PGC-STORE-UNAVAILABLE", PrimaryMessage(error.what()));
  }
}

}  // namespace pgconvoy::store
