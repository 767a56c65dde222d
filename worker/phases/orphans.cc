#include "worker/phases/orphans.h"

#include <map>
#include <set>

#include "common/base/error.h"
#include "common/pg/pg_error.h"
#include "worker/backup/backup.h"
#include "worker/core/names.h"
#include "worker/core/sql.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/control.h"
#include "worker/phases/reconcile.h"

namespace pgconvoy::worker {
namespace {

constexpr char kApplicationName[] = "pgc:orphans";
constexpr char kNoSuchDatabase[] = "3D000";

// pgc_a_, pgc_t_, pgc_d_ and pgc_tmpl are Reconcile's.
constexpr char kCommented[] = R"sql(
SELECT kind, name, comment FROM (
  SELECT 'role' AS kind, rolname AS name, pg_catalog.shobj_description(oid, 'pg_authid') AS comment
  FROM pg_catalog.pg_roles
  UNION ALL
  SELECT 'database', datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
) AS o
WHERE comment IS NOT NULL AND name !~ '^pgc_([atd]_|tmpl)' ORDER BY kind, name
)sql";
constexpr char kFrozen[] = "SELECT project FROM pgconvoy.freeze WHERE store_id = $1 ORDER BY project";

class OrphanFinder {
 public:
  OrphanFinder(SessionPool& pool,
               const v1::Plan& plan,
               const std::string& store_id,
               const v1::ReconcileTask& task,
               const std::function<void(const std::string&)>& say)
      : pool_(pool),
        plan_(plan),
        store_id_(store_id),
        task_(task),
        live_(task.live_refs().begin(), task.live_refs().end()),
        sealed_(task.backup_ids().begin(), task.backup_ids().end()),
        remove_(task.list_only() ? "would remove " : "removed "),
        say_(say) {}

  absl::Status Run() {
    for (const auto& [name, server] : std::map(plan_.servers().begin(), plan_.servers().end())) {
      if (server.has_provisioner()) {
        PGC_RETURN_IF_ERROR(Server(name, server));
      }
    }
    if (plan_.has_registry()) {
      PGC_RETURN_IF_ERROR(Frozen());
    }
    return plan_.has_backup() ? Folders() : absl::OkStatus();
  }

 private:
  void Leave(const std::string& what) { say_("left alone " + what); }

  absl::Status Server(const std::string& name, const v1::Server& server) {
    PGC_RETURN_IF_ERROR(Reconcile(pool_, server, store_id_, task_,
                                  [&](const std::string& what) { say_(remove_ + what + " on " + name); }));
    auto control = pool_.Acquire(server, LoginKind::kProvisioner, ControlDatabase(server), kApplicationName);
    if (pg::SqlStateOf(control.status()) == kNoSuchDatabase) {
      return absl::OkStatus();
    }
    PGC_RETURN_IF_ERROR(control.status());
    PGC_ASSIGN_OR_RETURN(const pg::Result rows, (*control)->Exec(kCommented));
    for (int row = 0; row < rows.rows(); ++row) {
      const auto ref = ProjectOfComment(rows.Text(row, 2), store_id_);
      if (ref.has_value() && !live_.contains(*ref)) {
        PGC_RETURN_IF_ERROR(
            Judge(rows.Text(row, 0) + " " + rows.Text(row, 1) + " on " + name, rows.Text(row, 1), *ref));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Judge(const std::string& what, const std::string& name, const std::string& ref) {
    if (name.starts_with("pgc_kept_")) {
      Leave(what + ": set aside by a rollback of project " + ref + " that discarded its tenant's writes");
      return absl::OkStatus();
    }
    if (!plan_.has_registry() || plan_.cutover().set().empty()) {
      return absl::OkStatus();
    }
    PGC_ASSIGN_OR_RETURN(const bool named, RegistryNames(ref, name));
    if (!named) {
      Leave(what + ": made for project " + ref + ", whose registry row does not name it");
    }
    return absl::OkStatus();
  }

  // Whether a column that CUTOVER sets holds this name.
  absl::StatusOr<bool> RegistryNames(const std::string& ref, const std::string& name) {
    std::string columns;
    for (const auto& [column, value] : plan_.cutover().set()) {
      columns += (columns.empty() ? "" : ", ") + Ident(column) + "::pg_catalog.text";
    }
    PGC_ASSIGN_OR_RETURN(PooledSession registrar, Registrar());
    PGC_ASSIGN_OR_RETURN(const pg::Result found,
                         registrar->Exec("SELECT 1 FROM " + SplitTable(plan_.registry().table()).Quoted() +
                                             " WHERE " + Ident(plan_.registry().ref_column()) +
                                             "::pg_catalog.text = $1 AND $2 IN (" + columns + ")",
                                         {ref, name}));
    return found.rows() > 0;
  }

  absl::StatusOr<PooledSession> Registrar() {
    return pool_.Acquire(plan_.servers().at(plan_.registry().server()), LoginKind::kRegistrar,
                         plan_.registry().database(), kApplicationName);
  }

  absl::Status Frozen() {
    PGC_ASSIGN_OR_RETURN(PooledSession registrar, Registrar());
    PGC_ASSIGN_OR_RETURN(const bool used, HasOwnTable(*registrar, "pgconvoy.freeze"));
    if (!used) {
      return absl::OkStatus();
    }
    PGC_ASSIGN_OR_RETURN(const pg::Result rows, registrar->Exec(kFrozen, {store_id_}));
    for (int row = 0; row < rows.rows(); ++row) {
      if (!live_.contains(rows.Text(row, 0))) {
        Leave("project " + rows.Text(row, 0) + ": its writes are still stopped; see `pgconvoy repair`");
      }
    }
    return absl::OkStatus();
  }

  absl::Status Folders() {
    PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(plan_));
    PGC_ASSIGN_OR_RETURN(const auto folders, backup::ListFolders(root, store_id_));
    for (const backup::FoundFolder& folder : folders) {
      if (!live_.contains(folder.ref) && folder.fence < task_.next_fence()) {
        PGC_RETURN_IF_ERROR(Folder(root, folder));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Folder(const std::string& root, const backup::FoundFolder& folder) {
    const std::string id = backup::BackupId(folder.ref, folder.fence);
    if (folder.doomed || !folder.has_manifest) {
      const auto remove = folder.doomed ? backup::RemoveSealed : backup::RemoveUnsealed;
      PGC_RETURN_IF_ERROR(task_.list_only() ? absl::OkStatus() : remove(root, store_id_, folder.ref, folder.fence));
      say_(remove_ + (folder.doomed ? "what is left of the pruned backup " : "the unsealed backup ") + id);
      return absl::OkStatus();
    }
    if (!sealed_.contains(id)) {
      Leave("backup " + id + ": it has a manifest and the store does not know it");
    }
    return absl::OkStatus();
  }

  SessionPool& pool_;
  const v1::Plan& plan_;
  const std::string& store_id_;
  const v1::ReconcileTask& task_;
  const std::set<std::string> live_;
  const std::set<std::string> sealed_;
  const std::string remove_;
  const std::function<void(const std::string&)>& say_;
};

}  // namespace

absl::Status FindOrphans(SessionPool& pool,
                         const v1::Plan& plan,
                         const std::string& store_id,
                         const v1::ReconcileTask& task,
                         const std::function<void(const std::string& line)>& say) {
  return OrphanFinder(pool, plan, store_id, task, say).Run();
}

}  // namespace pgconvoy::worker
