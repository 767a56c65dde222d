#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/crypto/crypto.h"
#include "common/plan/secret_ref.h"
#include "common/plan/table_pattern.h"
#include "worker/core/sql.h"
#include "worker/phases/access_checks.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/checks.h"
#include "worker/phases/columns.h"
#include "worker/phases/databases.h"
#include "worker/phases/fallback.h"
#include "worker/phases/phases.h"
#include "worker/phases/registry.h"
#include "worker/phases/roles.h"
#include "worker/phases/schema.h"
#include "worker/phases/tables.h"
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

// $1: quoted names; a row for each, in their order.
constexpr char kMayRead[] = R"sql(
SELECT pg_catalog.has_table_privilege(t.name, 'SELECT')
FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS t (name, n) ORDER BY t.n
)sql";
constexpr char kMayReadSequence[] = R"sql(
SELECT pg_catalog.has_sequence_privilege(s.name, 'SELECT')
FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS s (name, n) ORDER BY s.n
)sql";
constexpr char kMayKeepRecords[] = R"sql(
SELECT pg_catalog.to_regclass('pgconvoy.cutover') IS NOT NULL
    OR pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
)sql";
// $1: the registry's table; $2: columns.
constexpr char kMayUpdate[] = R"sql(
SELECT c, pg_catalog.has_column_privilege($1, c, 'UPDATE') FROM pg_catalog.unnest($2::pg_catalog.text[]) AS c
)sql";

// $1: quoted tables of the plan; the place of each, from 0, and what it references. Referenced tables that do not move
// leave the reference dangling.
constexpr char kReferenced[] = R"sql(
SELECT DISTINCT t.n - 1, n.nspname, c.relname
FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS t (name, n)
JOIN pg_catalog.pg_constraint k ON k.conrelid = t.name::pg_catalog.regclass
JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' ORDER BY 1, 2, 3
)sql";

// $1, $2: schemas and names of tables; the place, from 0, of each that exists.
constexpr char kMayReadTables[] = R"sql(
SELECT t.n - 1, pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT')
FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]))
     WITH ORDINALITY AS t (schema, name, n)
JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
ORDER BY 1
)sql";

// Adds nothing when everything may be read. What may not would only show as a failing pg_dump later.
absl::StatusOr<bool> CheckPrivileges(Attempt& attempt, pg::Connection& reader, CheckList& checks) {
  const std::string user = Ident(attempt.source_server().reader().user());
  bool all = true;
  PGC_ASSIGN_OR_RETURN(const auto schemas, MovedSchemas(reader, attempt.plan()));
  PGC_ASSIGN_OR_RETURN(const auto tables, ResolveTables(reader, attempt.plan(), schemas));
  std::vector<TableName> names;
  std::vector<std::string> in_schemas;
  std::vector<std::string> of_tables;
  for (const v1::Table& table : tables) {
    names.push_back(SplitTable(table.table()));
    in_schemas.push_back(names.back().schema);
    of_tables.push_back(names.back().table);
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result may,
                       reader.Exec(kMayReadTables, {TextArray(in_schemas), TextArray(of_tables)}));
  for (int row = 0; row < may.rows(); ++row) {
    const auto index = static_cast<size_t>(may.Int(row, 0));
    const v1::Table& table = tables[index];
    const TableName& name = names[index];
    if (!may.Bool(row, 1)) {
      checks.Add({.name = "reader-may-use:" + name.schema,
                  .message = "the reader may not use schema " + name.schema,
                  .remedy = "GRANT USAGE ON SCHEMA " + Ident(name.schema) + " TO " + user});
    }
    if (!may.Bool(row, 2)) {
      checks.Add({.name = "reader-may-select:" + table.table(),
                  .message = "the reader may not read " + table.table(),
                  .remedy = "GRANT SELECT ON " + name.Quoted() + " TO " + user});
    }
    all = all && may.Bool(row, 1) && may.Bool(row, 2);
  }
  return all;
}

absl::Status CheckTablesOfSource(Attempt& attempt,
                                 pg::Connection& reader,
                                 const std::vector<TableInfo>& tables,
                                 const pg::Result& self,
                                 CheckList& checks) {
  const std::string user = Ident(attempt.source_server().reader().user());
  std::vector<std::string> quoted;
  for (const TableInfo& table : tables) {
    quoted.push_back(SplitTable(table.name).Quoted());
  }
  const std::set<std::string> moved(quoted.begin(), quoted.end());
  PGC_ASSIGN_OR_RETURN(const pg::Result may, reader.Exec(kMayRead, {TextArray(quoted)}));
  PGC_ASSIGN_OR_RETURN(const pg::Result referenced, reader.Exec(kReferenced, {TextArray(quoted)}));
  int reference = 0;
  for (size_t i = 0; i < tables.size(); ++i) {
    const TableInfo& table = tables[i];
    checks.Add({.name = "reader-may-select:" + table.name,
                .passed = may.Bool(static_cast<int>(i), 0),
                .message = "the reader may not read " + table.name,
                .remedy = "GRANT SELECT ON " + quoted[i] + " TO " + user});
    checks.Add({.name = "reader-sees-all-rows:" + table.name,
                .passed = !table.row_security || self.Bool(0, 3) || self.Bool(0, 0),
                .message = "row-level security is on, and hides rows from the reader",
                .remedy = "ALTER ROLE " + user + " BYPASSRLS"});
    for (; reference < referenced.rows() && referenced.Int(reference, 0) == static_cast<int64_t>(i); ++reference) {
      const std::string other = Qualified(referenced.Text(reference, 1), referenced.Text(reference, 2));
      if (attempt.has_target()) {
        checks.Add({.name = "references-move:" + table.name,
                    .passed = moved.contains(other),
                    .message = "it references " + other + ", which the plan does not move",
                    .remedy = "add that table to the plan"});
      }
    }
  }
  return absl::OkStatus();
}

// Whether a query of the plan fits these tables, quoted, as they are.
absl::Status CheckFits(pg::Connection& connection,
                       const std::string& name,
                       const std::string& query,
                       const std::vector<std::string>& tables,
                       CheckList& checks) {
  // Planning would run what the owner of a table has put into its indexes.
  const absl::Status fits = connection.Analyze(query);
  if (!fits.ok() && VerdictOf(fits) != Verdict::kPermanent) {
    return fits;
  }
  PGC_ASSIGN_OR_RETURN(const std::string hint, ColumnHint(connection, fits, tables));
  checks.Add({.name = name, .passed = fits.ok(), .message = fits.ok() ? "" : Describe(fits) + hint});
  return absl::OkStatus();
}

absl::Status CheckConditions(Attempt& attempt,
                             pg::Connection& reader,
                             const SourceSchema& schema,
                             CheckList& checks) {
  for (const TableInfo& table : schema.tables) {
    PGC_ASSIGN_OR_RETURN(const std::string sql, SourceRowsSql(attempt, table));
    if (attempt.has_target()) {
      PGC_RETURN_IF_ERROR(CheckValuesMapped(attempt, reader, table.entry, checks));
    }
    if (!table.entry.where().empty()) {
      PGC_RETURN_IF_ERROR(
          CheckFits(reader, "condition-fits:" + table.name, sql, {SplitTable(table.name).Quoted()}, checks));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLinkColumns(const Attempt& attempt, pg::Connection& reader, CheckList& checks) {
  for (const v1::Link& link : attempt.plan().links()) {
    for (const std::string& end : {link.from(), link.to()}) {
      const std::vector<std::string> parts = SplitName(end);
      const std::string table = Qualified(parts[0], parts[1]);
      PGC_RETURN_IF_ERROR(
          CheckFits(reader, "link-fits:" + end, "SELECT " + Ident(parts[2]) + " FROM " + table, {table}, checks));
    }
  }
  return absl::OkStatus();
}

// What is the same for all projects of the plan in this database. False when the reader may not read all of it, so that
// nothing can be tried.
absl::StatusOr<bool> CheckSource(Attempt& attempt, pg::Connection& reader, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const pg::Result self, reader.Exec(kSelf));
  const std::string user = attempt.source_server().reader().user();
  checks.Add("reader-not-superuser", !self.Bool(0, 0), "the reader is a superuser; use a login of its own", true);
  PGC_ASSIGN_OR_RETURN(const bool readable, CheckPrivileges(attempt, reader, checks));
  if (!readable) {
    return false;
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  PGC_RETURN_IF_ERROR(CheckTablesOfSource(attempt, reader, schema->tables, self, checks));
  PGC_RETURN_IF_ERROR(CheckLinkColumns(attempt, reader, checks));
  PGC_ASSIGN_OR_RETURN(const pg::Result may, reader.Exec(kMayReadSequence, {TextArray(schema->sequences)}));
  for (int row = 0; row < may.rows(); ++row) {
    const std::string& sequence = schema->sequences[static_cast<size_t>(row)];
    checks.Add({.name = "reader-may-select:" + sequence,
                .passed = may.Bool(row, 0),
                .message = "the reader may not read sequence " + sequence,
                .remedy = "GRANT SELECT ON SEQUENCE " + sequence + " TO " + Ident(user)});
  }
  return true;
}

// What passed for one project is not asked again for the next. BACKUP, which reads in one snapshot, sees whether the
// definitions are still those, and fails where a privilege has gone.
absl::StatusOr<bool> CheckSourceOnce(Attempt& attempt, pg::Connection& reader, CheckList& checks) {
  if (attempt.inspects()) {
    return CheckSource(attempt, reader, checks);
  }
  if (const auto known = attempt.schemas().SourceChecks(attempt); known != nullptr) {
    checks.AddAll(*known);
    return true;
  }
  v1::ChecksResult found;
  CheckList list(attempt, found, attempt.plan().execution().skip_pre_validation());
  PGC_ASSIGN_OR_RETURN(const bool readable, CheckSource(attempt, reader, list));
  checks.AddAll(found);
  const bool passed = std::all_of(found.checks().begin(), found.checks().end(),
                                  [](const v1::CheckResult& check) { return check.passed(); });
  if (passed) {
    attempt.schemas().KeepSourceChecks(attempt, std::move(found));
  }
  return readable;
}

absl::Status CheckReader(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  checks.WarnIfExposed(attempt.project().source_server, *reader);
  PGC_ASSIGN_OR_RETURN(const bool readable, CheckSourceOnce(attempt, *reader, checks));
  if (!readable) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  return CheckConditions(attempt, *reader, *schema, checks);
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
  checks.WarnIfExposed(attempt.plan().registry().server(), *registrar);
  PGC_RETURN_IF_ERROR(CheckMayKeepRecords(attempt, *registrar, checks));
  const std::string table = attempt.plan().registry().table();
  const auto before = ReadRegistryRow(*registrar, attempt, /*lock=*/false);
  PGC_ASSIGN_OR_RETURN(const std::string hint, ColumnHint(*registrar, before.status(), {SplitTable(table).Quoted()}));
  if (!hint.empty()) {
    checks.Add({.name = "registry-columns", .message = Describe(before.status()) + hint});
    return absl::OkStatus();
  }
  PGC_RETURN_IF_ERROR(before.status());
  std::vector<std::string> columns;
  for (const auto& [column, value] : *before) {
    columns.push_back(column);
    if (value.has_value()) {
      (*result.mutable_registry_before())[column] = *value;
    }
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result may,
                       registrar->Exec(kMayUpdate, {SplitTable(table).Quoted(), TextArray(columns)}));
  for (int row = 0; row < may.rows(); ++row) {
    checks.Add({.name = "registrar-may-update:" + may.Text(row, 0),
                .passed = may.Bool(row, 1),
                .message = "the registrar may not change the column",
                .remedy = "GRANT UPDATE (" + Ident(may.Text(row, 0)) + ") ON " + SplitTable(table).Quoted() + " TO " +
                          Ident(attempt.registry_server().registrar().user())});
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
                .message = "too little room under " + root,
                .remedy = "free space there, or name another backup.directory",
                .measured = MiB(free) + " free",
                .needed = MiB(needed)});
  }
  return absl::OkStatus();
}

// A key that is absent may come when it is needed; one that is there must fit.
absl::Status CheckBackupKey(const Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const std::string recipient, BackupRecipient(attempt.plan()));
  if (recipient.empty()) {
    return absl::OkStatus();
  }
  const auto key = plan::ResolveSecret(attempt.plan().backup().key(), /*allow_literal=*/false);
  const bool absent = CodeOf(key.status()) == "PGC-SECRET-MISSING";
  const auto belongs_to = key.ok() ? PublicKeyOf(*key) : key.status();
  checks.Add({.name = "backup-key",
              .passed = absent || (belongs_to.ok() && *belongs_to == recipient),
              .message = belongs_to.ok()
                             ? "backup.key belongs to the public key " + *belongs_to + ", not to backup.encrypt_to"
                             : MessageOf(belongs_to.status()),
              .remedy = "put the private key of backup.encrypt_to there, or none"});
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

// Not one of the checks that can be skipped: what it names would be lost.
absl::Status CheckCarried(Attempt& attempt) {
  if (!plan::IsWholeDatabase(attempt.plan())) {
    return absl::OkStatus();
  }
  return attempt.backup_only() ? WarnOfUncarried(attempt) : RefuseUncarried(attempt);
}

absl::Status CheckRoom(Attempt& attempt, CheckList& checks) {
  PGC_ASSIGN_OR_RETURN(const int64_t room, RoomNeeded(attempt));
  PGC_RETURN_IF_ERROR(CheckBackupFolder(attempt, room, checks));
  PGC_RETURN_IF_ERROR(CheckBackupKey(attempt, checks));
  if (attempt.has_target()) {
    SayTargetRoom(room, checks);
  }
  return absl::OkStatus();
}

// What concerns the moving rows and the place that they go to.
absl::Status CheckMove(Attempt& attempt, CheckList& checks) {
  PGC_RETURN_IF_ERROR(CheckTarget(attempt, checks));
  if (attempt.restores()) {
    return absl::OkStatus();
  }
  PGC_RETURN_IF_ERROR(CheckVersions(attempt, checks));
  if (!checks.Verdict().ok()) {
    // Unreadable tables have been named already; counting in them would only fail.
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  return CheckForeignKeys(attempt, *schema, checks);
}

}  // namespace

absl::StatusOr<v1::ChecksResult> PreChecks(Attempt& attempt) {
  v1::ChecksResult outcome;
  CheckList checks(attempt, outcome, attempt.plan().execution().skip_pre_validation());
  if (attempt.plan().execution().has_restore()) {
    // Before anything is made for rows that nobody can read.
    PGC_RETURN_IF_ERROR(OpenRestored(attempt).status());
  }
  if (attempt.has_tables()) {
    if (!attempt.restores()) {
      PGC_RETURN_IF_ERROR(checks.Group("carried", CheckCarried(attempt)));
      PGC_RETURN_IF_ERROR(checks.Group("source", CheckReader(attempt, checks)));
    }
  }
  if (attempt.has_credentials()) {
    PGC_RETURN_IF_ERROR(checks.Group("provisioner", CheckProvisioner(attempt, checks)));
  }
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(checks.Group("target", CheckMove(attempt, checks)));
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
    PGC_RETURN_IF_ERROR(checks.Group("backup", CheckRoom(attempt, checks)));
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
