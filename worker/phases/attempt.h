// One attempt of one project on this worker: what was granted, what it holds in memory, and how it tells the
// coordinator. Every phase gets it and nothing else.
//
// Thread safety: one thread runs an attempt. Of what it reaches only Reporter::Progress and Reporter::Checkpoint are
// called from others too, those of RunOnSessions.
// Ownership: refers to the plan, the pool, the cache and the reporter, which outlive it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/crypto.h"
#include "common/model/model.h"
#include "common/pg/connection.h"
#include "common/plan/template.h"
#include "pgconvoy/v1/migration.pb.h"
#include "pgconvoy/v1/plan.pb.h"
#include "worker/core/names.h"
#include "worker/phases/sessions.h"

namespace pgconvoy::worker {

class SchemaCache;

// The attempt's line to the coordinator.
class Reporter {
 public:
  virtual ~Reporter() = default;
  // Returns once the intent is durable. FENCED or ABANDONED when the attempt must stop instead.
  virtual absl::Status Intent(const v1::Intent& intent) = 0;
  // Best effort, rate limited.
  virtual void Progress(int64_t rows, int64_t bytes) = 0;
  // OK while the attempt may go on; FENCED after its lease is lost, ABANDONED when it was asked to stop. Called at
  // every safe point; cheap.
  virtual absl::Status Checkpoint() = 0;
};

// What opens the encrypted backup that an attempt has made.
struct BackupKey {
  std::string backup_id;
  Secret key;
};

struct AttemptGrant {
  std::string store_id;
  std::string migration_id;
  std::string plan_hash;
  std::string ref;
  std::map<std::string, std::string> attributes;
  int64_t fence = 0;
  Direction direction = Direction::kForward;
  bool discard_writes = false;
  // Only looks, on behalf of an operator. Without a fence it makes nothing at all; with that of a project's last
  // attempt, which is over, at most the login of that attempt once more (target_view.h).
  bool inspects = false;
  // Results of earlier attempts and of this one.
  std::vector<v1::PhaseResult> done;
  std::vector<v1::Intent> intents;
  // As ProjectGrant.former.
  std::vector<v1::PhaseResult> former;
};

// A name of a role or database that a statement needs, from the plan's templates.
struct ProjectNames {
  // Empty when the plan has no such section.
  std::string database;
  std::string user;
  std::string source_database;
  // Keys of the plan's servers. target_server is empty when the plan has no target.
  std::string source_server;
  std::string target_server;
  // The login that the project used until now.
  std::string fallback;
};

// The session that took the attempt's backup, and what source_watch.h wants to know of the backup's snapshot.
struct SourceWatch {
  PooledSession reader;
  int64_t oldest = 0;
};

class Attempt {
 public:
  // PGC-PLAN-… when a template of the plan cannot be rendered for this project.
  static absl::StatusOr<std::unique_ptr<Attempt>> Create(
      const v1::Plan& plan, AttemptGrant grant, SessionPool& pool, SchemaCache& schemas, Reporter& reporter);

  const v1::Plan& plan() const { return plan_; }
  const AttemptGrant& grant() const { return grant_; }
  const AttemptNames& names() const { return names_; }
  const ProjectNames& project() const { return project_; }
  // ref, attributes, database and user, for templates.
  const plan::Values& values() const { return values_; }
  Reporter& reporter() { return reporter_; }
  SchemaCache& schemas() { return schemas_; }

  bool inspects() const { return grant_.inspects; }
  // Only reads the source and writes a backup.
  bool backup_only() const { return plan_.execution().mode() == v1::Execution::BACKUP_ONLY; }
  // Takes no backup but loads an older one; does not read the source.
  bool restores() const { return plan_.execution().has_restore() && !plan_.has_transform(); }
  // Puts rows back in place to what an older backup holds.
  bool restores_in_place() const { return plan_.execution().has_restore() && plan_.has_transform(); }
  // Gives the login that an older migration made a new password, or takes it away.
  bool rotates() const { return plan_.execution().mode() == v1::Execution::ROTATE_CREDENTIALS; }
  bool revokes() const { return plan_.execution().mode() == v1::Execution::REVOKE_CREDENTIALS; }
  bool changes_credentials() const { return rotates() || revokes(); }
  // The migration that made, or makes, the project's role and database.
  std::string made_by() const {
    return changes_credentials() ? std::to_string(plan_.execution().credentials_of()) : grant_.migration_id;
  }
  // Whether this attempt works on one.
  bool has_target() const { return plan_.has_target() && !backup_only(); }
  bool has_transform() const { return plan_.has_transform() && !backup_only(); }
  bool has_cutover() const { return plan_.has_cutover() && !backup_only(); }
  bool has_registry() const {
    return plan_.has_registry() && !restores() && (!backup_only() || !plan_.freeze().apply().empty());
  }
  bool has_credentials() const { return plan_.has_credentials() && !backup_only(); }
  bool has_fallback() const { return has_credentials() && plan_.credentials().has_fallback(); }
  // Whether the plan names tables of the source.
  bool has_tables() const { return !plan_.tables().empty(); }
  const v1::Server& source_server() const { return plan_.servers().at(project_.source_server); }
  const v1::Server& target_server() const { return plan_.servers().at(project_.target_server); }
  // Where the project's login is made, and the database that it is for: the target's, or without a target the source's.
  const std::string& login_server_name() const {
    return has_target() ? project_.target_server : project_.source_server;
  }
  const v1::Server& login_server() const { return has_target() ? target_server() : source_server(); }
  const std::string& login_database() const { return has_target() ? project_.database : project_.source_database; }
  const v1::Server& registry_server() const { return plan_.servers().at(plan_.registry().server()); }

  // Sessions of the shared logins, named after this attempt.
  absl::StatusOr<PooledSession> Reader();
  // In the control database of the login's server, where the fence rows are.
  absl::StatusOr<PooledSession> Provisioner();
  // In the database that the login is for, which exists already when there is no target.
  absl::StatusOr<PooledSession> ProvisionerInDatabase();
  // In the registry's database.
  absl::StatusOr<PooledSession> Registrar();
  // In the source database, which the plan changes in place.
  absl::StatusOr<PooledSession> Transformer();

  // The attempt's own session in the project's target database, as the attempt's login acting as the project's role.
  // Makes the login first when this attempt has none yet.
  absl::StatusOr<pg::Connection*> Target();
  // Target() and more sessions like it, as many as there is work for, but at most the plan's `execution.jobs`.
  absl::StatusOr<std::vector<pg::Connection*>> Targets(size_t wanted);
  // Gives the sessions that are open the settings and the role again that they began with: what a tenant's function has
  // set while it ran is still set.
  absl::Status ResetTargets();
  // Closes what these opened, so that the database can be renamed or dropped.
  void CloseTarget();

  // The latest result of a phase's forward direction, this attempt's included; null when there is none, or when a
  // rollback has undone it since.
  const v1::PhaseResult* Result(Phase phase) const;
  void AddResult(v1::PhaseResult result);
  const std::vector<v1::Intent>& intents() const { return grant_.intents; }
  // Reports it and keeps it.
  absl::Status ReportIntent(v1::Intent intent);

  // COMMENT for what this attempt makes.
  std::string OwnerComment() const;
  bool IsOwnComment(std::string_view comment) const;

  // The project's password, while the attempt that made it still runs.
  std::optional<Secret> password;
  // The password of the attempt's login; set by EnsureAttemptLogin.
  std::optional<Secret> login_password;
  // From BACKUP on, where the plan encrypts backups; in memory alone.
  std::optional<BackupKey> backup_key;
  // From BACKUP to CUTOVER of the attempt, where the plan takes tables whole.
  std::optional<SourceWatch> source_watch;
  std::vector<std::string> warnings;

 private:
  Attempt(const v1::Plan& plan, AttemptGrant grant, SessionPool& pool, SchemaCache& schemas, Reporter& reporter);
  absl::Status CheckSections() const;
  absl::Status RenderNames();
  absl::StatusOr<std::unique_ptr<pg::Connection>> OpenTarget();
  // Of the plan, and the project's role.
  absl::Status SetUpTarget(pg::Connection& session) const;
  Owner owner() const { return {grant_.store_id, grant_.ref, made_by()}; }
  // A server that is silent for longer than the plan allows breaks the session.
  absl::StatusOr<PooledSession> Limited(absl::StatusOr<PooledSession> session) const;

  const v1::Plan& plan_;
  AttemptGrant grant_;
  AttemptNames names_;
  ProjectNames project_;
  plan::Values values_;
  SessionPool& pool_;
  SchemaCache& schemas_;
  Reporter& reporter_;
  std::unique_ptr<pg::Connection> target_;
  std::vector<std::unique_ptr<pg::Connection>> more_targets_;
};

}  // namespace pgconvoy::worker
