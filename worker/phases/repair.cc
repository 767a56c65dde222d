#include "worker/phases/repair.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/plan/plan.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"
#include "worker/phases/databases.h"
#include "worker/phases/phases.h"
#include "worker/phases/registry.h"
#include "worker/phases/roles.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

constexpr char kIsFrozen[] = R"sql(
SELECT 1 FROM pgconvoy.freeze WHERE store_id = $1 AND project = $2
)sql";
constexpr char kMayReadVerifiers[] = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')";
constexpr char kVerifier[] = "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1";
constexpr char kLaterCutover[] = R"sql(
SELECT 1 FROM pgconvoy.cutover WHERE store_id = $1 AND project = $2 AND fence > $3::bigint AND undone_fence IS NULL
)sql";

class Repairer {
 public:
  Repairer(Attempt& attempt, bool mend, v1::ProjectInspection& found)
      : attempt_(attempt), mend_(mend), inspection_(found) {
    inspection_.set_ref(attempt.grant().ref);
  }

  absl::Status Run() {
    if (mend_) {
      PGC_RETURN_IF_ERROR(HoldFence());
    }
    if (attempt_.has_registry()) {
      PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt_.Registrar());
      PGC_ASSIGN_OR_RETURN(has_records_, HasOwnTable(*registrar, "pgconvoy.cutover"));
      PGC_RETURN_IF_ERROR(Freeze(*registrar));
    }
    if (attempt_.Result(Phase::kCleanup) != nullptr && attempt_.grant().direction == Direction::kForward) {
      PGC_RETURN_IF_ERROR(Migrated());
    } else if (attempt_.has_credentials() && attempt_.grant().direction == Direction::kRollback) {
      PGC_RETURN_IF_ERROR(Undone());
    }
    return absl::OkStatus();
  }

 private:
  // Pointers into a repeated field stay good while it grows.
  v1::CheckResult* Differs(const std::string& name, const std::string& what, const std::string& why_not) {
    v1::CheckResult* const check = inspection_.add_checks();
    check->set_name(name);
    check->set_message(what);
    check->set_remedy(why_not);
    return check;
  }

  // For what can be mended.
  absl::Status Mend(v1::CheckResult* difference, const std::function<absl::Status()>& act) {
    if (!mend_) {
      difference->set_remedy("--mend puts this right");
      return absl::OkStatus();
    }
    PGC_RETURN_IF_ERROR(act());
    PGC_FAILPOINT("worker.repair.mended");
    difference->set_passed(true);
    difference->clear_remedy();
    return absl::OkStatus();
  }

  absl::Status Raise(absl::StatusOr<PooledSession> session) {
    PGC_RETURN_IF_ERROR(session.status());
    PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(**session));
    PGC_RETURN_IF_ERROR(RaiseFence(**session, attempt_));
    return transaction->Commit();
  }

  // From here on every transaction compares its own; an attempt that begins meanwhile ends this.
  absl::Status HoldFence() {
    if (attempt_.has_registry()) {
      PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt_.Registrar());
      PGC_RETURN_IF_ERROR(EnsureRegistryTables(*registrar));
      PGC_RETURN_IF_ERROR(Raise(std::move(registrar)));
    }
    return attempt_.has_credentials() ? Raise(attempt_.Provisioner()) : absl::OkStatus();
  }

  absl::Status Freeze(pg::Connection& registrar) {
    if (attempt_.plan().freeze().apply().empty() || !has_records_) {
      return absl::OkStatus();
    }
    PGC_ASSIGN_OR_RETURN(const pg::Result frozen,
                         registrar.Exec(kIsFrozen, {attempt_.grant().store_id, attempt_.grant().ref}));
    if (frozen.rows() == 0) {
      return absl::OkStatus();
    }
    return Mend(Differs("freeze", "the project's writes are still stopped", ""),
                [&] { return UndoFreeze(attempt_).status(); });
  }

  // ---- a project that stays migrated ---------------------------------------------------------------------------

  absl::Status Migrated() {
    if (attempt_.has_credentials()) {
      PGC_RETURN_IF_ERROR(Role());
    }
    if (attempt_.has_target()) {
      PGC_RETURN_IF_ERROR(Database());
    }
    return attempt_.has_cutover() ? Registry() : absl::OkStatus();
  }

  absl::Status Role() {
    const v1::PhaseResult* const made = attempt_.Result(Phase::kCredentials);
    if (made == nullptr) {
      return absl::OkStatus();
    }
    if (made->credentials().sealed_password().empty() && !made->credentials().revoked()) {
      Differs("credential", "the store has no sealed password of the project",
              "nobody can make one up: roll the project back and migrate it again");
    }
    const std::string& user = attempt_.project().user;
    PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt_.Provisioner());
    PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt_, user));
    target_sound_ = role.exists && role.own;
    if (!role.exists) {
      Differs("role", "role " + user + " does not exist",
              "a role that is made anew would own nothing: find out who dropped or renamed it");
      return absl::OkStatus();
    }
    if (!role.own) {
      Differs("role", "role " + user + " does not carry the COMMENT of this migration",
              "it may be another one: not touched");
      return absl::OkStatus();
    }
    if (made->credentials().revoked()) {
      return absl::OkStatus();
    }
    PGC_RETURN_IF_ERROR(RoleVerifier(*provisioner, made->credentials()));
    if (role.can_login) {
      return absl::OkStatus();
    }
    return Mend(Differs("role", "role " + user + " may not log in", ""),
                [&] { return Fenced(*provisioner, "ALTER ROLE " + Ident(user) + " LOGIN"); });
  }

  // Only a superuser may read verifiers.
  absl::Status RoleVerifier(pg::Connection& provisioner, const v1::CredentialsResult& made) {
    PGC_ASSIGN_OR_RETURN(const pg::Result may, provisioner.Exec(kMayReadVerifiers));
    if (!may.Bool(0, 0)) {
      return absl::OkStatus();
    }
    PGC_ASSIGN_OR_RETURN(const pg::Result verifier, provisioner.Exec(kVerifier, {made.user()}));
    if (verifier.rows() == 1 && verifier.Text(0, 0) == made.verifier()) {
      return absl::OkStatus();
    }
    return Mend(
        Differs("verifier", "role " + made.user() + " has another password than the one that was delivered", ""),
        [&] {
          return Fenced(provisioner, "ALTER ROLE " + Ident(made.user()) + " PASSWORD " + Literal(made.verifier()));
        });
  }

  absl::Status Fenced(pg::Connection& connection, const std::string& script) {
    return InFencedTransaction(connection, attempt_,
                               [&script](pg::Connection& fenced) { return fenced.ExecScript(script); });
  }

  absl::Status Database() {
    const std::string& name = attempt_.project().database;
    PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt_.Provisioner());
    PGC_ASSIGN_OR_RETURN(const auto databases, ProjectDatabases(*provisioner, attempt_));
    const DatabaseInfo* found = nullptr;
    for (const DatabaseInfo& database : databases) {
      found = database.name == name ? &database : found;
    }
    if (found == nullptr || found->invalid) {
      target_sound_ = false;
      Differs("database", "database " + name + " does not exist",
              "its rows are in the backup: see `pgconvoy backup list` and `pgconvoy backup restore`");
      return absl::OkStatus();
    }
    if (!found->own || found->owner != attempt_.project().user) {
      target_sound_ = false;
      Differs("database",
              "database " + name +
                  (found->own ? " belongs to " + found->owner + " instead of " + attempt_.project().user
                              : " does not carry the COMMENT of this migration"),
              "somebody has changed it for a reason that nobody can see from here: not touched");
      return absl::OkStatus();
    }
    return found->connectable ? absl::OkStatus() : LetIn(*provisioner, name);
  }

  absl::Status LetIn(pg::Connection& provisioner, const std::string& name) {
    const std::string user = Ident(attempt_.project().user);
    v1::CheckResult* const difference = Differs("database", "database " + name + " accepts no connections", "");
    // Only a member of the owner may alter a database.
    const absl::Status done = Mend(difference, [&] {
      return Fenced(provisioner, "GRANT " + user + " TO CURRENT_USER; ALTER DATABASE " + Ident(name) +
                                     " ALLOW_CONNECTIONS true; REVOKE " + user + " FROM CURRENT_USER");
    });
    target_sound_ = target_sound_ && difference->passed();
    return done;
  }

  absl::Status Registry() {
    PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt_.Registrar());
    std::optional<CutoverRecord> record;
    if (has_records_) {
      PGC_ASSIGN_OR_RETURN(record, FindCutover(*registrar, attempt_));
    }
    if (!record.has_value()) {
      Differs("cutover", "the registry's database has no record of the cutover",
              "without it nobody can tell what the row should be: not touched");
      return absl::OkStatus();
    }
    PGC_ASSIGN_OR_RETURN(const RegistryValues now, ReadRegistryRow(*registrar, attempt_, /*lock=*/false));
    if (now == record->after) {
      return absl::OkStatus();
    }
    v1::CheckResult* const difference =
        Differs("registry", "the registry row is not what the cutover made it: " + Changed(now, record->after), "");
    PGC_ASSIGN_OR_RETURN(const std::string why_not, WhyNotSwitch(*registrar, now, *record));
    if (!why_not.empty()) {
      difference->set_remedy(why_not);
      return absl::OkStatus();
    }
    return Mend(difference, [&] { return Switch(*registrar, now, record->after); });
  }

  // Names of columns; values may be secrets.
  static std::string Changed(const RegistryValues& now, const RegistryValues& wanted) {
    std::string columns;
    for (const auto& [column, value] : wanted) {
      const auto found = now.find(column);
      if (found == now.end() || found->second != value) {
        columns += (columns.empty() ? "" : ", ") + column;
      }
    }
    return columns;
  }

  // "" when it is safe to give the row the values of the cutover again.
  absl::StatusOr<std::string> WhyNotSwitch(pg::Connection& registrar,
                                           const RegistryValues& now,
                                           const CutoverRecord& record) {
    for (const auto& [column, value] : now) {
      if (value != record.before.at(column) && value != record.after.at(column)) {
        return "column " + column + " has a value from neither before nor after the cutover: not touched";
      }
    }
    PGC_ASSIGN_OR_RETURN(const pg::Result later,
                         registrar.Exec(kLaterCutover, {attempt_.grant().store_id, attempt_.grant().ref,
                                                        std::to_string(record.fence)}));
    if (later.rows() > 0) {
      return std::string("a later migration has cut the project over: repair that one");
    }
    if (!target_sound_) {
      return std::string("role and database are not as they should be; put them right first");
    }
    return attempt_.has_target() ? WhyNotVerified() : std::string();
  }

  // While the row had its old values the tenant may have gone on in the source.
  absl::StatusOr<std::string> WhyNotVerified() {
    const v1::PhaseResult* const sealed = attempt_.Result(Phase::kBackup);
    const v1::PhaseResult* const verified = attempt_.Result(Phase::kVerify);
    if (sealed == nullptr || verified == nullptr || verified->verify().backup_id() != sealed->backup().backup_id()) {
      return std::string("there is no verification of what the target was loaded with");
    }
    PGC_ASSIGN_OR_RETURN(const auto source, SourceDigests(attempt_));
    const std::string difference =
        FirstDifference({sealed->backup().tables().begin(), sealed->backup().tables().end()}, source);
    return difference.empty() ? ""
                              : "the source was written to since it was copied (" + difference +
                                    "): what was written there would be lost from sight";
  }

  absl::Status Switch(pg::Connection& registrar, const RegistryValues& now, const RegistryValues& wanted) {
    return InFencedTransaction(registrar, attempt_, [&](pg::Connection& connection) -> absl::Status {
      PGC_ASSIGN_OR_RETURN(const auto switched, SwitchRegistryRow(connection, attempt_, now, wanted));
      return switched.has_value()
                 ? absl::OkStatus()
                 : MakeError(Verdict::kTransient, "PGC-CUT-REGISTRY", "the registry row changed while it was mended");
    });
  }

  // ---- a project that was rolled back --------------------------------------------------------------------------

  absl::Status Undone() {
    PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt_.Provisioner());
    std::vector<DatabaseInfo> databases;
    if (attempt_.has_target()) {
      PGC_ASSIGN_OR_RETURN(databases, ProjectDatabases(*provisioner, attempt_));
    }
    const std::string by_hand = "see whether anything uses it, then drop it by hand";
    for (const DatabaseInfo& database : databases) {
      if (database.own) {
        Differs("database", "database " + database.name + " is there although the project was rolled back", by_hand);
      }
    }
    PGC_ASSIGN_OR_RETURN(const RoleInfo role, FindRole(*provisioner, attempt_, attempt_.project().user));
    if (role.own) {
      Differs("role", "role " + attempt_.project().user + " is there although the project was rolled back", by_hand);
    }
    return absl::OkStatus();
  }

  Attempt& attempt_;
  const bool mend_;
  // The registry's database has our schema.
  bool has_records_ = false;
  // Role and database are ours and usable, or were mended.
  bool target_sound_ = true;
  v1::ProjectInspection& inspection_;
};

AttemptGrant ToGrant(const v1::Plan& plan, const std::string& store_id, const v1::RepairTask& task) {
  const v1::ProjectGrant& project = task.project();
  AttemptGrant grant;
  grant.store_id = store_id;
  grant.migration_id = task.migration_id();
  grant.plan_hash = plan::PlanHash(plan);
  grant.ref = project.ref();
  grant.attributes = {project.attributes().begin(), project.attributes().end()};
  grant.fence = project.fence();
  grant.direction = project.direction() == v1::ROLLBACK ? Direction::kRollback : Direction::kForward;
  grant.done = {project.done().begin(), project.done().end()};
  grant.intents = {project.intents().begin(), project.intents().end()};
  return grant;
}

}  // namespace

absl::Status Repair(const v1::Plan& plan,
                    const std::string& store_id,
                    const v1::RepairTask& task,
                    SessionPool& pool,
                    SchemaCache& schemas,
                    Reporter& reporter,
                    v1::ProjectInspection& found) {
  PGC_ASSIGN_OR_RETURN(const auto attempt,
                       Attempt::Create(plan, ToGrant(plan, store_id, task), pool, schemas, reporter));
  return Repairer(*attempt, task.mend(), found).Run();
}

}  // namespace pgconvoy::worker
