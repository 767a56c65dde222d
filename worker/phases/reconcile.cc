#include "worker/phases/reconcile.h"

#include <map>
#include <optional>
#include <set>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/pg/pg_error.h"
#include "common/plan/server_choice.h"
#include "worker/core/names.h"
#include "worker/core/sql.h"
#include "worker/core/takeover.h"
#include "worker/phases/control.h"

namespace pgconvoy::worker {
namespace {

constexpr char kApplicationName[] = "pgc:reconcile";
constexpr char kNoSuchDatabase[] = "3D000";

constexpr char kProjects[] = "SELECT project FROM pgconvoy.fence WHERE store_id = $1";
constexpr char kLockFence[] = "SELECT fence FROM pgconvoy.fence WHERE store_id = $1 AND project = $2 FOR UPDATE";
constexpr char kLogins[] = "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.starts_with(rolname, 'pgc_a_')";
constexpr char kDatabases[] = R"sql(
SELECT datname, datconnlimit = -2 FROM pg_catalog.pg_database
WHERE pg_catalog.starts_with(datname, 'pgc_t_') OR pg_catalog.starts_with(datname, 'pgc_d_')
)sql";
// Hashes of all templates, of what was to become one, and of their owners.
constexpr char kTemplateHashes[] = R"sql(
SELECT pg_catalog.substr(datname, 10, 16) FROM pg_catalog.pg_database
WHERE datname ~ '^pgc_tmpl_[0-9a-f]{16}(_[0-9]+)?$'
UNION
SELECT pg_catalog.substr(rolname, 11, 16) FROM pg_catalog.pg_roles WHERE rolname ~ '^pgc_tmplo_[0-9a-f]{16}$'
)sql";
// What was left half laid or half removed comes first.
constexpr char kTemplatesOf[] = R"sql(
SELECT datname, datistemplate, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
WHERE (datname = $1 OR pg_catalog.starts_with(datname, $1 || '_'))
  AND pg_catalog.pg_has_role(CURRENT_USER, datdba, 'USAGE')
ORDER BY datname DESC
)sql";
constexpr char kOwnerComment[] =
    "SELECT pg_catalog.shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles WHERE rolname = $1";
// As whoever lays it: nobody does while the lock is held.
constexpr char kTryLock[] = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0))";
constexpr char kUnlock[] = "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended($1, 0))";
constexpr char kEndSessionsOf[] = R"sql(
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid, 5000)) FROM pg_catalog.pg_stat_activity
WHERE (usename = $1 OR datname = $1) AND usename IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
)sql";

// No fence is 0.
constexpr char kRetired[] = "_0";
constexpr size_t kPrefix = 6;
constexpr size_t kHash = 16;

// What a name of one of the forms pgc_x_<hash>_<fence> says.
struct ParsedName {
  std::string hash;
  int64_t fence = 0;
};
std::optional<ParsedName> Parse(const std::string& name) {
  if (name.size() < kPrefix + kHash + 2) {
    return std::nullopt;
  }
  const auto fence = FenceInName(name, name.substr(0, kPrefix + kHash + 1));
  if (!fence.has_value()) {
    return std::nullopt;
  }
  return ParsedName{name.substr(kPrefix, kHash), *fence};
}

class Reconciler {
 public:
  Reconciler(pg::Connection& control,
             const std::string& store_id,
             const v1::ReconcileTask& task,
             const SayRemoved& say)
      : control_(control),
        store_id_(store_id),
        say_(say),
        live_refs_(task.live_refs().begin(), task.live_refs().end()),
        next_fence_(task.next_fence()),
        list_only_(task.list_only()) {}

  absl::Status Run() {
    if (list_only_) {
      PGC_ASSIGN_OR_RETURN(const bool used, HasOwnTable(control_, "pgconvoy.fence"));
      if (!used) {
        return absl::OkStatus();
      }
    } else {
      PGC_RETURN_IF_ERROR(EnsureControlTables(control_));
    }
    PGC_RETURN_IF_ERROR(ReadProjects());
    PGC_RETURN_IF_ERROR(RemoveLogins());
    PGC_RETURN_IF_ERROR(RemoveDatabases());
    return live_refs_.empty() ? RemoveTemplates() : absl::OkStatus();
  }

 private:
  absl::Status ReadProjects() {
    PGC_ASSIGN_OR_RETURN(const pg::Result rows, control_.Exec(kProjects, {store_id_}));
    for (int row = 0; row < rows.rows(); ++row) {
      const std::string project = rows.Text(row, 0);
      projects_[ProjectHash(store_id_, project)] = project;
    }
    return absl::OkStatus();
  }

  // Begins a transaction that holds the project's fence row if the object is nobody's any more; null if it is not ours
  // or still somebody's. While the row is held no attempt can begin.
  absl::StatusOr<std::unique_ptr<pg::Transaction>> ClaimStale(const std::string& name) {
    const auto parsed = Parse(name);
    const auto project = parsed ? projects_.find(parsed->hash) : projects_.end();
    if (project == projects_.end()) {
      return std::unique_ptr<pg::Transaction>();
    }
    PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(control_));
    PGC_ASSIGN_OR_RETURN(const pg::Result row, control_.Exec(kLockFence, {store_id_, project->second}));
    const int64_t newest = row.rows() == 1 ? row.Int(0, 0) : 0;
    if (IsOwned(parsed->fence, newest, next_fence_, live_refs_.contains(project->second))) {
      transaction.reset();
    }
    return transaction;
  }

  absl::Status RemoveLogins() {
    PGC_ASSIGN_OR_RETURN(const pg::Result logins, control_.Exec(kLogins));
    for (int row = 0; row < logins.rows(); ++row) {
      const std::string name = logins.Text(row, 0);
      PGC_ASSIGN_OR_RETURN(const auto claimed, ClaimStale(name));
      if (claimed == nullptr) {
        continue;
      }
      if (!list_only_) {
        PGC_RETURN_IF_ERROR(control_.ExecScript("ALTER ROLE " + Ident(name) + " NOLOGIN"));
        PGC_RETURN_IF_ERROR(control_.Exec(kEndSessionsOf, {name}).status());
        PGC_FAILPOINT("worker.reconcile.login_shut");
        PGC_RETURN_IF_ERROR(control_.ExecScript("DROP ROLE " + Ident(name)));
        PGC_RETURN_IF_ERROR(claimed->Commit());
      }
      say_("login " + name + OfProject(name));
    }
    return absl::OkStatus();
  }

  // Of a name that ClaimStale knows.
  std::string OfProject(const std::string& name) const { return " of project " + projects_.at(Parse(name)->hash); }

  // Such a name belongs to one fence only, and that attempt is over: nobody else will ever use or look for it.
  absl::Status RemoveDatabases() {
    PGC_ASSIGN_OR_RETURN(const pg::Result databases, control_.Exec(kDatabases));
    for (int row = 0; row < databases.rows(); ++row) {
      const std::string name = databases.Text(row, 0);
      PGC_ASSIGN_OR_RETURN(auto claimed, ClaimStale(name));
      if (claimed == nullptr) {
        continue;
      }
      if (list_only_) {
        say_("database " + name + OfProject(name));
        continue;
      }
      if (!databases.Bool(row, 1)) {
        PGC_RETURN_IF_ERROR(control_.ExecScript("ALTER DATABASE " + Ident(name) + " ALLOW_CONNECTIONS false"));
      }
      PGC_RETURN_IF_ERROR(claimed->Commit());
      PGC_FAILPOINT("worker.reconcile.database_shut");
      PGC_RETURN_IF_ERROR(control_.Exec(kEndSessionsOf, {name}).status());
      PGC_RETURN_IF_ERROR(control_.ExecScript("DROP DATABASE IF EXISTS " + Ident(name)));
      say_("database " + name + OfProject(name));
    }
    return absl::OkStatus();
  }

  absl::Status RemoveTemplates() {
    PGC_ASSIGN_OR_RETURN(const pg::Result hashes, control_.Exec(kTemplateHashes));
    for (int row = 0; row < hashes.rows(); ++row) {
      const std::string hash = hashes.Text(row, 0);
      const std::string name = "pgc_tmpl_" + hash;
      PGC_ASSIGN_OR_RETURN(const pg::Result locked, control_.Exec(kTryLock, {name}));
      if (locked.Bool(0, 0)) {
        const absl::Status removed = RemoveTemplate(name, "pgc_tmplo_" + hash);
        // The session goes back to the pool.
        PGC_RETURN_IF_ERROR(control_.Exec(kUnlock, {name}).status());
        PGC_RETURN_IF_ERROR(removed);
      }
    }
    return absl::OkStatus();
  }

  absl::Status RemoveTemplate(const std::string& name, const std::string& owner) {
    PGC_ASSIGN_OR_RETURN(const pg::Result databases, control_.Exec(kTemplatesOf, {name}));
    for (int row = 0; row < databases.rows(); ++row) {
      std::string database = databases.Text(row, 0);
      if (databases.Bool(row, 1)) {
        if (!ProjectOfComment(databases.Text(row, 2), store_id_).has_value()) {
          return absl::OkStatus();
        }
        if (!list_only_) {
          PGC_RETURN_IF_ERROR(Retire(database));
          database += kRetired;
        }
      }
      if (list_only_) {
        say_("template " + database);
        continue;
      }
      PGC_FAILPOINT("worker.template.before_drop");
      PGC_RETURN_IF_ERROR(control_.Exec(kEndSessionsOf, {database}).status());
      PGC_RETURN_IF_ERROR(control_.ExecScript("DROP DATABASE IF EXISTS " + Ident(database)));
      say_("template " + database);
    }
    PGC_ASSIGN_OR_RETURN(const pg::Result comment, control_.Exec(kOwnerComment, {owner}));
    if (comment.rows() == 1 && ProjectOfComment(comment.Text(0, 0), store_id_).has_value()) {
      PGC_FAILPOINT("worker.template.before_owner_dropped");
      PGC_RETURN_IF_ERROR(list_only_ ? absl::OkStatus() : control_.ExecScript("DROP ROLE " + Ident(owner)));
      say_("template's owner " + owner);
    }
    return absl::OkStatus();
  }

  // Gives it the name of one that is half laid, which whoever needs the template next drops: a process that dies
  // before the drop stands in nobody's way.
  absl::Status Retire(const std::string& database) {
    PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(control_));
    PGC_RETURN_IF_ERROR(control_.ExecScript("ALTER DATABASE " + Ident(database) +
                                            " IS_TEMPLATE false; ALTER DATABASE " + Ident(database) + " RENAME TO " +
                                            Ident(database + kRetired)));
    return transaction->Commit();
  }

  pg::Connection& control_;
  const std::string& store_id_;
  const SayRemoved& say_;
  const std::set<std::string> live_refs_;
  const int64_t next_fence_;
  const bool list_only_;
  // Hash -> project.
  std::map<std::string, std::string> projects_;
};

}  // namespace

absl::Status Reconcile(SessionPool& pool,
                       const v1::Server& server,
                       const std::string& store_id,
                       const v1::ReconcileTask& task,
                       const SayRemoved& say) {
  // Listing makes nothing, so it does not make the control database either.
  auto control = task.list_only()
                     ? pool.Acquire(server, LoginKind::kProvisioner, ControlDatabase(server), kApplicationName)
                     : AcquireControl(pool, server, kApplicationName);
  if (task.list_only() && pg::SqlStateOf(control.status()) == kNoSuchDatabase) {
    return absl::OkStatus();
  }
  PGC_RETURN_IF_ERROR(control.status());
  return Reconciler(**control, store_id, task, say).Run();
}

absl::Status ReconcileTarget(SessionPool& pool,
                             const v1::Plan& plan,
                             const std::string& store_id,
                             const v1::ReconcileTask& task,
                             const SayRemoved& say) {
  if (!plan.has_target() || plan.execution().mode() == v1::Execution::BACKUP_ONLY) {
    return absl::OkStatus();
  }
  absl::Status first_failure;
  for (const std::string& name : plan::PossibleServers(plan, plan.target().server())) {
    const v1::Server& server = plan.servers().at(name);
    if (server.has_provisioner()) {
      // One server that is down keeps nobody from tidying the others.
      first_failure.Update(Reconcile(pool, server, store_id, task,
                                     [&](const std::string& what) { say("removed " + what + " on " + name); }));
    }
  }
  return first_failure;
}

}  // namespace pgconvoy::worker
