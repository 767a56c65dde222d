#include "worker/phases/roles.h"

#include <chrono>
#include <thread>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"
#include "worker/core/takeover.h"
#include "worker/phases/control.h"

namespace pgconvoy::worker {
namespace {

// A password of 256 random bits needs no stretching, and a login with one iteration costs a tenth of the CPU.
constexpr int kAttemptScramIterations = 1;
constexpr int kSessionPollMs = 20;
constexpr char kDependentObjects[] = "2BP01";

constexpr char kFindRole[] = R"sql(
SELECT rolcanlogin, pg_catalog.shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles WHERE rolname = $1
)sql";

// $1: what ends in '_', behind which are digits. As a range, because a server has a role for each of its projects.
constexpr char kRolesWithPrefix[] = R"sql(
SELECT rolname FROM pg_catalog.pg_roles
WHERE rolname >= $1::pg_catalog.text::pg_catalog.name AND rolname < ($1::pg_catalog.text || '~')::pg_catalog.name
ORDER BY rolname
)sql";

// $1: role names; $2: prefix of application_name; $3: fence; $4: own role only. pg_stat_activity shows pid, usename and
// application_name of every session to everybody; backend_type it does not.
constexpr char kMatchingSessions[] = R"sql(
SELECT pid FROM pg_catalog.pg_stat_activity
WHERE pid <> pg_catalog.pg_backend_pid()
  AND (usename = ANY ($1::pg_catalog.name[])
       OR ($2 <> '' AND pg_catalog.starts_with(application_name, $2)
           AND pg_catalog.substr(application_name, pg_catalog.length($2) + 1) ~ '^[0-9]{1,18}$'
           AND pg_catalog.substr(application_name, pg_catalog.length($2) + 1)::bigint < $3::bigint
           AND (NOT $4::boolean OR usename = CURRENT_USER)))
)sql";

absl::Status CreateLogin(pg::Connection& connection,
                         const Attempt& attempt,
                         const Secret& password,
                         const std::string& also_member_of) {
  const std::string login = Ident(attempt.names().login);
  const std::string groups =
      Ident(attempt.project().user) + (also_member_of.empty() ? "" : ", " + Ident(also_member_of));
  return connection.ExecScript("CREATE ROLE " + login + " LOGIN PASSWORD " +
                               Literal(ScramVerifier(password, kAttemptScramIterations)) + " IN ROLE " + groups +
                               "; COMMENT ON ROLE " + login + " IS " + Literal(attempt.OwnerComment()));
}

}  // namespace

absl::StatusOr<RoleInfo> FindRole(pg::Connection& provisioner, const Attempt& attempt, const std::string& name) {
  PGC_ASSIGN_OR_RETURN(const pg::Result found, provisioner.Exec(kFindRole, {name}));
  RoleInfo info;
  if (found.rows() == 1) {
    info.exists = true;
    info.can_login = found.Bool(0, 0);
    info.own = attempt.IsOwnComment(found.Text(0, 1));
  }
  return info;
}

absl::Status EnsureAttemptLogin(Attempt& attempt, const std::string& also_member_of) {
  if (attempt.login_password.has_value()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  Secret password = RandomPassword();
  const absl::Status done =
      InFencedTransaction(*provisioner, attempt, [&](pg::Connection& connection) -> absl::Status {
        PGC_ASSIGN_OR_RETURN(const RoleInfo present, FindRole(connection, attempt, attempt.names().login));
        if (present.exists) {
          // Only an earlier try of this very attempt can have made it; its password is lost.
          PGC_RETURN_IF_ERROR(connection.ExecScript("DROP ROLE " + Ident(attempt.names().login)));
        }
        return CreateLogin(connection, attempt, password, also_member_of);
      });
  PGC_RETURN_IF_ERROR(done);
  attempt.login_password = std::move(password);
  return absl::OkStatus();
}

absl::StatusOr<int> EndSessions(pg::Connection& connection, const Attempt& attempt, const SessionFilter& filter) {
  const std::vector<pg::Param> params = {TextArray(filter.roles),
                                         filter.older_attempts ? attempt.names().application_prefix : "",
                                         std::to_string(attempt.grant().fence), filter.own_role_only ? "t" : "f"};
  const MonotonicMs deadline = Clock::System().NowMonotonic() + kSessionWaitMs;
  int ended = 0;
  for (bool first = true;; first = false) {
    PGC_ASSIGN_OR_RETURN(const pg::Result sessions, connection.Exec(kMatchingSessions, params));
    if (sessions.rows() == 0) {
      return ended;
    }
    if (Clock::System().NowMonotonic() > deadline) {
      return MakeError(Verdict::kTransient, "PGC-FENCE-SESSIONS",
                       std::to_string(sessions.rows()) + " session(s) of an older attempt do not end",
                       "look at pg_stat_activity on the server; the attempt is repeated");
    }
    for (int row = 0; row < sessions.rows(); ++row) {
      // The session may have ended by itself since, which is as good.
      PGC_ASSIGN_OR_RETURN(const pg::Result sent, connection.Exec("SELECT pg_catalog.pg_terminate_backend($1::int)",
                                                                  {sessions.Text(row, 0)}));
      ended += first && sent.Bool(0, 0) ? 1 : 0;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kSessionPollMs));
  }
}

absl::StatusOr<std::vector<std::string>> AttemptLogins(pg::Connection& connection,
                                                       const Attempt& attempt,
                                                       int64_t below) {
  PGC_ASSIGN_OR_RETURN(const pg::Result roles, connection.Exec(kRolesWithPrefix, {attempt.names().login_prefix}));
  std::vector<std::string> logins;
  for (int row = 0; row < roles.rows(); ++row) {
    const std::string name = roles.Text(row, 0);
    const auto fence = FenceInName(name, attempt.names().login_prefix);
    if (fence.has_value() && IsOlderAttempt(*fence, below)) {
      logins.push_back(name);
    }
  }
  return logins;
}

absl::Status ShutLogins(pg::Connection& connection, const std::vector<std::string>& roles) {
  for (const std::string& role : roles) {
    PGC_RETURN_IF_ERROR(connection.ExecScript("ALTER ROLE " + Ident(role) + " NOLOGIN"));
  }
  return absl::OkStatus();
}

absl::Status DropRoles(pg::Connection& connection, const Attempt& attempt, const std::vector<std::string>& roles) {
  if (roles.empty()) {
    return absl::OkStatus();
  }
  return InFencedTransaction(connection, attempt, [&roles](pg::Connection& fenced) -> absl::Status {
    for (const std::string& role : roles) {
      PGC_RETURN_IF_ERROR(fenced.ExecScript("DROP ROLE IF EXISTS " + Ident(role)));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<std::string>> DropAttemptLogins(pg::Connection& connection,
                                                           const Attempt& attempt,
                                                           const std::vector<std::string>& logins) {
  std::vector<std::string> gone;
  if (logins.empty()) {
    return gone;
  }
  const auto drop = [&](pg::Connection& fenced) -> absl::Status {
    gone.clear();
    for (const std::string& login : logins) {
      PGC_RETURN_IF_ERROR(fenced.ExecScript("SAVEPOINT pgconvoy_drop"));
      const absl::Status dropped = fenced.ExecScript("DROP ROLE IF EXISTS " + Ident(login));
      if (pg::SqlStateOf(dropped) == kDependentObjects) {
        PGC_RETURN_IF_ERROR(fenced.ExecScript("ROLLBACK TO SAVEPOINT pgconvoy_drop; ALTER ROLE " + Ident(login) +
                                              " NOLOGIN; REVOKE " + Ident(attempt.project().user) + " FROM " +
                                              Ident(login)));
      } else {
        PGC_RETURN_IF_ERROR(dropped);
        gone.push_back(login);
      }
    }
    return absl::OkStatus();
  };
  PGC_RETURN_IF_ERROR(InFencedTransaction(connection, attempt, drop));
  return gone;
}

}  // namespace pgconvoy::worker
