#include "worker/phases/checks.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "common/base/error.h"
#include "common/pg/pg_error.h"
#include "common/pg/plaintext.h"
#include "common/plan/secret_ref.h"
#include "worker/copy/digest.h"
#include "worker/phases/columns.h"
#include "worker/phases/http.h"

namespace pgconvoy::worker {
namespace {

constexpr int kDefaultHttpStatus = 200;
constexpr int64_t kDefaultHttpTimeoutMs = 10'000;

// "" when the check passed, else what is wrong.
using Outcome = absl::StatusOr<std::string>;

// A session at a place of the plan, whoever keeps it.
struct Place {
  PooledSession pooled;
  pg::Connection* connection = nullptr;
};

absl::StatusOr<Place> Open(Attempt& attempt, v1::Check::Place place) {
  Place opened;
  if (place == v1::Check::TARGET) {
    PGC_ASSIGN_OR_RETURN(opened.connection, attempt.Target());
    return opened;
  }
  PGC_ASSIGN_OR_RETURN(opened.pooled, place == v1::Check::REGISTRY ? attempt.Registrar() : attempt.Reader());
  opened.connection = &*opened.pooled;
  return opened;
}

Outcome RunSqlIn(pg::Connection& connection, const Attempt& attempt, const v1::Check& check) {
  PGC_ASSIGN_OR_RETURN(const std::string sql, plan::RenderSql(check.sql(), attempt.values()));
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(connection, "READ ONLY"));
  PGC_ASSIGN_OR_RETURN(const pg::Result row, connection.Exec(sql));
  const bool passed = row.rows() == 1 && row.columns() == 1 && row.Bool(0, 0);
  return passed ? std::string() : std::string("the check's statement did not return true");
}

Outcome RunSql(Attempt& attempt, const v1::Check& check) {
  PGC_ASSIGN_OR_RETURN(const Place place, Open(attempt, check.place()));
  return RunSqlIn(*place.connection, attempt, check);
}

// One digest a row: memory does not depend on how wide the rows are.
absl::StatusOr<std::vector<std::string>> RowDigests(Attempt& attempt, v1::Check::Place at, const std::string& text) {
  PGC_ASSIGN_OR_RETURN(const std::string sql, plan::RenderSql(text, attempt.values()));
  PGC_ASSIGN_OR_RETURN(const Place place, Open(attempt, at));
  PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(*place.connection, "READ ONLY"));
  std::vector<std::string> rows;
  PGC_RETURN_IF_ERROR(place.connection->CopyOut("COPY (" + sql + "\n) TO STDOUT", [&rows](std::string_view row) {
    RowDigest digest;
    digest.Add(row);
    rows.push_back(digest.Hex());
    return absl::OkStatus();
  }));
  return rows;
}

Outcome RunComparison(Attempt& attempt, const v1::Check& check) {
  PGC_ASSIGN_OR_RETURN(const auto rows, RowDigests(attempt, check.place(), check.sql()));
  PGC_ASSIGN_OR_RETURN(const auto others, RowDigests(attempt, check.equals().place(), check.equals().sql()));
  const size_t longer = std::max(rows.size(), others.size());
  size_t different = longer - std::min(rows.size(), others.size());
  for (size_t i = 0; i < std::min(rows.size(), others.size()); ++i) {
    different += rows[i] == others[i] ? 0 : 1;
  }
  if (different == 0) {
    return std::string();
  }
  return std::to_string(different) + " of " + std::to_string(longer) + " row(s) differ (" +
         std::to_string(rows.size()) + " against " + std::to_string(others.size()) + ")";
}

const v1::Server& ServerAt(const Attempt& attempt, v1::Check::Place place) {
  return place == v1::Check::TARGET     ? attempt.target_server()
         : place == v1::Check::REGISTRY ? attempt.registry_server()
                                        : attempt.source_server();
}

const std::string& DatabaseAt(const Attempt& attempt, v1::Check::Place place) {
  return place == v1::Check::TARGET     ? attempt.project().database
         : place == v1::Check::REGISTRY ? attempt.plan().registry().database()
                                        : attempt.project().source_database;
}

// Wrong credentials, NOLOGIN, pg_hba.conf, no CONNECT. That a server or a database is not there is no refusal.
bool IsRefusal(const absl::Status& status) {
  const std::string state = pg::SqlStateOf(status);
  return CodeOf(status) == "PGC-PG-AUTH" || state.starts_with("28") || state == "42501";
}

Outcome RunConnection(Attempt& attempt, const v1::Check& check) {
  const v1::Check::Connection& wanted = check.connection();
  PGC_ASSIGN_OR_RETURN(const std::string user, plan::RenderName(wanted.user(), attempt.values()));
  Secret password;
  if (!wanted.password().empty()) {
    PGC_ASSIGN_OR_RETURN(password, plan::ResolveSecret(wanted.password(), /*allow_literal=*/false));
  }
  auto session = SessionPool::Open(ServerAt(attempt, check.place()), user, password,
                                   DatabaseAt(attempt, check.place()), attempt.names().application_name, {});
  if (wanted.refused()) {
    if (session.ok()) {
      return "login \"" + user + "\" is not refused";
    }
    return IsRefusal(session.status()) ? Outcome(std::string()) : Outcome(session.status());
  }
  if (!session.ok() || check.sql().empty()) {
    return session.ok() ? Outcome(std::string()) : Outcome(session.status());
  }
  // Policies are what is to be seen.
  PGC_RETURN_IF_ERROR((*session)->ExecScript("SET row_security = on"));
  google::protobuf::Map<std::string, std::string> settings;
  for (const auto& [name, value] : wanted.settings()) {
    PGC_ASSIGN_OR_RETURN(settings[name], plan::RenderText(value, attempt.values()));
  }
  PGC_RETURN_IF_ERROR(SessionPool::ApplySettings(**session, settings));
  return RunSqlIn(**session, attempt, check);
}

// A header may be a secret, a text, or be left out.
absl::StatusOr<std::string> HeaderValue(const std::string& value) {
  if (!plan::IsSecretRef(value)) {
    return value;
  }
  PGC_ASSIGN_OR_RETURN(const Secret secret, plan::ResolveSecret(value, /*allow_literal=*/false));
  return secret.Reveal();
}

absl::StatusOr<HttpRequest> RequestOf(const Attempt& attempt, const v1::Check::Http& wanted) {
  HttpRequest request;
  std::string url = wanted.url();
  if (plan::IsSecretRef(url)) {
    PGC_ASSIGN_OR_RETURN(const Secret resolved, plan::ResolveSecret(url, /*allow_literal=*/true));
    url = resolved.Reveal();
  }
  PGC_ASSIGN_OR_RETURN(request.url, plan::RenderText(url, attempt.values()));
  for (const auto& [name, value] : wanted.headers()) {
    PGC_ASSIGN_OR_RETURN(request.headers[name], HeaderValue(value));
  }
  request.timeout_ms = wanted.timeout_ms() == 0 ? kDefaultHttpTimeoutMs : wanted.timeout_ms();
  return request;
}

Outcome RunHttp(Attempt& attempt, const v1::Check::Http& wanted) {
  PGC_ASSIGN_OR_RETURN(const HttpRequest request, RequestOf(attempt, wanted));
  PGC_ASSIGN_OR_RETURN(const std::string expected, plan::RenderText(wanted.expect_body(), attempt.values()));
  PGC_ASSIGN_OR_RETURN(const HttpAnswer answer, HttpGet(request));
  const int status = wanted.expect_status() == 0 ? kDefaultHttpStatus : wanted.expect_status();
  if (answer.status != status) {
    return "the endpoint answered " + std::to_string(answer.status) + ", not " + std::to_string(status);
  }
  if (answer.body.find(expected) == std::string::npos) {
    return std::string("the endpoint's answer does not hold what is expected");
  }
  return std::string();
}

Outcome RunEnvironment(const v1::Check& check) {
  std::string missing;
  for (const std::string& name : check.environment()) {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') {
      missing += (missing.empty() ? "" : ", ") + name;
    }
  }
  return missing.empty() ? missing : "not set in the worker's environment: " + missing;
}

Outcome RunCheck(Attempt& attempt, const v1::Check& check) {
  if (check.has_connection()) {
    return RunConnection(attempt, check);
  }
  if (check.has_http()) {
    return RunHttp(attempt, check.http());
  }
  if (!check.environment().empty()) {
    return RunEnvironment(check);
  }
  return check.has_equals() ? RunComparison(attempt, check) : RunSql(attempt, check);
}

}  // namespace

void CheckList::Add(const Finding& finding) {
  v1::CheckResult* const check = result_.add_checks();
  check->set_name(finding.name);
  check->set_passed(finding.passed);
  check->set_measured(finding.measured);
  check->set_needed(finding.needed);
  if (finding.passed) {
    return;
  }
  const bool turned = skipped_ && !finding.warning_only;
  check->set_warning(finding.warning_only || turned);
  check->set_message((turned ? "skipped: " : "") + finding.message);
  check->set_remedy(finding.remedy);
  if (check->warning()) {
    attempt_.warnings.push_back(finding.name + ": " + check->message());
  }
}

void CheckList::Add(const std::string& name, bool passed, const std::string& message, bool warning_only) {
  Add({.name = name, .passed = passed, .message = message, .warning_only = warning_only});
}

void CheckList::WarnIfExposed(const std::string& server, pg::Connection& session) {
  const std::string name = "encrypted:" + server;
  const auto& checks = result_.checks();
  const bool known =
      std::any_of(checks.begin(), checks.end(), [&](const v1::CheckResult& check) { return check.name() == name; });
  if (!known && pg::IsExposed(session)) {
    Add({.name = name,
         .message = "the server is another machine, and its sessions are not encrypted",
         .remedy = "add sslmode=verify-full to its conninfo",
         .warning_only = true});
  }
}

void CheckList::AddAll(const v1::ChecksResult& others) { result_.mutable_checks()->MergeFrom(others.checks()); }

absl::Status CheckList::Group(const std::string& name, const absl::Status& status) {
  if (status.ok() || !attempt_.inspects()) {
    return status;
  }
  Add({.name = name, .message = CodeOf(status) + ": " + MessageOf(status), .remedy = RemedyOf(status)});
  return absl::OkStatus();
}

absl::Status CheckList::RunPlanChecks(v1::Check::Stage stage) {
  for (const v1::Check& check : attempt_.plan().checks()) {
    // Before a migration there is no target that a check could look at.
    const bool too_early = attempt_.inspects() && attempt_.grant().fence == 0 && check.place() == v1::Check::TARGET &&
                           attempt_.has_target();
    if (check.stage() != stage || too_early) {
      continue;
    }
    const bool warning_only = check.severity() == v1::Check::WARNING;
    const Outcome outcome = RunCheck(attempt_, check);
    const bool may_pass = !outcome.ok() && VerdictOf(outcome.status()) != pgconvoy::Verdict::kPermanent;
    if (may_pass && !warning_only && !attempt_.inspects()) {
      return outcome.status();
    }
    Add({.name = check.name(),
         .passed = outcome.ok() && outcome->empty(),
         .message = outcome.ok() ? *outcome : CodeOf(outcome.status()) + ": " + MessageOf(outcome.status()),
         .remedy = outcome.ok() ? "" : RemedyOf(outcome.status()),
         .warning_only = warning_only});
  }
  return absl::OkStatus();
}

absl::Status CheckList::Verdict() const {
  std::string failed;
  for (const v1::CheckResult& check : result_.checks()) {
    if (!check.passed() && !check.warning()) {
      failed += (failed.empty() ? "" : "; ") + check.name() + ": " + check.message() +
                (check.remedy().empty() ? "" : " (" + check.remedy() + ")");
    }
  }
  if (failed.empty()) {
    return absl::OkStatus();
  }
  return MakeError(pgconvoy::Verdict::kPermanent, "PGC-CHECK-FAILED", failed,
                   "put that right, then retry the project");
}

absl::Status CheckValuesMapped(Attempt& attempt,
                               pg::Connection& connection,
                               const v1::Table& table,
                               CheckList& checks) {
  if (table.columns().empty()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(table, attempt.values()));
  const absl::Status mapped = CheckMapped(connection, table, condition);
  // A column that does not exist is the business of another check.
  if (!mapped.ok() && CodeOf(mapped) != "PGC-VALUE-UNMAPPED" && pg::SqlStateOf(mapped) != "42703") {
    return mapped;
  }
  checks.Add({.name = "values-are-mapped:" + table.table(),
              .passed = mapped.ok(),
              .message = mapped.ok() ? "" : CodeOf(mapped) + ": " + MessageOf(mapped),
              .remedy = mapped.ok() ? "" : RemedyOf(mapped)});
  return absl::OkStatus();
}

}  // namespace pgconvoy::worker
