#include "common/plan/conninfo.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::plan {
namespace {

// PostgreSQL manual, section 34.1.2, without what follows.
constexpr std::array<std::string_view, 27> kAllowed = {"host",
                                                       "hostaddr",
                                                       "port",
                                                       "sslmode",
                                                       "sslrootcert",
                                                       "sslcert",
                                                       "sslkey",
                                                       "sslcrl",
                                                       "sslcrldir",
                                                       "sslsni",
                                                       "sslcompression",
                                                       "ssl_min_protocol_version",
                                                       "ssl_max_protocol_version",
                                                       "channel_binding",
                                                       "gssencmode",
                                                       "krbsrvname",
                                                       "gsslib",
                                                       "requirepeer",
                                                       "requiressl",
                                                       "connect_timeout",
                                                       "keepalives",
                                                       "keepalives_idle",
                                                       "keepalives_interval",
                                                       "keepalives_count",
                                                       "tcp_user_timeout",
                                                       "target_session_attrs",
                                                       "load_balance_hosts"};
constexpr std::array<std::string_view, 12> kOurs = {"user",
                                                    "password",
                                                    "dbname",
                                                    "options",
                                                    "passfile",
                                                    "service",
                                                    "servicefile",
                                                    "sslpassword",
                                                    "replication",
                                                    "application_name",
                                                    "fallback_application_name",
                                                    "client_encoding"};
constexpr std::array<std::string_view, 6> kSslModes = {"disable", "allow",     "prefer",
                                                       "require", "verify-ca", "verify-full"};

template <size_t N>
bool Contains(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

absl::Status Bad(std::string_view message,
                 std::string_view remedy = "write libpq keywords, for example host=db1 port=5432") {
  return InputError("PGC-PLAN-CONNINFO", message, remedy);
}

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

void SkipSpaces(std::string_view& text) {
  while (!text.empty() && IsSpace(text[0])) {
    text.remove_prefix(1);
  }
}

// Takes `'it\'s'` or `word` off the front; nothing when a quote does not end.
std::optional<std::string> TakeValue(std::string_view& text) {
  const bool quoted = text.starts_with('\'');
  text.remove_prefix(quoted ? 1 : 0);
  std::string value;
  while (!text.empty() && !(quoted ? text[0] == '\'' : IsSpace(text[0]))) {
    if (text[0] == '\\' && text.size() > 1) {
      text.remove_prefix(1);
    }
    value += text[0];
    text.remove_prefix(1);
  }
  if (!quoted) {
    return value;
  }
  if (text.empty()) {
    return std::nullopt;
  }
  text.remove_prefix(1);
  return value;
}

bool IsPortList(std::string_view value) {
  while (true) {
    const size_t comma = value.find(',');
    const auto port = ParseDecimal(value.substr(0, comma));
    if (!port.has_value() || *port < 1 || *port > 65535) {
      return false;
    }
    if (comma == std::string_view::npos) {
      return true;
    }
    value.remove_prefix(comma + 1);
  }
}

absl::Status CheckKeyword(const std::string& keyword, const std::string& value) {
  if (Contains(kOurs, keyword)) {
    return Bad("the keyword " + keyword + " is not allowed in a conninfo",
               "name users and databases in the plan's own fields; pgconvoy sets the rest");
  }
  if (!Contains(kAllowed, keyword)) {
    const auto near = Nearest(keyword, std::vector<std::string>(kAllowed.begin(), kAllowed.end()));
    return Bad("the conninfo has an unknown keyword " + Printable(keyword),
               near.has_value() ? "did you mean " + *near + "?" : "see the libpq manual for the keywords");
  }
  if (keyword == "port" && !IsPortList(value)) {
    return Bad("the port is not a number from 1 to 65535");
  }
  if (keyword == "sslmode" && !Contains(kSslModes, value)) {
    return Bad("the sslmode is unknown", "verify-full is the safe one");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckConninfo(std::string_view conninfo) {
  if (conninfo.starts_with("postgres://") || conninfo.starts_with("postgresql://")) {
    return Bad("a connection URI is not allowed");
  }
  if (conninfo.find('\0') != std::string_view::npos) {
    // libpq would see what is before it alone.
    return Bad("the conninfo holds a NUL");
  }
  std::string_view rest = conninfo;
  SkipSpaces(rest);
  if (rest.empty()) {
    return Bad("the conninfo is empty");
  }
  while (!rest.empty()) {
    const size_t equals = rest.find('=');
    if (equals == std::string_view::npos) {
      // What is left may be the tail of an unquoted password.
      return Bad("the conninfo has a word without =");
    }
    std::string keyword(rest.substr(0, equals));
    keyword.erase(keyword.find_last_not_of(" \t\r\n") + 1);
    if (std::any_of(keyword.begin(), keyword.end(), IsSpace)) {
      return Bad("the conninfo has a word without =");
    }
    rest.remove_prefix(equals + 1);
    SkipSpaces(rest);
    const auto value = TakeValue(rest);
    if (!value.has_value()) {
      return Bad("a quote in the conninfo is not closed");
    }
    PGC_RETURN_IF_ERROR(CheckKeyword(keyword, *value));
    SkipSpaces(rest);
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::plan
