#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/checks.h"
#include "worker/phases/databases.h"
#include "worker/phases/phases.h"
#include "worker/phases/registry.h"
#include "worker/phases/roles.h"
#include "worker/phases/schema.h"
#include "worker/phases/transform.h"

namespace pgconvoy::worker {
namespace {

constexpr char kSelf[] = R"sql(
SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls,
       pg_catalog.pg_has_role(CURRENT_USER, 'pg_signal_backend', 'USAGE')
FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER
)sql";

constexpr char kMayRead[] = "SELECT pg_catalog.has_table_privilege($1, 'SELECT')";
constexpr char kMayReadSequence[] = "SELECT pg_catalog.has_sequence_privilege($1, 'SELECT')";
constexpr char kMayUpdate[] = "SELECT pg_catalog.has_column_privilege($1, $2, 'UPDATE')";

// $1: a table of the plan. Referenced tables that do not move leave the reference dangling.
constexpr char kReferenced[] = R"sql(
SELECT DISTINCT n.nspname, c.relname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conrelid = $1::regclass
)sql";

absl::Status CheckReferences(pg::Connection& reader,
                             const TableInfo& table,
                             const std::set<std::string>& moved,
                             CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const pg::Result referenced, reader.Exec(kReferenced, {SplitTable(table.name).Quoted()}));
  for (int row = 0; row < referenced.rows(); ++row) {
    const std::string other = Qualified(referenced.Text(row, 0), referenced.Text(row, 1));
    checks.Add("references-move:" + table.name, moved.contains(other),
               "it references " + other + ", which the plan does not move");
  }
  return absl::OkStatus();
}

absl::Status CheckReader(Attempt& attempt, const SourceSchema& schema, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(const pg::Result self, reader->Exec(kSelf));
  checks.Add("reader-not-superuser", !self.Bool(0, 0), "the reader is a superuser; use a login of its own", true);
  std::set<std::string> moved;
  for (const TableInfo& table : schema.tables) {
    moved.insert(SplitTable(table.name).Quoted());
  }
  for (const TableInfo& table : schema.tables) {
    const std::string quoted = SplitTable(table.name).Quoted();
    PGC_ASSIGN_OR_RETURN(const pg::Result may, reader->Exec(kMayRead, {quoted}));
    checks.Add("reader-may-select:" + table.name, may.Bool(0, 0),
               "run: GRANT SELECT ON " + table.name + " TO " + attempt.source_server().reader().user());
    checks.Add("reader-sees-all-rows:" + table.name, !table.row_security || self.Bool(0, 3) || self.Bool(0, 0),
               "row-level security is on; run: ALTER ROLE " + attempt.source_server().reader().user() + " BYPASSRLS");
    if (attempt.has_target()) {
      PGC_RETURN_IF_ERROR(CheckReferences(*reader, table, moved, checks));
    }
  }
  for (const std::string& sequence : schema.sequences) {
    PGC_ASSIGN_OR_RETURN(const pg::Result may, reader->Exec(kMayReadSequence, {sequence}));
    checks.Add("reader-may-select:" + sequence, may.Bool(0, 0),
               "run: GRANT SELECT ON SEQUENCE " + sequence + " TO " + attempt.source_server().reader().user());
  }
  return absl::OkStatus();
}

absl::Status CheckTarget(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const pg::Result self, provisioner->Exec(kSelf));
  const std::string user = attempt.target_server().provisioner().user();
  const bool super = self.Bool(0, 0);
  checks.Add("provisioner-not-superuser", !super, "the provisioner is a superuser; use a login of its own", true);
  checks.Add("provisioner-createdb", super || self.Bool(0, 1), "run: ALTER ROLE " + user + " CREATEDB");
  checks.Add("provisioner-createrole", super || self.Bool(0, 2), "run: ALTER ROLE " + user + " CREATEROLE");
  checks.Add("provisioner-signals", super || self.Bool(0, 4), "run: GRANT pg_signal_backend TO " + user);
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt, attempt.project().user));
  checks.Add("role-free", !role.exists || role.own,
             "role \"" + attempt.project().user +
                 "\" exists already on the target and is not ours: this migration did not make it");
  PGC_ASSIGN_OR_RETURN(const auto databases, ProjectDatabases(*provisioner, attempt));
  bool free = true;
  for (const DatabaseInfo& database : databases) {
    free = free && database.own;
  }
  checks.Add("database-free", free,
             "database \"" + attempt.project().database +
                 "\" exists already on the target and is not ours: this migration did not make it");
  return absl::OkStatus();
}

absl::Status CheckRegistry(Attempt& attempt, CheckList& checks, v1::ChecksResult& result) {
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_ASSIGN_OR_RETURN(const RegistryValues before, ReadRegistryRow(*registrar, attempt, /*lock=*/false));
  const std::string table = attempt.plan().registry().table();
  for (const auto& [column, value] : before) {
    PGC_ASSIGN_OR_RETURN(const pg::Result may, registrar->Exec(kMayUpdate, {SplitTable(table).Quoted(), column}));
    checks.Add(
        "registrar-may-update:" + column, may.Bool(0, 0),
        "run: GRANT UPDATE (" + column + ") ON " + table + " TO " + attempt.registry_server().registrar().user());
    if (value.has_value()) {
      (*result.mutable_registry_before())[column] = *value;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBackupFolder(const Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(attempt.plan()));
  const bool writable = ::access(root.c_str(), W_OK | X_OK) == 0;
  checks.Add("backup-folder", writable, "cannot write to " + root + ": " + std::strerror(errno));
  struct statvfs disk {};
  if (writable && ::statvfs(root.c_str(), &disk) == 0) {
    // A backup that does not fit fails by itself; this only says so before anything is made.
    constexpr int64_t kLeast = 64 << 20;
    const auto free = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
    checks.Add("backup-disk", free >= kLeast,
               "only " + std::to_string(free >> 20) + " MiB are free under " + root + ", " +
                   std::to_string(kLeast >> 20) + " are needed at the least");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunPreValidation(Attempt& attempt) {
  v1::PhaseResult result;
  v1::ChecksResult* const outcome = result.mutable_checks();
  CheckList checks(attempt, *outcome);
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  if (!attempt.restores()) {
    PGC_RETURN_IF_ERROR(CheckReader(attempt, *schema, checks));
  }
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(CheckTarget(attempt, checks));
  }
  if (attempt.has_transform()) {
    PGC_RETURN_IF_ERROR(CheckTransform(attempt, checks));
  }
  if (attempt.has_registry() && !attempt.backup_only()) {
    PGC_RETURN_IF_ERROR(CheckRegistry(attempt, checks, *outcome));
  }
  if (attempt.plan().has_backup() && !attempt.restores()) {
    PGC_RETURN_IF_ERROR(CheckBackupFolder(attempt, checks));
  }
  if (!attempt.backup_only()) {
    PGC_RETURN_IF_ERROR(checks.RunPlanChecks(v1::Check::PRE));
  }
  PGC_RETURN_IF_ERROR(checks.Verdict());
  return result;
}

}  // namespace pgconvoy::worker
