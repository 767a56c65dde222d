#include "worker/phases/target_view.h"

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"

namespace pgconvoy::worker {
namespace {

// Two looks would drop each other's login. The lock ends with the session at the latest.
constexpr char kLock[] = "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1, 0))";
constexpr char kUnlock[] = "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended($1, 0))";

// Whoever works in the database is not kept waiting for longer than this behind a lock that we wait for.
constexpr char kImpatient[] = "SET lock_timeout = '2s'";

absl::Status DropLogin(pg::Connection& provisioner, Attempt& attempt) {
  return InFencedTransaction(provisioner, attempt, [&attempt](pg::Connection& connection) {
    return connection.ExecScript("DROP ROLE IF EXISTS " + Ident(attempt.names().login));
  });
}

absl::Status LookOnce(pg::Connection& provisioner, Attempt& attempt, const std::function<absl::Status()>& body) {
  const auto look = [&]() -> absl::Status {
    PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
    PGC_RETURN_IF_ERROR(target->ExecScript(kImpatient));
    PGC_FAILPOINT("worker.look.login_made");
    return body();
  };
  const absl::Status looked = look();
  attempt.CloseTarget();
  attempt.login_password.reset();
  const absl::Status dropped = DropLogin(provisioner, attempt);
  return looked.ok() ? dropped : looked;
}

}  // namespace

absl::Status LookIntoTarget(Attempt& attempt, const std::function<absl::Status()>& body) {
  if (attempt.grant().fence == 0) {
    return attempt.Target().status();
  }
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  if (const auto locked = provisioner->Exec(kLock, {attempt.names().login}); !locked.ok()) {
    return Annotate(locked.status(), "somebody else looks at project " + attempt.grant().ref);
  }
  absl::Status looked = LookOnce(*provisioner, attempt, body);
  if (!looked.ok() && VerdictOf(looked) == Verdict::kTransient) {
    looked = LookOnce(*provisioner, attempt, body);
  }
  const auto unlocked = provisioner->Exec(kUnlock, {attempt.names().login});
  return looked.ok() ? unlocked.status() : looked;
}

}  // namespace pgconvoy::worker
