#include "common/pg/pg_error.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "common/base/text.h"

namespace pgconvoy::pg {
namespace {

constexpr char kSqlStateUrl[] = "pgconvoy.dev/sqlstate";

// A tenant can raise errors of any length; the store and the logs hold one line of it.
constexpr size_t kMaxMessageBytes = 500;

// One row of the table: `state` is a whole SQLSTATE or the beginning of one. An empty code becomes PGC-PG-<SQLSTATE>.
struct Rule {
  std::string_view state;
  Verdict verdict;
  std::string_view code;
  std::string_view remedy;
};

// The first match wins. Appendix A of the PostgreSQL manual lists the states.
constexpr Rule kRules[] = {
    {"08007", Verdict::kInDoubt, "PGC-PG-IN-DOUBT", ""},
    {"40003", Verdict::kInDoubt, "PGC-PG-IN-DOUBT", ""},
    {"08P01", Verdict::kPermanent, "PGC-PG-PROTOCOL", ""},
    {"08", Verdict::kTransient, "PGC-PG-LOST", ""},
    {"25006", Verdict::kPermanent, "PGC-PG-READ-ONLY", "the server is a standby or read-only; name its primary"},
    {"25P03", Verdict::kTransient, "PGC-PG-IDLE-TIMEOUT", ""},
    {"25P04", Verdict::kTransient, "PGC-PG-TIMEOUT", ""},
    {"28", Verdict::kPermanent, "PGC-PG-AUTH", "check the user, its password, LOGIN and pg_hba.conf"},
    {"3D000", Verdict::kPermanent, "PGC-PG-NO-DATABASE", ""},
    {"3F000", Verdict::kPermanent, "PGC-PG-NO-SCHEMA", ""},
    {"40001", Verdict::kTransient, "PGC-PG-SERIALIZATION", ""},
    {"40P01", Verdict::kTransient, "PGC-PG-DEADLOCK", ""},
    {"42501", Verdict::kPermanent, "PGC-PG-DENIED", "grant the privilege that is missing"},
    {"42P01", Verdict::kPermanent, "PGC-PG-NO-TABLE", ""},
    {"53100", Verdict::kTransient, "PGC-PG-DISK-FULL", "free space on the server"},
    {"53200", Verdict::kTransient, "PGC-PG-MEMORY", ""},
    {"53300", Verdict::kTransient, "PGC-PG-CONNECTIONS", "lower max_projects of the server or raise max_connections"},
    {"53", Verdict::kTransient, "", ""},
    {"55006", Verdict::kTransient, "PGC-PG-IN-USE", ""},
    {"55P03", Verdict::kTransient, "PGC-PG-LOCKED", "another session holds the lock for longer than lock_timeout"},
    {"57014", Verdict::kTransient, "PGC-PG-CANCELLED", "it was interrupted or ran into statement_timeout"},
    {"57P", Verdict::kTransient, "PGC-PG-LOST", ""},
    {"58030", Verdict::kTransient, "PGC-PG-IO", "see the server's log"},
    // What PostgreSQL gives no state of its own: catalog rows that two change at once, a checkpoint or a cache file
    // that a full disk stops. The text is in the server's language and cannot tell them apart.
    {"XX000", Verdict::kTransient, "PGC-PG-INTERNAL", "see the server's log"},
    {"XX001", Verdict::kPermanent, "PGC-PG-CORRUPT", "the server reports damaged data"},
    {"XX002", Verdict::kPermanent, "PGC-PG-CORRUPT", "the server reports a damaged index"},
};

const Rule& RuleOf(std::string_view sqlstate) {
  static constexpr Rule kOther = {"", Verdict::kPermanent, "", ""};
  const auto* const rule = std::find_if(std::begin(kRules), std::end(kRules),
                                        [&](const Rule& r) { return sqlstate.starts_with(r.state); });
  return rule == std::end(kRules) ? kOther : *rule;
}

// Data exceptions quote the value that offends, and what a tenant's code raises may hold anything.
std::string WithoutRowData(std::string_view sqlstate, std::string_view message) {
  if (sqlstate.starts_with("P0")) {
    return "code in the database raised an error";
  }
  if (sqlstate.starts_with("22")) {
    message = message.substr(0, message.find_first_of(":\"'"));
  }
  return Printable(message.substr(0, kMaxMessageBytes));
}

bool IsSqlState(std::string_view text) {
  return text.size() == 5 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isdigit(c) != 0 || (c >= 'A' && c <= 'Z');
         });
}

struct ServerRefusal {
  std::string_view sqlstate;
  std::string_view message;
};

// Finds the last "SEVERITY:  SQLSTATE: message" of libpq's verbose form; the severity is in the server's language.
std::optional<ServerRefusal> FindRefusal(std::string_view text) {
  std::optional<ServerRefusal> last;
  constexpr std::string_view kMark = ":  ";
  for (size_t at = text.find(kMark); at != std::string_view::npos; at = text.find(kMark, at + 1)) {
    const std::string_view rest = text.substr(at + kMark.size());
    if (rest.size() > 7 && IsSqlState(rest.substr(0, 5)) && rest.substr(5, 2) == ": ") {
      last = ServerRefusal{rest.substr(0, 5), rest.substr(7, rest.find('\n') - 7)};
    }
  }
  return last;
}

// libpq's own failures, and the server's where no SQLSTATE came along.
struct TextRule {
  std::string_view part;
  Verdict verdict;
  std::string_view code;
  std::string_view remedy;
};

constexpr TextRule kTextRules[] = {
    {"password authentication failed", Verdict::kPermanent, "PGC-PG-AUTH", "check the user and its password"},
    {"no password supplied", Verdict::kPermanent, "PGC-PG-AUTH",
     "the server asks for a password and the plan has none"},
    {"no pg_hba.conf entry", Verdict::kPermanent, "PGC-PG-AUTH", "allow this host and user in pg_hba.conf"},
    {"is not permitted to log in", Verdict::kPermanent, "PGC-PG-AUTH", ""},
    {"channel binding", Verdict::kPermanent, "PGC-PG-AUTH", ""},
    {"SSL SYSCALL error", Verdict::kTransient, "PGC-PG-UNREACHABLE", ""},
    {"closed unexpectedly", Verdict::kTransient, "PGC-PG-UNREACHABLE", ""},
    {"SSL", Verdict::kPermanent, "PGC-PG-TLS", "check sslmode and the certificates"},
    {"certificate", Verdict::kPermanent, "PGC-PG-TLS", "check sslmode and the certificates"},
    {"private key", Verdict::kPermanent, "PGC-PG-TLS", "check sslkey and its mode"},
    {"invalid ", Verdict::kPermanent, "PGC-PG-CONNINFO", "check the server's conninfo"},
    {"could not match", Verdict::kPermanent, "PGC-PG-CONNINFO", "name as many ports as hosts"},
};

std::string LastLine(std::string_view text) {
  while (!text.empty() && text.back() == '\n') {
    text.remove_suffix(1);
  }
  // libpq indents its hints by a tab.
  for (size_t at = text.rfind('\n'); at != std::string_view::npos; at = text.rfind('\n')) {
    if (text[at + 1] != '\t') {
      return Printable(text.substr(at + 1));
    }
    text = text.substr(0, at);
  }
  return Printable(text);
}

}  // namespace

absl::Status FromSqlState(std::string_view sqlstate, std::string_view message) {
  const Rule& rule = RuleOf(sqlstate);
  const std::string code = rule.code.empty() ? "PGC-PG-" + std::string(sqlstate) : std::string(rule.code);
  absl::Status status = MakeError(rule.verdict, code, WithoutRowData(sqlstate, message), rule.remedy);
  status.SetPayload(kSqlStateUrl, absl::Cord(av(sqlstate)));
  return status;
}

absl::Status FromConnectFailure(std::string_view libpq_message) {
  if (const auto refusal = FindRefusal(libpq_message)) {
    // Only a server older than the settings that every session pins does not know one of them.
    if (refusal->sqlstate == "42704") {
      return MakeError(Verdict::kPermanent, "PGC-PG-VERSION", refusal->message, "PostgreSQL 14 or newer is needed");
    }
    // An interrupted DROP DATABASE, or ALLOW_CONNECTIONS false.
    if (refusal->sqlstate == "55000") {
      return MakeError(
          Verdict::kPermanent, "PGC-PG-CLOSED-DATABASE", Printable(refusal->message),
          "finish its DROP DATABASE, or let it be connected to: ALTER DATABASE … ALLOW_CONNECTIONS true");
    }
    return FromSqlState(refusal->sqlstate, refusal->message);
  }
  const std::string line = LastLine(libpq_message);
  for (const TextRule& rule : kTextRules) {
    if (line.find(rule.part) != std::string::npos) {
      return MakeError(rule.verdict, rule.code, line, rule.remedy);
    }
  }
  return MakeError(Verdict::kTransient, "PGC-PG-UNREACHABLE", line, "check that the server runs and can be reached");
}

std::string SqlStateOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kSqlStateUrl);
  return payload.has_value() ? std::string(*payload) : "";
}

}  // namespace pgconvoy::pg
