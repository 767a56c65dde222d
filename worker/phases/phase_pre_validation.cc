#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/plan/table_pattern.h"
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
#include "worker/phases/uncarried.h"

namespace pgconvoy::worker {
namespace {

constexpr char kSelf[] = R"sql(
SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER
)sql";

constexpr char kDatabaseSize[] = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())";
// A folder with less can be taken for full.
constexpr int64_t kLeastRoom = 64 << 20;
constexpr int64_t kRoomFactor = 2;

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

std::string MiB(int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

// What a whole database takes on disk, twice, because rows and indexes are in two places for a while; 0 for a plan that
// takes some rows of each table.
absl::StatusOr<int64_t> RoomNeeded(Attempt& attempt) {
  if (!plan::IsWholeDatabase(attempt.plan())) {
    return 0;
  }
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(const pg::Result size, reader->Exec(kDatabaseSize));
  return kRoomFactor * size.Int(0, 0);
}

absl::Status CheckBackupFolder(Attempt& attempt, int64_t room, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(attempt.plan()));
  const bool writable = ::access(root.c_str(), W_OK | X_OK) == 0;
  checks.Add({.name = "backup-folder",
              .passed = writable,
              .message = "cannot write to " + root + ": " + std::strerror(errno),
              .remedy = "let the worker's user write there"});
  struct statvfs disk {};
  if (writable && ::statvfs(root.c_str(), &disk) == 0) {
    // A backup that does not fit fails by itself; this only says so before anything is made.
    const int64_t needed = std::max(room, kLeastRoom);
    const auto free = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
    checks.Add({.name = "backup-disk",
                .passed = free >= needed,
                .message = "only " + MiB(free) + " are free under " + root + ", " + MiB(needed) + " are needed",
                .remedy = "free space there, or name another backup.directory",
                .measured = MiB(free),
                .needed = MiB(needed)});
  }
  return absl::OkStatus();
}

// No login but a superuser can ask a server how much room it has; the check says what somebody else has to look at.
void SayTargetRoom(int64_t room, CheckList& checks) {
  if (room > 0) {
    checks.Add({.name = "target-disk",
                .passed = true,
                .measured = "unknown: only a superuser can see the server's disk",
                .needed = MiB(room)});
  }
}

absl::Status CheckVersions(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  const int from = reader->server_version() / 10'000;
  const int to = provisioner->server_version() / 10'000;
  checks.Add(
      {.name = "target-version",
       .passed = to >= from,
       .message = "the target's version is older: it refuses what only PostgreSQL " + std::to_string(from) + " knows",
       .remedy = "move to a server of the same or a later version",
       .measured = std::to_string(to),
       .needed = std::to_string(from),
       .warning_only = true});
  return absl::OkStatus();
}

// Those of one project: a row that refers to another project's would refer to nothing in the target.
absl::StatusOr<std::string> RowsOf(const Attempt& attempt, const TableInfo& table) {
  const std::string quoted = SplitTable(table.name).Quoted();
  if (table.entry.where().empty()) {
    return quoted;
  }
  PGC_ASSIGN_OR_RETURN(const std::string where, plan::RenderSql(table.entry.where(), attempt.values()));
  return "(SELECT * FROM " + quoted + " WHERE (" + where + "))";
}

// The foreign keys between moving tables, and a query that counts the violations of each; one round trip for all.
absl::StatusOr<std::pair<std::vector<const ForeignKey*>, std::string>> CountViolations(const Attempt& attempt,
                                                                                       const SourceSchema& schema) {
  std::map<std::string, std::string> rows;
  for (const TableInfo& table : schema.tables) {
    PGC_ASSIGN_OR_RETURN(rows[SplitTable(table.name).Quoted()], RowsOf(attempt, table));
  }
  std::vector<const ForeignKey*> keys;
  std::string counts;
  for (const ForeignKey& key : schema.foreign_keys) {
    const auto from = rows.find(key.table);
    const auto to = rows.find(key.referenced);
    if (key.validated && from != rows.end() && to != rows.end()) {
      counts += (keys.empty() ? "SELECT " : ", ") + ViolationsSql(key, from->second, to->second);
      keys.push_back(&key);
    }
  }
  return std::pair(keys, counts);
}

absl::Status CheckForeignKeys(Attempt& attempt, const SourceSchema& schema, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const auto counted, CountViolations(attempt, schema));
  const auto& [keys, sql] = counted;
  if (keys.empty()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  const auto counts = reader->Exec(sql);
  if (!counts.ok()) {
    return Annotate(counts.status(), "looking for rows that violate foreign keys");
  }
  const bool tolerant = attempt.plan().target().violated_foreign_keys() == v1::Target::NOT_VALID;
  for (size_t i = 0; i < keys.size(); ++i) {
    const int column = static_cast<int>(i);
    const bool arrives = tolerant && !keys[i]->partitioned;
    checks.Add({.name = "foreign-key:" + keys[i]->table + "." + keys[i]->name,
                .passed = counts->Int(0, column) == 0,
                .message = counts->Text(0, column) + " row(s) refer to nothing" +
                           (arrives ? "; it arrives as NOT VALID, so that it holds for new rows only" : ""),
                .remedy = "correct these rows in the source, or see target.violated_foreign_keys",
                .measured = counts->Text(0, column),
                .needed = "0",
                .warning_only = arrives});
  }
  return absl::OkStatus();
}

// What concerns the moving rows and the place that they go to.
absl::Status CheckMove(Attempt& attempt, CheckList& checks) {
  PGC_RETURN_IF_ERROR(CheckTarget(attempt, checks));
  PGC_RETURN_IF_ERROR(CheckVersions(attempt, checks));
  if (!checks.Verdict().ok()) {
    // Unreadable tables have been named already; counting in them would only fail.
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  return CheckForeignKeys(attempt, *schema, checks);
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunPreValidation(Attempt& attempt) {
  v1::PhaseResult result;
  v1::ChecksResult* const outcome = result.mutable_checks();
  CheckList checks(attempt, *outcome, attempt.plan().execution().skip_pre_validation());
  if (plan::IsWholeDatabase(attempt.plan())) {
    // Not one of the checks that can be skipped: what is named here would be lost.
    PGC_RETURN_IF_ERROR(RefuseUncarried(attempt));
  }
  if (attempt.has_tables()) {
    PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
    PGC_RETURN_IF_ERROR(CheckReader(attempt, *schema, checks));
  }
  if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(CheckProvisioner(attempt, checks));
  }
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(CheckMove(attempt, checks));
  } else if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(CheckAccess(attempt, checks));
  }
  if (attempt.plan().credentials().has_fallback()) {
    PGC_RETURN_IF_ERROR(CheckFallbackWorks(attempt, checks));
  }
  if (attempt.has_transform()) {
    PGC_RETURN_IF_ERROR(CheckTransform(attempt, checks));
  }
  if (attempt.has_registry()) {
    PGC_RETURN_IF_ERROR(CheckRegistry(attempt, checks, *outcome));
  }
  if (attempt.plan().has_backup()) {
    PGC_ASSIGN_OR_RETURN(const int64_t room, RoomNeeded(attempt));
    PGC_RETURN_IF_ERROR(CheckBackupFolder(attempt, room, checks));
    SayTargetRoom(room, checks);
  }
  PGC_RETURN_IF_ERROR(checks.RunPlanChecks(v1::Check::PRE));
  PGC_RETURN_IF_ERROR(checks.Verdict());
  return result;
}

}  // namespace pgconvoy::worker
