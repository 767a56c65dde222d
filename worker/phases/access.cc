#include "worker/phases/access.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"
#include "worker/phases/roles.h"

namespace pgconvoy::worker {
namespace {

constexpr char kDatabaseKey[] = "database";

// $1: the schemas. What is in a schema depends on it; row types, indexes and the like depend on what they belong to,
// and what is internal to something, such as the constructors of a range, has no owner of its own.
constexpr char kOwned[] = R"sql(
WITH named AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1::pg_catalog.name[])),
listed AS (
  SELECT d.classid, d.objid, CASE d.classid
      WHEN 'pg_catalog.pg_class'::regclass THEN (SELECT relowner FROM pg_catalog.pg_class WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_proc'::regclass THEN (SELECT proowner FROM pg_catalog.pg_proc WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_type'::regclass
        THEN (SELECT typowner FROM pg_catalog.pg_type WHERE oid = d.objid AND typtype <> 'm')
      WHEN 'pg_catalog.pg_operator'::regclass THEN (SELECT oprowner FROM pg_catalog.pg_operator WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_opclass'::regclass THEN (SELECT opcowner FROM pg_catalog.pg_opclass WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_opfamily'::regclass THEN (SELECT opfowner FROM pg_catalog.pg_opfamily WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_collation'::regclass
        THEN (SELECT collowner FROM pg_catalog.pg_collation WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_conversion'::regclass
        THEN (SELECT conowner FROM pg_catalog.pg_conversion WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_ts_config'::regclass THEN (SELECT cfgowner FROM pg_catalog.pg_ts_config WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_ts_dict'::regclass THEN (SELECT dictowner FROM pg_catalog.pg_ts_dict WHERE oid = d.objid)
      WHEN 'pg_catalog.pg_statistic_ext'::regclass
        THEN (SELECT stxowner FROM pg_catalog.pg_statistic_ext WHERE oid = d.objid)
    END AS owner,
    EXISTS (SELECT FROM pg_catalog.pg_depend a JOIN pg_catalog.pg_class s ON s.oid = a.objid AND s.relkind = 'S'
            WHERE a.classid = d.classid AND d.classid = 'pg_catalog.pg_class'::regclass AND a.objid = d.objid
              AND a.refclassid = d.classid AND a.deptype IN ('a', 'i')) AS attached
  FROM pg_catalog.pg_depend d
  WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid IN (SELECT oid FROM named)
    AND d.deptype = 'n' AND d.objsubid = 0
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = d.classid AND e.objid = d.objid
                      AND (e.deptype = 'e' OR (e.deptype = 'i' AND e.classid <> 'pg_catalog.pg_class'::regclass)))
)
SELECT 'database', 'DATABASE', pg_catalog.quote_ident(datname), r.rolname, false, 0
FROM pg_catalog.pg_database JOIN pg_catalog.pg_roles r ON r.oid = datdba
WHERE datname = pg_catalog.current_database()
UNION ALL
SELECT 'pg_catalog.pg_namespace'::regclass::oid || ':' || n.oid, 'SCHEMA', pg_catalog.quote_ident(n.nspname),
       r.rolname, false, 1
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE n.oid IN (SELECT oid FROM named)
UNION ALL
SELECT l.classid || ':' || l.objid,
       CASE WHEN i.type IN ('function', 'procedure', 'aggregate') THEN 'ROUTINE'
            WHEN i.type = 'statistics object' THEN 'STATISTICS'
            ELSE pg_catalog.upper(i.type) END,
       i.identity, r.rolname, l.attached, 2
FROM listed l JOIN pg_catalog.pg_roles r ON r.oid = l.owner
CROSS JOIN LATERAL pg_catalog.pg_identify_object(l.classid, l.objid, 0) i
ORDER BY 6, 1
)sql";

constexpr char kRecord[] = R"sql(
INSERT INTO pgconvoy.access AS a (store_id, project, migration, fence, database, owners)
VALUES ($1, $2, $3, $4::bigint, $5, $6::jsonb)
ON CONFLICT (store_id, project, migration)
DO UPDATE SET fence = excluded.fence, database = excluded.database, owners = excluded.owners,
              recorded_at = pg_catalog.now()
)sql";
constexpr char kRecorded[] =
    "SELECT owners FROM pgconvoy.access WHERE store_id = $1 AND project = $2 AND migration = $3";
constexpr char kForget[] = "DELETE FROM pgconvoy.access WHERE store_id = $1 AND project = $2 AND migration = $3";

// $1: the role; $2: its database's schemas. What GRANT left out with nothing but a warning.
constexpr char kNotGranted[] = R"sql(
SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($2::pg_catalog.name[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT pg_catalog.has_table_privilege($1, c.oid, 'SELECT')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')
)sql";

// $1: the role; $2: owners as written down. Schemas first: who gets an object must be able to make one there.
constexpr char kToHandBack[] = R"sql(
SELECT i.type = 'schema', r.value,
       CASE WHEN i.type IN ('function', 'procedure', 'aggregate') THEN 'ROUTINE'
            WHEN i.type = 'statistics object' THEN 'STATISTICS'
            ELSE pg_catalog.upper(i.type) END,
       i.identity, i.schema
FROM pg_catalog.pg_shdepend d
JOIN pg_catalog.jsonb_each_text($2::jsonb) r ON r.key = d.classid || ':' || d.objid
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.deptype = 'o'
  AND d.refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1)
  AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
ORDER BY 1 DESC, 4
)sql";

// $1: the role. Default privileges are owned in a way, and go with DROP OWNED.
constexpr char kStillOwned[] = R"sql(
SELECT pg_catalog.count(*) FROM pg_catalog.pg_shdepend d
WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.deptype = 'o'
  AND d.classid <> 'pg_catalog.pg_default_acl'::regclass
  AND d.refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1)
)sql";

constexpr char kDatabaseOwner[] = R"sql(
SELECT r.rolname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
WHERE d.datname = pg_catalog.current_database()
)sql";

// $1: the role.
constexpr char kOwnSchemas[] = R"sql(
SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace
WHERE nspowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1) AND NOT pg_catalog.starts_with(nspname, 'pg_')
)sql";

// Schemas in which the role owns something and $2 could not make anything.
constexpr char kSchemasClosedTo[] = R"sql(
SELECT DISTINCT pg_catalog.quote_ident(i.schema)
FROM pg_catalog.pg_shdepend d CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.deptype = 'o' AND i.schema IS NOT NULL
  AND d.refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1)
  AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND NOT pg_catalog.starts_with(i.schema, 'pg_')
  AND NOT pg_catalog.has_schema_privilege($2, i.schema, 'CREATE')
)sql";

v1::Credentials::Permissions Permissions(const Attempt& attempt) {
  return attempt.plan().credentials().permissions();
}

std::string Schemas(const Attempt& attempt) {
  const auto& schemas = attempt.plan().credentials().schemas();
  return TextArray({schemas.begin(), schemas.end()});
}

std::vector<pg::Param> RecordKey(const Attempt& attempt) {
  return {attempt.grant().store_id, attempt.grant().ref, attempt.grant().migration_id};
}

bool IsRelation(const OwnedObject& object) {
  return object.kind == "TABLE" || object.kind == "VIEW" || object.kind == "MATERIALIZED VIEW" ||
         object.kind == "FOREIGN TABLE";
}

// ---- giving ------------------------------------------------------------------------------------------------------

struct Privileges {
  std::string tables = "SELECT";
  std::string sequences = "SELECT";
  // None for a login that only reads: a function may write.
  std::string routines;
};

Privileges PrivilegesOf(const Attempt& attempt) {
  if (Permissions(attempt) == v1::Credentials::READ_ONLY) {
    return {};
  }
  return {"SELECT, INSERT, UPDATE, DELETE", "USAGE, SELECT, UPDATE", "EXECUTE"};
}

std::string GrantOn(const OwnedObject& object, const Privileges& privileges, const std::string& user) {
  if (object.kind == "SCHEMA") {
    return "GRANT USAGE ON SCHEMA " + object.identity + " TO " + user + ";";
  }
  if (object.kind == "DATABASE") {
    return "GRANT CONNECT ON DATABASE " + object.identity + " TO " + user + ";";
  }
  if (IsRelation(object)) {
    return "GRANT " + privileges.tables + " ON TABLE " + object.identity + " TO " + user + ";";
  }
  if (object.kind == "SEQUENCE") {
    return "GRANT " + privileges.sequences + " ON SEQUENCE " + object.identity + " TO " + user + ";";
  }
  if (object.kind == "ROUTINE" && !privileges.routines.empty()) {
    return "GRANT " + privileges.routines + " ON ROUTINE " + object.identity + " TO " + user + ";";
  }
  return "";
}

// For what the present owners will make in the schemas.
std::string DefaultPrivileges(const Attempt& attempt,
                              const std::vector<OwnedObject>& objects,
                              const Privileges& privileges) {
  std::set<std::string> owners;
  for (const OwnedObject& object : objects) {
    // Nobody logs in as a predefined role.
    if (!object.owner.starts_with("pg_")) {
      owners.insert(object.owner);
    }
  }
  std::string script;
  for (const std::string& owner : owners) {
    for (const std::string& schema : attempt.plan().credentials().schemas()) {
      const std::string begin =
          "ALTER DEFAULT PRIVILEGES FOR ROLE " + Ident(owner) + " IN SCHEMA " + Ident(schema) + " GRANT ";
      const std::string end = " TO " + Ident(attempt.project().user) + ";";
      script += begin + privileges.tables + " ON TABLES" + end;
      script += begin + privileges.sequences + " ON SEQUENCES" + end;
      script += privileges.routines.empty() ? "" : begin + privileges.routines + " ON ROUTINES" + end;
    }
  }
  return script;
}

absl::Status Grant(pg::Connection& connection, const Attempt& attempt, const std::vector<OwnedObject>& objects) {
  const Privileges privileges = PrivilegesOf(attempt);
  const std::string user = Ident(attempt.project().user);
  std::string script;
  for (const OwnedObject& object : objects) {
    script += GrantOn(object, privileges, user);
  }
  PGC_RETURN_IF_ERROR(connection.ExecScript(script + DefaultPrivileges(attempt, objects, privileges)));
  PGC_ASSIGN_OR_RETURN(const pg::Result left,
                       connection.Exec(kNotGranted, {attempt.project().user, Schemas(attempt)}));
  if (left.Int(0, 0) != 0) {
    return MakeError(Verdict::kPermanent, "PGC-CRED-GRANT",
                     "the provisioner could not give the login its privileges on " + left.Text(0, 0) + " table(s)",
                     "make the provisioner a member of their owners");
  }
  return absl::OkStatus();
}

// The database comes last: it is its owner who lets the provisioner change the owner of a schema.
absl::Status TransferOwnership(pg::Connection& connection,
                               const Attempt& attempt,
                               const std::vector<OwnedObject>& objects) {
  const std::string to = " OWNER TO " + Ident(attempt.project().user) + ";";
  std::string script;
  std::string database;
  for (const OwnedObject& object : objects) {
    const std::string statement = "ALTER " + object.kind + " " + object.identity + to;
    if (object.key == kDatabaseKey) {
      database = statement;
    } else if (!object.attached) {
      script += statement;
    }
  }
  return connection.ExecScript(script + database);
}

// A login that only gets privileges can own nothing but what it makes itself.
std::string OwnersToRecord(const Attempt& attempt, const std::vector<OwnedObject>& objects) {
  nlohmann::json owners = nlohmann::json::object();
  for (const OwnedObject& object : objects) {
    if (object.key == kDatabaseKey || (Permissions(attempt) == v1::Credentials::OWNER && !object.attached)) {
      owners[object.key] = object.owner;
    }
  }
  return owners.dump();
}

absl::Status Record(pg::Connection& control, const Attempt& attempt, const std::vector<OwnedObject>& objects) {
  std::vector<pg::Param> params = RecordKey(attempt);
  params.insert(params.end(),
                {std::to_string(attempt.grant().fence), attempt.login_database(), OwnersToRecord(attempt, objects)});
  return InFencedTransaction(control, attempt,
                             [&](pg::Connection& connection) { return connection.Exec(kRecord, params).status(); });
}

absl::Status GiveAll(pg::Connection& database,
                     const Attempt& attempt,
                     const std::vector<OwnedObject>& objects,
                     const std::function<absl::Status(pg::Connection&)>& make_role) {
  PGC_RETURN_IF_ERROR(make_role(database));
  return Permissions(attempt) == v1::Credentials::OWNER ? TransferOwnership(database, attempt, objects)
                                                        : Grant(database, attempt, objects);
}

// ---- taking back -------------------------------------------------------------------------------------------------

absl::StatusOr<std::string> ReadRecord(pg::Connection& control, const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const pg::Result row, control.Exec(kRecorded, RecordKey(attempt)));
  if (row.rows() == 1) {
    return row.Text(0, 0);
  }
  return MakeError(Verdict::kOperator, "PGC-CRED-RECORD",
                   "there is no record of what role \"" + attempt.project().user + "\" was given",
                   "hand back what it owns by hand (REASSIGN OWNED, DROP OWNED, DROP ROLE), then retry the rollback");
}

// Lets `owner` make objects where it could not, for as long as it gets some there; returns what ends that.
absl::StatusOr<std::string> OpenSchemas(pg::Connection& database, const Attempt& attempt, const std::string& owner) {
  PGC_ASSIGN_OR_RETURN(const pg::Result closed, database.Exec(kSchemasClosedTo, {attempt.project().user, owner}));
  std::string close;
  for (int row = 0; row < closed.rows(); ++row) {
    const std::string on = " CREATE ON SCHEMA " + closed.Text(row, 0);
    PGC_RETURN_IF_ERROR(database.ExecScript("GRANT" + on + " TO " + Ident(owner)));
    close += "REVOKE" + on + " FROM " + Ident(owner) + ";";
  }
  return close;
}

absl::Status HandBackRecorded(pg::Connection& database, const Attempt& attempt, const std::string& owners) {
  PGC_ASSIGN_OR_RETURN(const pg::Result found, database.Exec(kToHandBack, {attempt.project().user, owners}));
  std::string close;
  std::set<std::string> opened;
  for (int row = 0; row < found.rows(); ++row) {
    const std::string owner = found.Text(row, 1);
    if (!found.Bool(row, 0) && opened.insert(owner).second) {
      PGC_ASSIGN_OR_RETURN(const std::string more, OpenSchemas(database, attempt, owner));
      close += more;
    }
    PGC_RETURN_IF_ERROR(
        database.ExecScript("ALTER " + found.Text(row, 2) + " " + found.Text(row, 3) + " OWNER TO " + Ident(owner)));
  }
  return close.empty() ? absl::OkStatus() : database.ExecScript(close);
}

// What the project has made since. REASSIGN OWNED knows every kind of object, extensions too.
absl::Status HandOverTheRest(pg::Connection& database, const Attempt& attempt, const std::string& owner) {
  PGC_ASSIGN_OR_RETURN(const pg::Result schemas, database.Exec(kOwnSchemas, {attempt.project().user}));
  for (int row = 0; row < schemas.rows(); ++row) {
    PGC_RETURN_IF_ERROR(database.ExecScript("ALTER SCHEMA " + schemas.Text(row, 0) + " OWNER TO " + Ident(owner)));
  }
  PGC_ASSIGN_OR_RETURN(const std::string close, OpenSchemas(database, attempt, owner));
  PGC_RETURN_IF_ERROR(database.ExecScript("REASSIGN OWNED BY " + Ident(attempt.project().user) + " TO " +
                                          Ident(owner) + ";" + close));
  PGC_ASSIGN_OR_RETURN(const pg::Result left, database.Exec(kStillOwned, {attempt.project().user}));
  if (left.Int(0, 0) != 0) {
    return MakeError(Verdict::kOperator, "PGC-CRED-DEPENDS",
                     "role \"" + attempt.project().user + "\" owns " + left.Text(0, 0) +
                         " object(s) in other databases or of a kind that cannot be handed over",
                     "give them to another role, then retry the rollback");
  }
  return absl::OkStatus();
}

absl::Status DropRole(pg::Connection& database, const Attempt& attempt) {
  const std::string user = Ident(attempt.project().user);
  // Nothing is owned any more, so this only takes privileges away.
  PGC_RETURN_IF_ERROR(database.ExecScript("DROP OWNED BY " + user));
  const absl::Status dropped = database.ExecScript("DROP ROLE " + user);
  if (pg::SqlStateOf(dropped) == "2BP01") {
    return MakeError(Verdict::kOperator, "PGC-CRED-DEPENDS",
                     "role \"" + attempt.project().user + "\" was given something that is not this migration's",
                     "revoke it (DROP OWNED BY in each other database), then retry the rollback");
  }
  return dropped;
}

absl::Status TakeAll(pg::Connection& database, const Attempt& attempt, const std::string& owners) {
  const auto record = nlohmann::json::parse(owners, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object() || !record.contains(kDatabaseKey)) {
    return MakeError(Verdict::kOperator, "PGC-CRED-RECORD", "the record of former owners is damaged");
  }
  const std::string former = record[kDatabaseKey].get<std::string>();
  PGC_ASSIGN_OR_RETURN(const pg::Result owner, database.Exec(kDatabaseOwner));
  if (owner.Text(0, 0) == attempt.project().user) {
    PGC_RETURN_IF_ERROR(
        database.ExecScript("ALTER DATABASE " + Ident(attempt.login_database()) + " OWNER TO " + Ident(former)));
  }
  PGC_RETURN_IF_ERROR(HandBackRecorded(database, attempt, owners));
  PGC_RETURN_IF_ERROR(HandOverTheRest(database, attempt, former));
  return DropRole(database, attempt);
}

absl::Status Forget(pg::Connection& control, const Attempt& attempt) {
  return InFencedTransaction(control, attempt, [&](pg::Connection& connection) {
    return connection.Exec(kForget, RecordKey(attempt)).status();
  });
}

// The membership is needed to hand on what it owns, and to get into a database that only its owner may enter.
absl::Status ShutAndAdopt(pg::Connection& control, const Attempt& attempt) {
  const std::string& user = attempt.project().user;
  const absl::Status shut = InFencedTransaction(control, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_RETURN_IF_ERROR(ShutLogins(connection, {user}));
    return connection.ExecScript("GRANT " + Ident(user) + " TO CURRENT_USER");
  });
  PGC_RETURN_IF_ERROR(shut);
  return EndSessions(control, attempt, {{user}, /*older_attempts=*/false, /*own_role_only=*/false}).status();
}

}  // namespace

absl::StatusOr<std::vector<OwnedObject>> ListOwned(pg::Connection& connection, const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const pg::Result rows, connection.Exec(kOwned, {Schemas(attempt)}));
  std::vector<OwnedObject> objects;
  for (int row = 0; row < rows.rows(); ++row) {
    objects.push_back(
        {rows.Text(row, 0), rows.Text(row, 1), rows.Text(row, 2), rows.Text(row, 3), rows.Bool(row, 4)});
  }
  return objects;
}

absl::Status GiveAccess(Attempt& attempt, const std::function<absl::Status(pg::Connection&)>& make_role) {
  PGC_ASSIGN_OR_RETURN(PooledSession control, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*control, attempt, attempt.project().user));
  if (role.exists) {
    return InFencedTransaction(*control, attempt, make_role);
  }
  // Begun before the fence row is locked: a newer attempt that gets the row has then ended this session as well, and
  // one that came first keeps us from the row.
  PGC_ASSIGN_OR_RETURN(PooledSession database, attempt.ProvisionerInDatabase());
  PGC_ASSIGN_OR_RETURN(auto granting, pg::Transaction::Begin(*database));
  PGC_ASSIGN_OR_RETURN(const auto objects, ListOwned(*database, attempt));
  PGC_RETURN_IF_ERROR(Record(*control, attempt, objects));
  PGC_FAILPOINT("worker.access.recorded");
  return InFencedTransaction(*control, attempt, [&](pg::Connection&) -> absl::Status {
    PGC_RETURN_IF_ERROR(GiveAll(*database, attempt, objects, make_role));
    PGC_FAILPOINT("worker.access.before_commit");
    return granting->Commit();
  });
}

absl::Status TakeAccessBack(Attempt& attempt, v1::UndoResult& undo) {
  const std::string& user = attempt.project().user;
  PGC_ASSIGN_OR_RETURN(PooledSession control, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*control, attempt, user));
  if (!role.own) {
    return Forget(*control, attempt);
  }
  PGC_ASSIGN_OR_RETURN(const std::string owners, ReadRecord(*control, attempt));
  PGC_RETURN_IF_ERROR(ShutAndAdopt(*control, attempt));
  PGC_FAILPOINT("worker.access.shut");
  PGC_ASSIGN_OR_RETURN(PooledSession database, attempt.ProvisionerInDatabase());
  PGC_ASSIGN_OR_RETURN(auto undoing, pg::Transaction::Begin(*database));
  const absl::Status taken = InFencedTransaction(*control, attempt, [&](pg::Connection&) -> absl::Status {
    PGC_RETURN_IF_ERROR(TakeAll(*database, attempt, owners));
    PGC_FAILPOINT("worker.access.before_undone");
    return undoing->Commit();
  });
  PGC_RETURN_IF_ERROR(taken);
  PGC_FAILPOINT("worker.access.undone");
  undo.add_undone("role " + user + " is gone; what it owned belongs to its former owners");
  return Forget(*control, attempt);
}

}  // namespace pgconvoy::worker
