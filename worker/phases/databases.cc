#include "worker/phases/databases.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/ascii.h"
#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/base/text.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"

namespace pgconvoy::worker {
namespace {

// datconnlimit -2 marks what an interrupted DROP DATABASE left. $2, $3: prefixes, behind which are digits and '_'; as
// ranges, because a server has a database for each of its projects and this is asked for each of them.
constexpr char kProjectDatabases[] = R"sql(
WITH named AS MATERIALIZED (
  SELECT oid FROM pg_catalog.pg_database WHERE datname = $1::pg_catalog.text::pg_catalog.name
  UNION SELECT oid FROM pg_catalog.pg_database
  WHERE datname >= $2::pg_catalog.text::pg_catalog.name AND datname < ($2::pg_catalog.text || '~')::pg_catalog.name
  UNION SELECT oid FROM pg_catalog.pg_database
  WHERE datname >= $3::pg_catalog.text::pg_catalog.name AND datname < ($3::pg_catalog.text || '~')::pg_catalog.name
)
SELECT d.datname, r.rolname, pg_catalog.shobj_description(d.oid, 'pg_database'), d.datconnlimit = -2,
       d.datallowconn
FROM named JOIN pg_catalog.pg_database d ON d.oid = named.oid JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
ORDER BY d.datname
)sql";

// usename tells client sessions from autovacuum workers; backend_type is hidden from a provisioner that is not a
// member of the session's role.
constexpr char kEndSessionsIn[] = R"sql(
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid, 5000)) FROM pg_catalog.pg_stat_activity
WHERE datname = $1 AND usename IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
)sql";

// A list of names is stored as one text that ALTER DATABASE would take for one name. These change nothing about the
// session in which they are tried; what a tenant has chosen for a timeout would end it.
constexpr std::array<std::string_view, 3> kListsOfNames = {"local_preload_libraries", "search_path",
                                                           "temp_tablespaces"};

bool IsListOfNames(std::string_view name) {
  return std::find(kListsOfNames.begin(), kListsOfNames.end(), absl::AsciiStrToLower(av(name))) !=
         kListsOfNames.end();
}

// The reconciler of another worker removes what is left of attempts that are over, also between our look and our act.
absl::Status UnlessGone(const absl::Status& status) {
  return pg::SqlStateOf(status) == "3D000" ? absl::OkStatus() : status;
}

}  // namespace

absl::Status EndSessionsIn(pg::Connection& provisioner, const std::string& database) {
  return provisioner.Exec(kEndSessionsIn, {database}).status();
}

absl::StatusOr<std::vector<DatabaseInfo>> ProjectDatabases(pg::Connection& provisioner, const Attempt& attempt) {
  const AttemptNames& names = attempt.names();
  PGC_ASSIGN_OR_RETURN(
      const pg::Result found,
      provisioner.Exec(kProjectDatabases, {attempt.project().database, names.temporary_prefix, names.doomed_prefix}));
  std::vector<DatabaseInfo> databases;
  for (int row = 0; row < found.rows(); ++row) {
    DatabaseInfo info;
    info.name = found.Text(row, 0);
    info.owner = found.Text(row, 1);
    info.own = info.name != attempt.project().database || attempt.IsOwnComment(found.Text(row, 2));
    info.invalid = found.Bool(row, 3);
    info.connectable = found.Bool(row, 4);
    databases.push_back(std::move(info));
  }
  return databases;
}

absl::Status RenameDatabase(pg::Connection& provisioner,
                            const Attempt& attempt,
                            const std::string& from,
                            const std::string& to) {
  PGC_RETURN_IF_ERROR(EndSessionsIn(provisioner, from));
  return InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
    return connection.ExecScript("ALTER DATABASE " + Ident(from) + " RENAME TO " + Ident(to));
  });
}

absl::Status DoomAndDrop(pg::Connection& provisioner, const Attempt& attempt, const DatabaseInfo& database, int n) {
  const std::string doomed = attempt.names().DoomedDatabase(n);
  std::string name = database.name;
  if (!database.invalid && name != doomed) {
    // No login may come between the end of the sessions and the drop.
    const absl::Status closed = InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
      return connection.ExecScript("ALTER DATABASE " + Ident(name) + " ALLOW_CONNECTIONS false");
    });
    PGC_RETURN_IF_ERROR(UnlessGone(closed));
    PGC_FAILPOINT("worker.database.shut");
    PGC_RETURN_IF_ERROR(UnlessGone(RenameDatabase(provisioner, attempt, name, doomed)));
    name = doomed;
  }
  PGC_FAILPOINT("worker.database.before_drop");
  PGC_RETURN_IF_ERROR(provisioner.ExecScript("DROP DATABASE IF EXISTS " + Ident(name)));
  PGC_FAILPOINT("worker.database.dropped");
  return absl::OkStatus();
}

absl::Status SetOnDatabase(pg::Connection& connection,
                           const std::string& database,
                           const std::string& name,
                           const std::string& value) {
  std::string quoted;
  for (const std::string& part : SplitName(name)) {
    quoted += (quoted.empty() ? "" : ".") + Ident(part);
  }
  const std::string set = "ALTER DATABASE " + Ident(database) + " SET " + quoted;
  if (!IsListOfNames(name)) {
    return connection.ExecScript(set + " TO " + Literal(value));
  }
  // Local: the session has its own settings back at the end of the transaction.
  PGC_RETURN_IF_ERROR(connection.Exec("SELECT pg_catalog.set_config($1, $2, true)", {name, value}).status());
  return connection.ExecScript(set + " FROM CURRENT");
}

}  // namespace pgconvoy::worker
