// The commands, one function each. Every function prints what it has to say and gives the exit code.
//
// A migration is named by its id, by "latest", or by "" when exactly one is unfinished.
#pragma once

#include <string>
#include <vector>

#include "cli/commands/session.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::cli {

// ---- looking: resources.cc -------------------------------------------------------------------------------------

struct GetOptions {
  std::string migration;
  // Empty: every project.
  std::string project;
  // Names of ProjectState in any case, comma-separated; empty: all.
  std::string states;
  // 0: everything.
  int limit = 0;
};
int GetMigrations(Session& session, const GetOptions& options);
int GetBatches(Session& session, const GetOptions& options);
int GetProjects(Session& session, const GetOptions& options);
int GetWorkers(Session& session);
int GetEvents(Session& session, const GetOptions& options);
int DescribeMigration(Session& session, const std::string& migration);
int DescribeProject(Session& session, const std::string& migration, const std::string& ref);

// The migration behind a name as above. NotFound or InvalidArgument PGC-CLI-MIGRATION when there is none or several.
absl::StatusOr<v1::Migration> FindMigration(Session& session, const std::string& name);

// ---- submitting: submit.cc -------------------------------------------------------------------------------------

struct SubmitOptions {
  std::string plan;
  // CSV file; exclusive with `all`.
  std::string projects;
  bool all = false;
  // 0: the plan's.
  int batch_size = 0;
  bool dry_run = false;
  bool wait = false;
  // Empty: a new one.
  std::string request_id;
  bool yes = false;
  bool skip_backup = false;
  bool skip_pre_validation = false;
  bool skip_post_validation = false;
  // After an error a project stays as it is.
  bool no_rollback = false;
  // 0: the plan's.
  int retry_attempts = 0;
};
int Submit(Session& session, const SubmitOptions& options);
// The same for a plan that a command has adapted, and for one project that it knows already.
int SubmitPlan(Session& session, const SubmitOptions& options, const v1::Plan& plan);
int SubmitProject(Session& session,
                  const SubmitOptions& options,
                  const v1::Plan& plan,
                  const v1::ProjectSpec& project);
int ValidatePlanFile(Session& session, const std::string& file);

// ---- before and after: inspect.cc, discover.cc, estimate.cc, report.cc -----------------------------------------

struct InspectOptions {
  std::string plan;
  // A CSV file, or refs separated by commas; empty: all of the registry or of the migration.
  std::string projects;
  bool all = false;
  // File; empty: none.
  std::string save_report;
};
struct ValidateOptions : InspectOptions {
  // A plan's file or a migration.
  std::string target;
  bool pre = false;
  bool post = false;
  bool integrity = false;
  bool comprehensive = false;
  bool show_details = false;
};
struct DiscoverOptions {
  std::string plan;
  bool detailed = false;
};
struct ReportOptions {
  std::string migration;
  // html, json, csv or md.
  std::string format = "md";
  // File; empty: stdout.
  std::string out;
};
// Each gives 0, 1 when a check has failed, 2 when one warns.
int Check(Session& session, const InspectOptions& options);
int Validate(Session& session, const ValidateOptions& options);
int Discover(Session& session, const DiscoverOptions& options);
int Estimate(Session& session, const InspectOptions& options);
int WriteReport(Session& session, const ReportOptions& options);

// ---- following: follow.cc --------------------------------------------------------------------------------------

// Progress to stdout; ends with the migration.
int Watch(Session& session, const std::string& migration);
// Progress to stderr, the outcome to stdout.
int Wait(Session& session, const std::string& migration);

// ---- steering: steer.cc ----------------------------------------------------------------------------------------

struct SteerOptions {
  std::string migration;
  std::string project;
  std::string reason;
  // retry: every project that failed.
  bool failed = false;
  bool discard_writes = false;
  bool yes = false;
  // rollback: follow it to its end and show what its verification proved.
  bool wait = false;
  // rollback: also remove the backups of what was rolled back.
  bool cleanup = false;
  bool dry_run = false;
  // rollback: a backup whose rows are restored in place afterwards; implies discard_writes and wait.
  std::string to_backup;
  // rollback: discard_writes, yes and wait.
  bool emergency = false;
};
int Pause(Session& session, const SteerOptions& options);
int Resume(Session& session, const SteerOptions& options);
int Cancel(Session& session, const SteerOptions& options);
int Retry(Session& session, const SteerOptions& options);
int Rollback(Session& session, const SteerOptions& options);

// ---- backup.cc, upkeep.cc --------------------------------------------------------------------------------------

struct BackupOptions {
  // "<ref>/<number>"
  std::string id;
  std::string plan;
  // export: always json.
  std::string format = "json";
  // export: a folder of the worker's machine.
  std::string out;
  // restore: the new database, and its owner; empty: named like the database.
  std::string database;
  std::string user;
  bool yes = false;
  bool wait = false;
  // prune
  std::string migration;
  std::string project;
  std::string older_than;
  bool dry_run = false;
  bool force = false;
};
struct BackupCreateOptions {
  SubmitOptions submit;
  // What there is without one of these.
  bool full = false;
  bool schema_only = false;
  bool data_only = false;
  bool freeze = false;
};
int BackupCreate(Session& session, const BackupCreateOptions& options);
int BackupList(Session& session, const std::string& migration, const std::string& project);
int BackupShow(Session& session, const std::string& backup_id);
int BackupVerify(Session& session, const std::string& backup_id, bool content);
int BackupExport(Session& session, const BackupOptions& options);
// Into a new database, or in place where the plan changes databases in place.
int BackupRestore(Session& session, const BackupOptions& options);
// Puts the rows of the plan's tables back to what the backup holds, and waits for the end.
int RestoreInPlace(Session& session, const std::string& backup_id, const v1::Plan& plan);
int BackupPrune(Session& session, const BackupOptions& options);

// 0 when the event log is as it was written, else 1. `known_head`: see VerifyEventsRequest.
int AuditVerify(Session& session, const std::string& known_head);
int Orphans(Session& session, const std::string& plan, bool clean);
int Repair(Session& session, const std::string& migration, const std::string& project, bool mend);
// The rows that a project's transformation has changed.
int Changes(Session& session, const std::string& migration, const std::string& project);

// ---- credentials.cc --------------------------------------------------------------------------------------------

int Keygen(Session& session, const std::string& file);
int Reveal(Session& session, const std::string& migration, const std::string& ref, const std::string& key_file);

struct ChangeCredentialsOptions {
  std::string migration;
  // Refs separated by commas; exclusive with `all`.
  std::string projects;
  bool all = false;
  std::string reason;
  bool wait = false;
  bool yes = false;
  // Empty: a new one.
  std::string request_id;
};
// New passwords for the logins that a migration made.
int RotateCredentials(Session& session, const ChangeCredentialsOptions& options);
// Takes these logins away and ends their sessions.
int RevokeCredentials(Session& session, const ChangeCredentialsOptions& options);

// ---- certs.cc --------------------------------------------------------------------------------------------------

struct CertsOptions {
  std::string dir;
  // Host names and IP addresses of the coordinator, besides this machine's own.
  std::vector<std::string> hosts;
  std::string trust_domain = "pgconvoy";
  int days = 365;
  // issue
  std::string role;
  std::string name;
  bool renew = false;
};
// An authority, and a certificate of each role.
int CertsInit(Session& session, const CertsOptions& options);
// One more, from an authority that CertsInit made.
int CertsIssue(Session& session, const CertsOptions& options);

// ---- local.cc --------------------------------------------------------------------------------------------------

struct LocalOptions {
  // Empty: the default folder.
  std::string dir;
  int workers = 2;
  int slots = 4;
  std::string listen = "127.0.0.1:7070";
  bool detach = false;
};
int LocalUp(Session& session, const LocalOptions& options);
int LocalDown(Session& session, const std::string& dir);
int LocalStatus(Session& session, const std::string& dir);

}  // namespace pgconvoy::cli
