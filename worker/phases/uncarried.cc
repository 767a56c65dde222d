#include "worker/phases/uncarried.h"

#include <map>
#include <set>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/pg/pg_error.h"
#include "common/plan/table_pattern.h"
#include "worker/core/sql.h"
#include "worker/phases/databases.h"
#include "worker/phases/schema.h"

namespace pgconvoy::worker {
namespace {

// At most so many objects of one kind are named.
constexpr size_t kMaxNamed = 5;
// The first version in which schema public belongs to the database's owner, who may then comment on it.
constexpr int kOwnedPublic = 150000;

// Kind and name of what stands in the way. Objects from 16384 on are the user's; what belongs to an extension comes and
// goes with it (dependency 'e'), and so do the functions of a range type ('i').
constexpr char kRefused[] = R"sql(
WITH member AS MATERIALIZED (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), own AS MATERIALIZED (
  SELECT p.*, n.nspname || '.' || p.proname AS name, l.lanname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE p.oid >= 16384
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                      AND d.deptype IN ('e', 'i'))
), typ AS MATERIALIZED (
  SELECT t.*, n.nspname || '.' || t.typname AS name
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  WHERE t.oid >= 16384
    AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
                     AND m.objid = t.oid)
), here AS MATERIALIZED (
  SELECT d.*, pg_catalog.to_jsonb(d) AS all_columns FROM pg_catalog.pg_database d
  WHERE d.datname = pg_catalog.current_database()
)
SELECT 'foreign-data wrapper' AS kind, fdwname::pg_catalog.text AS name FROM pg_catalog.pg_foreign_data_wrapper
  WHERE oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass)
UNION ALL SELECT 'foreign server', srvname FROM pg_catalog.pg_foreign_server
UNION ALL SELECT 'user mapping', usename || ' on ' || srvname FROM pg_catalog.pg_user_mappings
UNION ALL SELECT 'foreign table', c.oid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_class c
  WHERE c.relkind = 'f'
UNION ALL SELECT 'table that others inherit from', c.oid::pg_catalog.regclass::pg_catalog.text
  FROM pg_catalog.pg_class c
  WHERE c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
UNION ALL SELECT 'large object', 'there are ' || pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata
  HAVING pg_catalog.count(*) > 0
UNION ALL SELECT 'event trigger', evtname FROM pg_catalog.pg_event_trigger e
  WHERE e.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass)
UNION ALL SELECT 'publication', pubname FROM pg_catalog.pg_publication
UNION ALL SELECT 'subscription', s.subname FROM pg_catalog.pg_subscription s JOIN here ON here.oid = s.subdbid
UNION ALL SELECT 'security label', pg_catalog.pg_describe_object(classoid, objoid, objsubid)
  FROM pg_catalog.pg_seclabel
UNION ALL SELECT 'language', lanname FROM pg_catalog.pg_language l
  WHERE l.oid >= 16384
    AND l.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_language'::pg_catalog.regclass)
UNION ALL SELECT 'access method', amname FROM pg_catalog.pg_am a
  WHERE a.oid >= 16384
    AND a.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_am'::pg_catalog.regclass)
UNION ALL SELECT 'operator class', c.opcname FROM pg_catalog.pg_opclass c
  WHERE c.oid >= 16384
    AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_opclass'::pg_catalog.regclass)
UNION ALL SELECT 'operator family', c.opfname FROM pg_catalog.pg_opfamily c
  WHERE c.oid >= 16384
    AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass)
UNION ALL SELECT 'base type', t.name FROM typ t
  WHERE (t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid))
     OR (t.typtype = 'p' AND NOT t.typisdefined)
UNION ALL SELECT 'text search parser', prsname FROM pg_catalog.pg_ts_parser p
  WHERE p.oid >= 16384
    AND p.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_ts_parser'::pg_catalog.regclass)
UNION ALL SELECT 'text search template', tmplname FROM pg_catalog.pg_ts_template p
  WHERE p.oid >= 16384
    AND p.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_ts_template'::pg_catalog.regclass)
UNION ALL SELECT 'cast', pg_catalog.format_type(c.castsource, NULL) || ' as ' ||
       pg_catalog.format_type(c.casttarget, NULL)
  FROM pg_catalog.pg_cast c
  WHERE c.oid >= 16384
    AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_cast'::pg_catalog.regclass)
    AND (c.castmethod = 'b'
         OR (c.castsource NOT IN (SELECT oid FROM typ) AND c.casttarget NOT IN (SELECT oid FROM typ)))
UNION ALL SELECT 'conversion', conname FROM pg_catalog.pg_conversion c
  WHERE c.oid >= 16384
    AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_conversion'::pg_catalog.regclass)
UNION ALL SELECT 'transform', pg_catalog.format_type(t.trftype, NULL) || ' for ' || l.lanname
  FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = t.trflang
  WHERE t.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_transform'::pg_catalog.regclass)
UNION ALL SELECT 'function that only a superuser can make', own.name FROM own
  WHERE own.lanname IN ('c', 'internal') AND own.prokind <> 'a'
     OR own.proleakproof OR own.prosupport <> 0::pg_catalog.regproc
UNION ALL SELECT 'aggregate that only a superuser can make', own.name
  FROM own JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = own.oid
  WHERE 'pg_catalog.internal'::pg_catalog.regtype IN (a.aggtranstype, a.aggmtranstype)
UNION ALL SELECT 'extension with rows of its own', e.extname FROM pg_catalog.pg_extension e
  WHERE e.extconfig IS NOT NULL
UNION ALL SELECT 'setting of a login in this database', r.rolname || ': ' ||
       pg_catalog.array_to_string(s.setconfig, ', ')
  FROM pg_catalog.pg_db_role_setting s JOIN here ON here.oid = s.setdatabase
  JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
UNION ALL SELECT 'locale provider', 'ICU or built-in' FROM here
  WHERE COALESCE(here.all_columns->>'datlocprovider', 'c') <> 'c'
UNION ALL SELECT 'prepared transaction', p.gid FROM pg_catalog.pg_prepared_xacts p
  WHERE p.database = pg_catalog.current_database()
)sql";

constexpr char kWarnings[] = R"sql(
WITH here AS MATERIALIZED (
  SELECT * FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
), granted AS (
  SELECT c.relowner AS owner, a.grantee FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
    WHERE c.oid >= 16384
  UNION SELECT c.relowner, x.grantee FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) x WHERE c.oid >= 16384
  UNION SELECT p.proowner, a.grantee FROM pg_catalog.pg_proc p CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) a
    WHERE p.oid >= 16384
  UNION SELECT n.nspowner, a.grantee FROM pg_catalog.pg_namespace n
    CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a WHERE n.oid >= 16384 OR n.nspname = 'public'
  UNION SELECT t.typowner, a.grantee FROM pg_catalog.pg_type t CROSS JOIN LATERAL pg_catalog.aclexplode(t.typacl) a
    WHERE t.oid >= 16384
  UNION SELECT here.datdba, a.grantee FROM here CROSS JOIN LATERAL pg_catalog.aclexplode(here.datacl) a
)
SELECT 'grants to' AS kind, r.rolname::pg_catalog.text AS name FROM pg_catalog.pg_roles r
  WHERE r.oid IN (SELECT grantee FROM granted WHERE grantee <> owner) AND r.rolname <> CURRENT_USER
UNION ALL SELECT 'default privileges of', r.rolname FROM pg_catalog.pg_roles r
  WHERE r.oid IN (SELECT defaclrole FROM pg_catalog.pg_default_acl)
UNION ALL SELECT 'tablespace', t.spcname FROM pg_catalog.pg_tablespace t
  WHERE t.spcname NOT LIKE 'pg\_%'
    AND (t.oid IN (SELECT reltablespace FROM pg_catalog.pg_class) OR t.oid IN (SELECT dattablespace FROM here))
UNION ALL SELECT 'comment on', 'the database' FROM here
  WHERE pg_catalog.shobj_description(here.oid, 'pg_database') IS NOT NULL
UNION ALL SELECT 'connection limit of', 'the database' FROM here WHERE here.datconnlimit <> -1
UNION ALL SELECT 'replication slot', s.slot_name FROM pg_catalog.pg_replication_slots s
  WHERE s.database = pg_catalog.current_database()
UNION ALL SELECT 'schema', n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname = 'pgconvoy'
UNION ALL SELECT 'settings of login', r.rolname FROM pg_catalog.pg_db_role_setting s
  JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
  WHERE s.setdatabase = 0 AND s.setrole IN (SELECT relowner FROM pg_catalog.pg_class WHERE oid >= 16384)
UNION ALL SELECT 'superuser''s rights of SECURITY DEFINER function', n.nspname || '.' || p.proname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
  WHERE p.oid >= 16384 AND p.prosecdef AND r.rolsuper
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1, 2
)sql";

// Whoever owns what the user has made, the schema public aside: the server made it.
constexpr char kOwners[] = R"sql(
WITH owned AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, oid, relowner AS owner FROM pg_catalog.pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'c')
  UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, proowner FROM pg_catalog.pg_proc
  UNION ALL SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, nspowner FROM pg_catalog.pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('pgconvoy', 'public')
  UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid, typowner FROM pg_catalog.pg_type
    WHERE typtype IN ('d', 'e', 'r')
  UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, oid, oprowner FROM pg_catalog.pg_operator
  UNION ALL SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, oid, collowner FROM pg_catalog.pg_collation
  UNION ALL SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, oid, cfgowner FROM pg_catalog.pg_ts_config
  UNION ALL SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, oid, dictowner FROM pg_catalog.pg_ts_dict
  UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, oid, stxowner FROM pg_catalog.pg_statistic_ext
)
SELECT r.rolname, pg_catalog.count(*) FROM owned o JOIN pg_catalog.pg_roles r ON r.oid = o.owner
WHERE o.oid >= 16384
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                  WHERE o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = o.oid
                    AND (n.nspname = 'pgconvoy' OR n.nspname ~ '^pg_'))
GROUP BY r.rolname ORDER BY r.rolname
)sql";

// What the target has to know, too.
constexpr char kExtensions[] = "SELECT extname FROM pg_catalog.pg_extension WHERE oid >= 16384 ORDER BY 1";
constexpr char kPolicyRoles[] = R"sql(
SELECT DISTINCT r.rolname FROM pg_catalog.pg_policy p CROSS JOIN LATERAL pg_catalog.unnest(p.polroles) x (role)
JOIN pg_catalog.pg_roles r ON r.oid = x.role ORDER BY 1
)sql";
constexpr char kCollations[] = R"sql(
SELECT DISTINCT c.collname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid >= 16384 AND c.oid < 16384 AND c.collname NOT IN ('default', 'C', 'POSIX', 'ucs_basic') ORDER BY 1
)sql";
constexpr char kUsesIcu[] = R"sql(
SELECT DISTINCT 'und-x-icu' FROM pg_catalog.pg_collation WHERE oid >= 16384 AND collprovider = 'i'
)sql";
constexpr char kPublicComment[] = R"sql(
SELECT 1 FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'
  AND pg_catalog.obj_description(n.oid, 'pg_namespace') <> 'standard public schema'
)sql";
constexpr char kFunctionSettings[] = R"sql(
SELECT DISTINCT pg_catalog.split_part(c.setting, '=', 1),
       pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1)
FROM pg_catalog.pg_proc p CROSS JOIN LATERAL pg_catalog.unnest(p.proconfig) c (setting)
WHERE p.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
)sql";

// $1: names; those that the target does not have.
constexpr char kNoExtension[] = R"sql(
SELECT n.name FROM pg_catalog.unnest($1::pg_catalog.text[]) n (name)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extension_versions v WHERE v.name = n.name AND v.trusted)
)sql";
constexpr char kNoRole[] = R"sql(
SELECT n.name FROM pg_catalog.unnest($1::pg_catalog.text[]) n (name)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = n.name)
)sql";
constexpr char kNoCollation[] = R"sql(
SELECT n.name FROM pg_catalog.unnest($1::pg_catalog.text[]) n (name)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_collation c WHERE c.collname = n.name)
)sql";

// Kind -> names.
using Found = std::map<std::string, std::vector<std::string>>;

absl::StatusOr<std::vector<std::string>> FirstColumn(pg::Connection& connection,
                                                     const char* sql,
                                                     const std::vector<pg::Param>& params = {}) {
  PGC_ASSIGN_OR_RETURN(const pg::Result rows, connection.Exec(sql, params));
  std::vector<std::string> names;
  for (int row = 0; row < rows.rows(); ++row) {
    names.push_back(rows.Text(row, 0));
  }
  return names;
}

absl::StatusOr<Found> KindsAndNames(pg::Connection& connection, const char* sql) {
  PGC_ASSIGN_OR_RETURN(const pg::Result rows, connection.Exec(sql));
  Found found;
  for (int row = 0; row < rows.rows(); ++row) {
    found[rows.Text(row, 0)].push_back(rows.Text(row, 1));
  }
  return found;
}

std::string Named(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kMaxNamed); ++i) {
    shown.push_back(Printable(names[i]));
  }
  return Join(shown, ", ") +
         (names.size() > kMaxNamed ? " and " + std::to_string(names.size() - kMaxNamed) + " more" : "");
}

// The project's login will own everything, so that everything must have one owner now.
absl::Status AddOwners(pg::Connection& reader, Found& found) {
  PGC_ASSIGN_OR_RETURN(const pg::Result owners, reader.Exec(kOwners));
  for (int row = 0; owners.rows() > 1 && row < owners.rows(); ++row) {
    found["one of several owners"].push_back(owners.Text(row, 0) + " (" + owners.Text(row, 1) + ")");
  }
  return absl::OkStatus();
}

struct Need {
  const char* kind;
  // On the source: names that are used.
  const char* used;
  // On the target: which of them it does not have.
  const char* missing;
};

constexpr Need kNeeds[] = {
    {"extension that the target does not let a plain login install", kExtensions, kNoExtension},
    {"role of a policy that the target does not have", kPolicyRoles, kNoRole},
    {"collation that the target does not have", kCollations, kNoCollation},
    {"collation that the target does not have", kUsesIcu, kNoCollation},
};

absl::Status AddMissing(pg::Connection& reader, pg::Connection& target, Found& found) {
  for (const Need& need : kNeeds) {
    PGC_ASSIGN_OR_RETURN(const auto used, FirstColumn(reader, need.used));
    if (used.empty()) {
      continue;
    }
    PGC_ASSIGN_OR_RETURN(const auto missing, FirstColumn(target, need.missing, {TextArray(used)}));
    if (!missing.empty()) {
      std::vector<std::string>& names = found[need.kind];
      names.insert(names.end(), missing.begin(), missing.end());
    }
  }
  PGC_ASSIGN_OR_RETURN(const auto commented, FirstColumn(reader, kPublicComment));
  if (!commented.empty() && target.server_version() < kOwnedPublic) {
    found["comment that only a superuser can make before PostgreSQL 15"].push_back("on schema public");
  }
  return absl::OkStatus();
}

// The target's server itself says what it takes from the provisioner: on its own database, and never committed.
absl::Status TrySetting(pg::Connection& target, const std::string& name, const std::string& value, Found& found) {
  const bool changes_role = name == "role" || name == "session_authorization";
  if (name == "local_preload_libraries") {
    found["setting that keeps every login out where the library is missing"].push_back(name);
    return absl::OkStatus();
  }
  if (!changes_role) {
    PGC_ASSIGN_OR_RETURN(const auto transaction, pg::Transaction::Begin(target));
    PGC_ASSIGN_OR_RETURN(const pg::Result control, target.Exec("SELECT pg_catalog.current_database()"));
    const absl::Status set = SetOnDatabase(target, control.Text(0, 0), name, value);
    if (set.ok() || VerdictOf(set) != Verdict::kPermanent) {
      return set;
    }
  }
  found["setting that the target's provisioner may not make (from PostgreSQL 15 on: GRANT SET ON PARAMETER)"]
      .push_back(name);
  return absl::OkStatus();
}

absl::Status AddSettings(pg::Connection& reader, pg::Connection& target, Found& found) {
  PGC_ASSIGN_OR_RETURN(auto settings, DatabaseSettings(reader));
  PGC_ASSIGN_OR_RETURN(const pg::Result of_functions, reader.Exec(kFunctionSettings));
  for (int row = 0; row < of_functions.rows(); ++row) {
    settings.emplace_back(of_functions.Text(row, 0), of_functions.Text(row, 1));
  }
  for (const auto& [name, value] : settings) {
    PGC_RETURN_IF_ERROR(TrySetting(target, name, value, found));
  }
  return absl::OkStatus();
}

absl::Status Refuse(const Found& found) {
  std::string all;
  for (const auto& [kind, names] : found) {
    all += (all.empty() ? "" : "; ") + kind + ": " + Named(names);
  }
  return all.empty()
             ? absl::OkStatus()
             : MakeError(Verdict::kPermanent, "PGC-SRC-UNSUPPORTED",
                         "the source database holds what would not arrive: " + all,
                         "drop it, give everything to one owner (REASSIGN OWNED BY other TO owner), or add to the "
                         "target what it lacks; then retry the project");
}

}  // namespace

absl::Status RefuseUncarried(Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(PooledSession target, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(Found found, KindsAndNames(*reader, kRefused));
  PGC_RETURN_IF_ERROR(AddOwners(*reader, found));
  PGC_RETURN_IF_ERROR(AddMissing(*reader, *target, found));
  PGC_RETURN_IF_ERROR(AddSettings(*reader, *target, found));
  PGC_RETURN_IF_ERROR(Refuse(found));
  PGC_ASSIGN_OR_RETURN(const Found warned, KindsAndNames(*reader, kWarnings));
  for (const auto& [kind, names] : warned) {
    attempt.warnings.push_back("not carried: " + kind + " " + Named(names));
  }
  return absl::OkStatus();
}

absl::Status WarnOfUncarried(Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(const Found found, KindsAndNames(*reader, kRefused));
  for (const auto& [kind, names] : found) {
    attempt.warnings.push_back("not in the backup: " + kind + " " + Named(names));
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy::worker
