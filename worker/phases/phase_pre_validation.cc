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
constexpr char kMayKeepRecords[] = R"sql(
SELECT pg_catalog.to_regclass('pgconvoy.cutover') IS NOT NULL
    OR pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
)sql";
constexpr char kMayUpdate[] = "SELECT pg_catalog.has_column_privilege($1, $2, 'UPDATE')";

// $1: a table of the plan. Referenced tables that do not move leave the reference dangling.
constexpr char kReferenced[] = R"sql(
SELECT DISTINCT n.nspname, c.relname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conrelid = $1::regclass
)sql";

constexpr char kMayReadTable[] = R"sql(
SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
)sql";

// Adds nothing when everything may be read. What may not would only show as a failing pg_dump later.
absl::StatusOr<bool> CheckPrivileges(Attempt& attempt, pg::Connection& reader, CheckList& checks) {
  const std::string user = Ident(attempt.source_server().reader().user());
  bool all = true;
  for (const v1::Table& table : attempt.plan().tables()) {
    const TableName name = SplitTable(table.table());
    PGC_ASSIGN_OR_RETURN(const pg::Result may, reader.Exec(kMayReadTable, {name.schema, name.table}));
    if (may.rows() == 0) {
      continue;
    }
    if (!may.Bool(0, 0)) {
      checks.Add({.name = "reader-may-use:" + name.schema,
                  .message = "the reader may not use schema " + name.schema,
                  .remedy = "GRANT USAGE ON SCHEMA " + Ident(name.schema) + " TO " + user});
    }
    if (!may.Bool(0, 1)) {
      checks.Add({.name = "reader-may-select:" + table.table(),
                  .message = "the reader may not read " + table.table(),
                  .remedy = "GRANT SELECT ON " + name.Quoted() + " TO " + user});
    }
    all = all && may.Bool(0, 0) && may.Bool(0, 1);
  }
  return all;
}

absl::Status CheckTableOfSource(Attempt& attempt,
                                pg::Connection& reader,
                                const TableInfo& table,
                                const std::set<std::string>& moved,
                                CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const pg::Result self, reader.Exec(kSelf));
  const std::string quoted = SplitTable(table.name).Quoted();
  const std::string user = Ident(attempt.source_server().reader().user());
  PGC_ASSIGN_OR_RETURN(const pg::Result may, reader.Exec(kMayRead, {quoted}));
  checks.Add({.name = "reader-may-select:" + table.name,
              .passed = may.Bool(0, 0),
              .message = "the reader may not read " + table.name,
              .remedy = "GRANT SELECT ON " + quoted + " TO " + user});
  checks.Add({.name = "reader-sees-all-rows:" + table.name,
              .passed = !table.row_security || self.Bool(0, 3) || self.Bool(0, 0),
              .message = "row-level security is on, and hides rows from the reader",
              .remedy = "ALTER ROLE " + user + " BYPASSRLS"});
  PGC_ASSIGN_OR_RETURN(const pg::Result referenced, reader.Exec(kReferenced, {quoted}));
  for (int row = 0; attempt.has_target() && row < referenced.rows(); ++row) {
    const std::string other = Qualified(referenced.Text(row, 0), referenced.Text(row, 1));
    checks.Add({.name = "references-move:" + table.name,
                .passed = moved.contains(other),
                .message = "it references " + other + ", which the plan does not move",
                .remedy = "add that table to the plan"});
  }
  return absl::OkStatus();
}

absl::Status CheckReader(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(const pg::Result self, reader->Exec(kSelf));
  const std::string user = attempt.source_server().reader().user();
  checks.Add("reader-not-superuser", !self.Bool(0, 0), "the reader is a superuser; use a login of its own", true);
  PGC_ASSIGN_OR_RETURN(const bool readable, CheckPrivileges(attempt, *reader, checks));
  if (!readable) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  std::set<std::string> moved;
  for (const TableInfo& table : schema->tables) {
    moved.insert(SplitTable(table.name).Quoted());
  }
  for (const TableInfo& table : schema->tables) {
    PGC_RETURN_IF_ERROR(CheckTableOfSource(attempt, *reader, table, moved, checks));
  }
  for (const std::string& sequence : schema->sequences) {
    PGC_ASSIGN_OR_RETURN(const pg::Result may, reader->Exec(kMayReadSequence, {sequence}));
    checks.Add({.name = "reader-may-select:" + sequence,
                .passed = may.Bool(0, 0),
                .message = "the reader may not read sequence " + sequence,
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

// FENCE, which comes first, makes a schema of ours there.
absl::Status CheckMayKeepRecords(Attempt& attempt, pg::Connection& registrar, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const pg::Result may, registrar.Exec(kMayKeepRecords));
  checks.Add({.name = "registrar-may-create",
              .passed = may.Bool(0, 0),
              .message = "the registrar may not make schema pgconvoy in the registry's database",
              .remedy = "GRANT CREATE ON DATABASE " + Ident(attempt.plan().registry().database()) + " TO " +
                        Ident(attempt.registry_server().registrar().user())});
  return absl::OkStatus();
}

absl::Status CheckRegistry(Attempt& attempt, CheckList& checks, v1::ChecksResult& result) {
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_RETURN_IF_ERROR(CheckMayKeepRecords(attempt, *registrar, checks));
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

absl::StatusOr<v1::ChecksResult> PreChecks(Attempt& attempt) {
  v1::ChecksResult outcome;
  CheckList checks(attempt, outcome, attempt.plan().execution().skip_pre_validation());
  if (attempt.has_tables()) {
    if (!attempt.restores()) {
      PGC_RETURN_IF_ERROR(checks.Group("source", CheckReader(attempt, checks)));
    }
  }
  if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(checks.Group("provisioner", CheckProvisioner(attempt, checks)));
  }
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(checks.Group("target", CheckTarget(attempt, checks)));
  } else if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(checks.Group("access", CheckAccess(attempt, checks)));
  }
  if (attempt.has_fallback()) {
    PGC_RETURN_IF_ERROR(checks.Group("fallback", CheckFallbackWorks(attempt, checks)));
  }
  if (attempt.has_transform()) {
    PGC_RETURN_IF_ERROR(checks.Group("transform", CheckTransform(attempt, checks)));
  }
  if (attempt.has_registry() && !attempt.backup_only()) {
    PGC_RETURN_IF_ERROR(checks.Group("registry", CheckRegistry(attempt, checks, outcome)));
  }
  if (attempt.plan().has_backup() && !attempt.restores()) {
    PGC_RETURN_IF_ERROR(checks.Group("backup", CheckBackupFolder(attempt, checks)));
  }
  if (!attempt.backup_only()) {
    PGC_RETURN_IF_ERROR(checks.RunPlanChecks(v1::Check::PRE));
  }
  return outcome;
}

absl::StatusOr<v1::PhaseResult> RunPreValidation(Attempt& attempt) {
  v1::PhaseResult result;
  PGC_ASSIGN_OR_RETURN(*result.mutable_checks(), PreChecks(attempt));
  PGC_RETURN_IF_ERROR(CheckList(attempt, *result.mutable_checks()).Verdict());
  return result;
}

}  // namespace pgconvoy::worker
