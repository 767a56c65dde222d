#include "worker/phases/template.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/core/names.h"
#include "worker/core/sql.h"
#include "worker/phases/schema.h"

namespace pgconvoy::worker {
namespace {

// The COMMENT of a template names no project; "@" cannot begin a ref.
constexpr char kTemplateProject[] = "@template";

// The version from which schema public belongs to pg_database_owner, and a database names its locale provider.
constexpr int kOwnedPublic = 150000;

constexpr char kTemplateExists[] = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1 AND datistemplate";
constexpr char kHalfLaid[] = R"sql(
SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, $1)
)sql";
constexpr char kEndSessions[] = R"sql(
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid, 5000)) FROM pg_catalog.pg_stat_activity
WHERE datname = $1 AND usename IS NOT NULL
)sql";
constexpr char kLock[] = "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1, 0))";
constexpr char kUnlock[] = "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended($1, 0))";

class TemplateLayer {
 public:
  TemplateLayer(Attempt& attempt, const SourceSchema& schema, const TemplateNames& names, pg::Connection& control)
      : attempt_(attempt),
        schema_(schema),
        names_(names),
        control_(control),
        half_laid_(names.database + "_" + std::to_string(attempt.grant().fence)) {}

  absl::Status Lay() {
    PGC_RETURN_IF_ERROR(DropHalfLaid());
    PGC_RETURN_IF_ERROR(PrepareOwner());
    PGC_FAILPOINT("worker.template.owner_made");
    PGC_RETURN_IF_ERROR(CreateDatabase());
    PGC_FAILPOINT("worker.template.created");
    PGC_RETURN_IF_ERROR(LaySchema());
    PGC_FAILPOINT("worker.template.laid");
    return Publish();
  }

 private:
  // Whoever made one of these is gone: its session would hold the lock that we hold.
  absl::Status DropHalfLaid() {
    PGC_ASSIGN_OR_RETURN(const pg::Result found, control_.Exec(kHalfLaid, {names_.database + "_"}));
    for (int row = 0; row < found.rows(); ++row) {
      PGC_RETURN_IF_ERROR(control_.Exec(kEndSessions, {found.Text(row, 0)}).status());
      PGC_RETURN_IF_ERROR(control_.ExecScript("DROP DATABASE " + Ident(found.Text(row, 0))));
    }
    return absl::OkStatus();
  }

  absl::Status PrepareOwner() {
    password_ = RandomPassword();
    const std::string owner = Ident(names_.owner);
    PGC_ASSIGN_OR_RETURN(const pg::Result found,
                         control_.Exec("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", {names_.owner}));
    const std::string verb = found.rows() == 0 ? "CREATE ROLE " : "ALTER ROLE ";
    return control_.ExecScript(verb + owner + " LOGIN NOINHERIT PASSWORD " + Literal(ScramVerifier(password_, 1)) +
                               "; COMMENT ON ROLE " + owner + " IS " + Literal(Comment()) + "; GRANT " + owner +
                               " TO CURRENT_USER");
  }

  absl::Status CreateDatabase() {
    PGC_RETURN_IF_ERROR(control_.ExecScript("CREATE DATABASE " + Ident(half_laid_) + " TEMPLATE template0 ENCODING " +
                                            Literal(schema_.encoding) + " LC_COLLATE " + Literal(schema_.collate) +
                                            " LC_CTYPE " + Literal(schema_.ctype) + LocaleProvider() +
                                            " ALLOW_CONNECTIONS false"));
    const std::string database = Ident(half_laid_);
    PGC_RETURN_IF_ERROR(control_.ExecScript(
        "REVOKE ALL ON DATABASE " + database + " FROM PUBLIC; GRANT CONNECT, CREATE ON DATABASE " + database +
        " TO " + Ident(names_.owner) + "; ALTER DATABASE " + database + " ALLOW_CONNECTIONS true"));
    return GivePublicAway();
  }

  // From 15 on, schema public is the database's owner's and nobody else may make anything in it.
  absl::Status GivePublicAway() {
    const bool moves = std::find(schema_.schemas.begin(), schema_.schemas.end(), "public") != schema_.schemas.end();
    if (!moves || control_.server_version() < kOwnedPublic) {
      return absl::OkStatus();
    }
    PGC_ASSIGN_OR_RETURN(const auto session,
                         SessionPool::OpenShared(attempt_.target_server(), LoginKind::kProvisioner, half_laid_,
                                                 attempt_.names().application_name));
    return session->ExecScript("ALTER SCHEMA public OWNER TO " + Ident(names_.owner));
  }

  // The definition comes from the source's owners, so it is run by a login that can do nothing else.
  absl::Status LaySchema() {
    PGC_ASSIGN_OR_RETURN(auto session, SessionPool::Open(attempt_.target_server(), names_.owner, password_,
                                                         half_laid_, attempt_.names().application_name, {}));
    session->SetSilenceLimit(attempt_.plan().execution().phase_timeout_ms());
    PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(*session));
    PGC_RETURN_IF_ERROR(session->ExecScript("SET LOCAL search_path = ''; SET LOCAL check_function_bodies = off"));
    if (const absl::Status laid = session->ExecScript(schema_.template_sql); !laid.ok()) {
      return Annotate(laid, "laying the source's schema in a template database");
    }
    return transaction->Commit();
  }

  absl::Status Publish() {
    PGC_RETURN_IF_ERROR(control_.Exec(kEndSessions, {half_laid_}).status());
    PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(control_));
    const std::string database = Ident(half_laid_);
    PGC_RETURN_IF_ERROR(control_.ExecScript("ALTER ROLE " + Ident(names_.owner) + " NOLOGIN; ALTER DATABASE " +
                                            database + " ALLOW_CONNECTIONS false; ALTER DATABASE " + database +
                                            " IS_TEMPLATE true; COMMENT ON DATABASE " + database + " IS " +
                                            Literal(Comment()) + "; ALTER DATABASE " + database + " RENAME TO " +
                                            Ident(names_.database)));
    PGC_FAILPOINT("worker.template.before_published");
    return transaction->Commit();
  }

  // A server's template0 may have another one, to which these locale names mean nothing.
  std::string LocaleProvider() const {
    return control_.server_version() >= kOwnedPublic ? " LOCALE_PROVIDER libc" : "";
  }

  std::string Comment() const {
    return OwnerComment({attempt_.grant().store_id, kTemplateProject, attempt_.grant().migration_id},
                        attempt_.grant().fence);
  }

  Attempt& attempt_;
  const SourceSchema& schema_;
  const TemplateNames& names_;
  pg::Connection& control_;
  const std::string half_laid_;
  Secret password_;
};

}  // namespace

absl::Status LayTemplate(Attempt& attempt, const SourceSchema& schema, const TemplateNames& names) {
  PGC_ASSIGN_OR_RETURN(PooledSession control, attempt.Provisioner());
  PGC_RETURN_IF_ERROR(control->Exec(kLock, {names.database}).status());
  absl::Status laid = absl::OkStatus();
  const auto present = control->Exec(kTemplateExists, {names.database});
  if (!present.ok()) {
    laid = present.status();
  } else if (present->rows() == 0) {
    laid = TemplateLayer(attempt, schema, names, *control).Lay();
  }
  // The session goes back to the pool; a lock that stayed on it would keep every other worker out.
  const absl::Status unlocked = control->Exec(kUnlock, {names.database}).status();
  return laid.ok() ? unlocked : laid;
}

}  // namespace pgconvoy::worker
