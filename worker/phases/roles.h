// Roles and sessions on the target server, through the provisioner: the attempt's own login, the project's role, and
// shutting out whoever came before.
//
// A login is shut for ever by NOLOGIN, because rolcanlogin is read after authentication: a client that is in the
// middle of a SCRAM exchange still gets in after its password was changed, but not after NOLOGIN.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// Of a project's login. PostgreSQL's own number: some drivers refuse to log in with a lower one.
inline constexpr int kScramIterations = 4096;

struct RoleInfo {
  bool exists = false;
  // It carries the COMMENT of this project and migration.
  bool own = false;
  bool can_login = false;
};
absl::StatusOr<RoleInfo> FindRole(pg::Connection& provisioner, const Attempt& attempt, const std::string& name);

// Makes the login of this attempt if it has none: a member of the project's role only (and, while the database is
// being laid, of the template's owner: `also_member_of`, empty for none). Its password never leaves the process.
absl::Status EnsureAttemptLogin(Attempt& attempt, const std::string& also_member_of = "");

// Ends every session that matches and waits until none is left; returns how many were ended. TRANSIENT
// PGC-FENCE-SESSIONS when one does not go away within kSessionWaitMs.
struct SessionFilter {
  // Sessions of one of these roles.
  std::vector<std::string> roles;
  // Or sessions of an attempt of this project with a lower fence, by their application_name.
  bool older_attempts = false;
  // Of those only sessions of the role that asks: a registrar may end no others, and need not, as no other login of an
  // attempt writes to the registry.
  bool own_role_only = false;
};
absl::StatusOr<int> EndSessions(pg::Connection& connection, const Attempt& attempt, const SessionFilter& filter);
inline constexpr int64_t kSessionWaitMs = 20'000;

// Logins of attempts with a fence below `below`.
absl::StatusOr<std::vector<std::string>> AttemptLogins(pg::Connection& connection,
                                                       const Attempt& attempt,
                                                       int64_t below);

// NOLOGIN for these roles, to be called in a fenced transaction. Roles that are gone are passed over.
absl::Status ShutLogins(pg::Connection& connection, const std::vector<std::string>& roles);
// DROP ROLE in a fenced transaction of its own.
absl::Status DropRoles(pg::Connection& connection, const Attempt& attempt, const std::vector<std::string>& roles);
// The same for logins of attempts, which can wait: one to which a tenant has given something in its database cannot go
// before that does. It stays without login and membership. Returns those that are gone. Call in no transaction.
absl::StatusOr<std::vector<std::string>> DropAttemptLogins(pg::Connection& connection,
                                                           const Attempt& attempt,
                                                           const std::vector<std::string>& logins);

}  // namespace pgconvoy::worker
