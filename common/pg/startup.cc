#include "common/pg/startup.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/pg/pg_error.h"

namespace pgconvoy::pg {
namespace {

using Conn = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Settings = std::vector<std::pair<std::string, std::string>>;
using SteadyClock = std::chrono::steady_clock;

// The startup packet beats ALTER DATABASE … SET and ALTER ROLE … SET, which a tenant may have used. Values are
// written as current_setting() shows them.
constexpr std::pair<const char*, const char*> kPinned[] = {
    {"role", "none"},
    {"search_path", "pg_catalog,pg_temp"},
    {"DateStyle", "ISO, MDY"},
    {"IntervalStyle", "postgres"},
    {"TimeZone", "UTC"},
    {"extra_float_digits", "1"},
    {"bytea_output", "hex"},
    {"lc_monetary", "C"},
    {"xmloption", "content"},
    {"array_nulls", "on"},
    {"transform_null_equals", "off"},
    {"standard_conforming_strings", "on"},
    {"quote_all_identifiers", "off"},
    {"row_security", "off"},
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_read_only", "off"},
    {"default_transaction_deferrable", "off"},
    {"client_min_messages", "error"},
    {"idle_session_timeout", "0"},
    // Questions about many tables at once look expensive, and compiling them took half of a source's processor time.
    {"jit", "off"},
    // One that is not there would keep every login out.
    {"local_preload_libraries", ""},
    // A backend whose client has died stops within a second instead of finishing its statement.
    {"client_connection_check_interval", "1s"},
};

// Sent but not asserted: on a unix socket the server shows 0.
constexpr std::pair<const char*, const char*> kServerKeepalives[] = {
    {"tcp_keepalives_idle", "3"},
    {"tcp_keepalives_interval", "1"},
    {"tcp_keepalives_count", "3"},
};

// Not every server that is supported knows these, so the startup packet cannot carry them. The answer to kCheckSql
// proves them: set_config returns what holds now.
constexpr std::pair<const char*, const char*> kPinnedWhereKnown[] = {
    {"restrict_nonsystem_relation_kind", "view,foreign-table"},
    {"transaction_timeout", "0"},
};

// No operator occurs, because the search path is what is being proven.
constexpr char kCheckSql[] =
    "SELECT pinned.name, pg_catalog.current_setting(pinned.name)"
    " FROM pg_catalog.unnest($1::pg_catalog.text[]) AS pinned(name)"
    " UNION ALL"
    " SELECT late.name, CASE WHEN pg_catalog.current_setting(late.name, true) IS NULL THEN NULL"
    "   ELSE pg_catalog.set_config(late.name, late.value, false) END"
    " FROM (VALUES ('restrict_nonsystem_relation_kind', 'view,foreign-table'), ('transaction_timeout', '0'))"
    "   AS late(name, value)"
    " UNION ALL SELECT 'current_user', current_user::pg_catalog.text"
    " UNION ALL SELECT 'session_user', session_user::pg_catalog.text";

constexpr std::array kReservedKeywords = {"user", "password", "dbname", "options", "application_name"};

// As current_setting() shows a time: in the largest unit that divides it.
std::string ShowMs(int64_t ms) {
  constexpr std::pair<int64_t, const char*> kUnits[] = {
      {86'400'000, "d"}, {3'600'000, "h"}, {60'000, "min"}, {1000, "s"}};
  if (ms == 0) {
    return "0";
  }
  for (const auto& [factor, unit] : kUnits) {
    if (ms % factor == 0) {
      return std::to_string(ms / factor) + unit;
    }
  }
  return std::to_string(ms) + "ms";
}

Settings PinnedSettings(const SessionOptions& options) {
  Settings settings(std::begin(kPinned), std::end(kPinned));
  settings.emplace_back("synchronous_commit", options.synchronous_commit ? "on" : "off");
  settings.emplace_back("statement_timeout", ShowMs(options.statement_timeout_ms));
  settings.emplace_back("lock_timeout", ShowMs(options.lock_timeout_ms));
  settings.emplace_back("idle_in_transaction_session_timeout", ShowMs(options.idle_in_transaction_timeout_ms));
  return settings;
}

void AppendOption(std::string& options, std::string_view name, std::string_view value) {
  options.append(options.empty() ? "-c " : " -c ").append(name).push_back('=');
  for (const char c : value) {
    if (c == ' ' || c == '\\') {
      options.push_back('\\');
    }
    options.push_back(c);
  }
}

std::string StartupOptions(const Settings& pinned) {
  std::string options;
  for (const auto& [name, value] : pinned) {
    AppendOption(options, name, value);
  }
  for (const auto& [name, value] : kServerKeepalives) {
    AppendOption(options, name, value);
  }
  return options;
}

// What libpq says about a bad conninfo repeats parts of it, so it is not passed on.
absl::StatusOr<std::map<std::string, std::string>> ParseConninfo(const std::string& conninfo) {
  char* message = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(
      PQconninfoParse(conninfo.c_str(), &message), &PQconninfoFree);
  PQfreemem(message);
  if (parsed == nullptr || conninfo.find('\0') != std::string::npos) {
    return InputError("PGC-PG-CONNINFO", "the conninfo of the server cannot be parsed", "write keyword=value pairs");
  }
  std::map<std::string, std::string> keywords;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) {
      keywords[option->keyword] = option->val;
    }
  }
  for (const char* const reserved : kReservedKeywords) {
    if (keywords.contains(reserved)) {
      return InputError("PGC-PG-CONNINFO", std::string("conninfo must not set ") + reserved);
    }
  }
  return keywords;
}

void AddMandatory(const Endpoint& endpoint, const Settings& pinned, std::map<std::string, std::string>& keywords) {
  keywords["user"] = endpoint.user;
  keywords["dbname"] = endpoint.database;
  keywords["application_name"] = endpoint.application_name;
  keywords["client_encoding"] = "UTF8";
  keywords["options"] = StartupOptions(pinned);
  keywords.try_emplace("gssencmode", "disable");
  // Measured: together they end the wait on a dead network after 5.3 s; the user timeout alone does not.
  keywords["keepalives"] = "1";
  keywords["keepalives_idle"] = "3";
  keywords["keepalives_interval"] = "1";
  keywords["keepalives_count"] = "3";
  keywords["tcp_user_timeout"] = "5000";
}

// The password goes straight from the Secret to libpq.
Conn StartConnect(const std::map<std::string, std::string>& keywords, const Secret& password) {
  std::vector<const char*> names;
  std::vector<const char*> values;
  for (const auto& [name, value] : keywords) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.insert(names.end(), {"password", nullptr});
  values.insert(values.end(), {password.Reveal().c_str(), nullptr});
  return Conn(PQconnectStartParams(names.data(), values.data(), /*expand_dbname=*/0), &PQfinish);
}

// False when the deadline passes first.
bool WaitForSocket(PGconn* conn, PostgresPollingStatusType direction, SteadyClock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now()).count();
    pollfd fd = {PQsocket(conn), static_cast<short>(direction == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    const int ready = poll(&fd, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready >= 0 || errno != EINTR) {
      return ready > 0;
    }
  }
}

// Not PQconnectdb: only a connection that is being opened by hand reports the SQLSTATE of a refusal, and without it
// the server's language would decide whether a wrong password is tried again.
absl::Status FinishConnect(PGconn* conn, const SessionOptions& options) {
  PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
  PQsetNoticeReceiver(
      conn, [](void*, const PGresult*) {}, nullptr);
  const auto deadline = SteadyClock::now() + std::chrono::seconds(options.connect_timeout_s);
  PostgresPollingStatusType step = PGRES_POLLING_WRITING;
  while (PQstatus(conn) != CONNECTION_BAD && step != PGRES_POLLING_FAILED && step != PGRES_POLLING_OK) {
    if (!WaitForSocket(conn, step, deadline)) {
      return MakeError(Verdict::kTransient, "PGC-PG-UNREACHABLE",
                       "no login within " + std::to_string(options.connect_timeout_s) + " s");
    }
    step = PQconnectPoll(conn);
  }
  return PQstatus(conn) == CONNECTION_OK ? absl::OkStatus() : FromConnectFailure(PQerrorMessage(conn));
}

std::string ArrayOfNames(const Settings& pinned) {
  std::vector<std::string> names;
  for (const auto& setting : pinned) {
    names.push_back(setting.first);
  }
  return "{" + Join(names, ",") + "}";
}

absl::Status WrongSetting(const std::string& name, const std::string& actual) {
  return MakeError(Verdict::kPermanent, "PGC-PG-SETTINGS",
                   "setting " + name + " is '" + Printable(actual) + "' in spite of being pinned",
                   "connect to PostgreSQL itself, not through a pooler that drops startup options");
}

absl::Status CompareSettings(const Result& answer, const std::map<std::string, std::string>& expected) {
  if (answer.rows() != static_cast<int>(expected.size())) {
    return WrongSetting("(all)", "not reported");
  }
  for (int row = 0; row < answer.rows(); ++row) {
    const std::string name = answer.Text(row, 0);
    const auto value = answer.Get(row, 1);
    const bool unknown_here = !value && std::any_of(std::begin(kPinnedWhereKnown), std::end(kPinnedWhereKnown),
                                                    [&](const auto& late) { return name == late.first; });
    if (!unknown_here && value != expected.at(name)) {
      return WrongSetting(name, answer.Text(row, 1));
    }
  }
  return absl::OkStatus();
}

absl::Status ProveSettings(PGconn* conn, const Settings& pinned) {
  const std::string names = ArrayOfNames(pinned);
  const char* const values[] = {names.c_str()};
  Result answer(PQexecParams(conn, kCheckSql, 1, nullptr, values, nullptr, nullptr, 0));
  PGresult* const raw = answer.raw();
  if (PQresultStatus(raw) != PGRES_TUPLES_OK) {
    const char* const state = PQresultErrorField(raw, PG_DIAG_SQLSTATE);
    return state == nullptr ? MakeError(Verdict::kTransient, "PGC-PG-LOST", "the connection broke after login")
                            : FromSqlState(state, PQresultErrorField(raw, PG_DIAG_MESSAGE_PRIMARY));
  }
  std::map<std::string, std::string> expected(pinned.begin(), pinned.end());
  expected.insert(std::begin(kPinnedWhereKnown), std::end(kPinnedWhereKnown));
  expected.emplace("current_user", PQuser(conn));
  expected.emplace("session_user", PQuser(conn));
  return CompareSettings(answer, expected);
}

}  // namespace

std::string PinnedOptions() { return StartupOptions(PinnedSettings({})); }

absl::Status CheckServerVersion(int version, std::string_view name) {
  if (version >= kMinServerVersion) {
    return absl::OkStatus();
  }
  return MakeError(Verdict::kPermanent, "PGC-PG-VERSION", "the server is PostgreSQL " + Printable(name),
                   "PostgreSQL 14 or newer is needed");
}

absl::StatusOr<pg_conn*> Connect(const Endpoint& endpoint, const SessionOptions& options) {
  PGC_ASSIGN_OR_RETURN(auto keywords, ParseConninfo(endpoint.conninfo));
  const Settings pinned = PinnedSettings(options);
  AddMandatory(endpoint, pinned, keywords);
  Conn conn = StartConnect(keywords, endpoint.password);
  if (conn == nullptr) {
    return MakeError(Verdict::kTransient, "PGC-PG-MEMORY", "no memory for a connection");
  }
  PGC_RETURN_IF_ERROR(FinishConnect(conn.get(), options));
  const char* const version = PQparameterStatus(conn.get(), "server_version");
  PGC_RETURN_IF_ERROR(CheckServerVersion(PQserverVersion(conn.get()), version == nullptr ? "(unknown)" : version));
  PGC_RETURN_IF_ERROR(ProveSettings(conn.get(), pinned));
  return conn.release();
}

}  // namespace pgconvoy::pg
