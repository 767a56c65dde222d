#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "common/base/error.h"
#include "worker/core/sql.h"
#include "worker/phases/access_checks.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/checks.h"
#include "worker/phases/databases.h"
#include "worker/phases/fallback.h"
#include "worker/phases/phases.h"
#include "worker/phases/registry.h"
#include "worker/phases/roles.h"
#include "worker/phases/schema.h"
#include "worker/phases/transform.h"

namespace pgconvoy::worker {
namespace {

constexpr char kSelf[] = R"sql(
SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER
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

absl::Status CheckReader(Attempt& attempt, const SourceSchema& schema, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(const pg::Result self, reader->Exec(kSelf));
  const std::string user = attempt.source_server().reader().user();
  checks.Add("reader-not-superuser", !self.Bool(0, 0), "the reader is a superuser; use a login of its own", true);
  std::set<std::string> moved;
  for (const TableInfo& table : schema.tables) {
    moved.insert(SplitTable(table.name).Quoted());
  }
  for (const TableInfo& table : schema.tables) {
    const std::string quoted = SplitTable(table.name).Quoted();
    PGC_ASSIGN_OR_RETURN(const pg::Result may, reader->Exec(kMayRead, {quoted}));
    checks.Add({.name = "reader-may-select:" + table.name,
                .passed = may.Bool(0, 0),
                .message = "the reader may not read the table",
                .remedy = "GRANT SELECT ON " + quoted + " TO " + Ident(user)});
    checks.Add({.name = "reader-sees-all-rows:" + table.name,
                .passed = !table.row_security || self.Bool(0, 3) || self.Bool(0, 0),
                .message = "row-level security is on, and hides rows from the reader",
                .remedy = "ALTER ROLE " + Ident(user) + " BYPASSRLS"});
    PGC_ASSIGN_OR_RETURN(const pg::Result referenced, reader->Exec(kReferenced, {quoted}));
    for (int row = 0; attempt.has_target() && row < referenced.rows(); ++row) {
      const std::string other = Qualified(referenced.Text(row, 0), referenced.Text(row, 1));
      checks.Add({.name = "references-move:" + table.name,
                  .passed = moved.contains(other),
                  .message = "it references " + other + ", which the plan does not move",
                  .remedy = "add that table to the plan"});
    }
  }
  for (const std::string& sequence : schema.sequences) {
    PGC_ASSIGN_OR_RETURN(const pg::Result may, reader->Exec(kMayReadSequence, {sequence}));
    checks.Add({.name = "reader-may-select:" + sequence,
                .passed = may.Bool(0, 0),
                .message = "the reader may not read the sequence",
                .remedy = "GRANT SELECT ON SEQUENCE " + sequence + " TO " + Ident(user)});
  }
  return absl::OkStatus();
}

absl::Status CheckTarget(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const auto databases, ProjectDatabases(*provisioner, attempt));
  bool free = true;
  for (const DatabaseInfo& database : databases) {
    free = free && database.own;
  }
  checks.Add({.name = "database-free",
              .passed = free,
              .message = "database \"" + attempt.project().database +
                         "\" exists already on the target and is not ours: this migration did not make it",
              .remedy = "rename it, or choose another target.database"});
  return absl::OkStatus();
}

absl::Status CheckRegistry(Attempt& attempt, CheckList& checks, v1::ChecksResult& result) {
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_ASSIGN_OR_RETURN(const RegistryValues before, ReadRegistryRow(*registrar, attempt, /*lock=*/false));
  const std::string table = attempt.plan().registry().table();
  for (const auto& [column, value] : before) {
    PGC_ASSIGN_OR_RETURN(const pg::Result may, registrar->Exec(kMayUpdate, {SplitTable(table).Quoted(), column}));
    checks.Add({.name = "registrar-may-update:" + column,
                .passed = may.Bool(0, 0),
                .message = "the registrar may not change the column",
                .remedy = "GRANT UPDATE (" + Ident(column) + ") ON " + SplitTable(table).Quoted() + " TO " +
                          Ident(attempt.registry_server().registrar().user())});
    if (value.has_value()) {
      (*result.mutable_registry_before())[column] = *value;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBackupFolder(const Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(attempt.plan()));
  const bool writable = ::access(root.c_str(), W_OK | X_OK) == 0;
  checks.Add({.name = "backup-folder",
              .passed = writable,
              .message = "cannot write to " + root + ": " + std::strerror(errno),
              .remedy = "let the worker's user write there"});
  struct statvfs disk {};
  if (writable && ::statvfs(root.c_str(), &disk) == 0) {
    // A backup that does not fit fails by itself; this only says so before anything is made.
    constexpr int64_t kLeast = 64 << 20;
    const auto free = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
    checks.Add({.name = "backup-disk",
                .passed = free >= kLeast,
                .message = "only " + std::to_string(free >> 20) + " MiB are free under " + root + ", " +
                           std::to_string(kLeast >> 20) + " are needed at the least",
                .remedy = "free space there, or name another backup.directory",
                .measured = std::to_string(free >> 20) + " MiB free",
                .needed = std::to_string(kLeast >> 20) + " MiB"});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunPreValidation(Attempt& attempt) {
  v1::PhaseResult result;
  v1::ChecksResult* const outcome = result.mutable_checks();
  CheckList checks(attempt, *outcome, attempt.plan().execution().skip_pre_validation());
  if (attempt.has_tables()) {
    PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
    PGC_RETURN_IF_ERROR(CheckReader(attempt, *schema, checks));
  }
  if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(CheckProvisioner(attempt, checks));
  }
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(CheckTarget(attempt, checks));
  } else if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(CheckAccess(attempt, checks));
  }
  if (attempt.has_fallback()) {
    PGC_RETURN_IF_ERROR(CheckFallbackWorks(attempt, checks));
  }
  if (attempt.has_transform()) {
    PGC_RETURN_IF_ERROR(CheckTransform(attempt, checks));
  }
  if (attempt.has_registry()) {
    PGC_RETURN_IF_ERROR(CheckRegistry(attempt, checks, *outcome));
  }
  if (attempt.plan().has_backup()) {
    PGC_RETURN_IF_ERROR(CheckBackupFolder(attempt, checks));
  }
  PGC_RETURN_IF_ERROR(checks.RunPlanChecks(v1::Check::PRE));
  PGC_RETURN_IF_ERROR(checks.Verdict());
  return result;
}

}  // namespace pgconvoy::worker
