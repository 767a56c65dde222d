#include "worker/phases/access_checks.h"

#include <map>
#include <set>

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/access.h"
#include "worker/phases/roles.h"

namespace pgconvoy::worker {
namespace {

constexpr char kSelf[] = R"sql(
SELECT rolsuper, rolcreatedb, rolcreaterole, pg_catalog.pg_has_role(CURRENT_USER, 'pg_signal_backend', 'USAGE')
FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER
)sql";

constexpr char kActsFor[] = R"sql(
SELECT pg_catalog.pg_has_role(CURRENT_USER, oid, 'USAGE'), rolsuper FROM pg_catalog.pg_roles WHERE rolname = $1
)sql";

constexpr char kUnknownSchemas[] = R"sql(
SELECT name FROM pg_catalog.unnest($1::pg_catalog.text[]) name
WHERE name NOT IN (SELECT nspname FROM pg_catalog.pg_namespace)
)sql";

constexpr char kWithPolicies[] = R"sql(
SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::pg_catalog.name[]) AND c.relrowsecurity
)sql";

std::string Provisioner(const Attempt& attempt) { return Ident(attempt.login_server().provisioner().user()); }

std::string Schemas(const Attempt& attempt) {
  const auto& schemas = attempt.plan().credentials().schemas();
  return TextArray({schemas.begin(), schemas.end()});
}

bool IsOwner(const Attempt& attempt) { return attempt.plan().credentials().permissions() == v1::Credentials::OWNER; }

absl::Status CheckSchemas(pg::Connection& database, const Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const pg::Result unknown, database.Exec(kUnknownSchemas, {Schemas(attempt)}));
  std::string names;
  for (int row = 0; row < unknown.rows(); ++row) {
    names += (names.empty() ? "" : ", ") + unknown.Text(row, 0);
  }
  checks.Add({.name = "schemas-exist",
              .passed = names.empty(),
              .message = "database \"" + attempt.login_database() + "\" has no schema " + names,
              .remedy = "correct credentials.schemas in the plan"});
  return absl::OkStatus();
}

// Who owns what the plan's permissions concern, with how many objects.
std::map<std::string, int> Owners(const std::vector<OwnedObject>& objects) {
  std::map<std::string, int> owners;
  for (const OwnedObject& object : objects) {
    ++owners[object.owner];
  }
  return owners;
}

absl::Status CheckOwners(pg::Connection& database, const Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const auto objects, ListOwned(database, attempt));
  for (const auto& [owner, count] : Owners(objects)) {
    PGC_ASSIGN_OR_RETURN(const pg::Result acts, database.Exec(kActsFor, {owner}));
    const bool super = acts.rows() == 1 && acts.Bool(0, 1);
    checks.Add({.name = "provisioner-acts-for:" + owner,
                .passed = acts.rows() == 1 && acts.Bool(0, 0),
                .message = "\"" + owner + "\" owns " + std::to_string(count) +
                           " object(s) of the database, and the provisioner is not a member of it",
                .remedy = super ? "it is a superuser: give what it owns in the plan's schemas to another role"
                                : "GRANT " + Ident(owner) + " TO " + Provisioner(attempt)});
  }
  return absl::OkStatus();
}

absl::Status CheckPolicies(pg::Connection& database, const Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const pg::Result with, database.Exec(kWithPolicies, {Schemas(attempt)}));
  checks.Add({.name = "no-row-level-security",
              .passed = with.Int(0, 0) == 0,
              .message = "row-level security is on for " + with.Text(0, 0) +
                         " table(s): their policies decide what the new login sees",
              .remedy = "make sure that the policies mean the new login as well",
              .warning_only = true});
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckProvisioner(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner,
                       attempt.has_target() ? attempt.Provisioner() : attempt.ProvisionerInDatabase());
  checks.WarnIfExposed(attempt.login_server_name(), *provisioner);
  PGC_ASSIGN_OR_RETURN(const pg::Result self, provisioner->Exec(kSelf));
  const std::string user = Provisioner(attempt);
  const bool super = self.Bool(0, 0);
  const auto require = [&](const char* name, int column, const char* message, const std::string& remedy) {
    checks.Add({.name = name, .passed = super || self.Bool(0, column), .message = message, .remedy = remedy});
  };
  checks.Add("provisioner-not-superuser", !super, "the provisioner is a superuser; use a login of its own", true);
  if (attempt.has_target() || IsOwner(attempt)) {
    require("provisioner-createdb", 1, "the provisioner may not make or hand over databases",
            "ALTER ROLE " + user + " CREATEDB");
  }
  require("provisioner-createrole", 2, "the provisioner may not make roles", "ALTER ROLE " + user + " CREATEROLE");
  require("provisioner-signals", 3, "the provisioner may not end sessions of others",
          "GRANT pg_signal_backend TO " + user);
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt, attempt.project().user));
  checks.Add({.name = "role-free",
              .passed = !role.exists || role.own,
              .message = "role \"" + attempt.project().user + "\" exists already on the " +
                         (attempt.has_target() ? "target" : "source") +
                         " and is not ours: this migration did not make it",
              .remedy = "rename it, or choose another credentials.user"});
  return absl::OkStatus();
}

absl::Status CheckAccess(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession database, attempt.ProvisionerInDatabase());
  PGC_RETURN_IF_ERROR(CheckSchemas(*database, attempt, checks));
  PGC_RETURN_IF_ERROR(CheckOwners(*database, attempt, checks));
  return IsOwner(attempt) ? absl::OkStatus() : CheckPolicies(*database, attempt, checks);
}

}  // namespace pgconvoy::worker
