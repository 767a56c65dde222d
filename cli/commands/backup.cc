#include <google/protobuf/util/time_util.h>
#include <cstdio>
#include <filesystem>
#include <string>

#include "cli/commands/commands.h"
#include "cli/commands/inputs.h"
#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "cli/render/text.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::cli {
namespace {

using render::Count;

constexpr int64_t kDayMs = 86'400'000;

absl::StatusOr<v1::BackupRecord> FindBackup(Session& session, const std::string& id) {
  v1::ListBackupsRequest request;
  request.set_project_ref(id.substr(0, id.rfind('/')));
  PGC_ASSIGN_OR_RETURN(const auto list,
                       CallAllPages(session.client(), request, 0, &v1::ListBackupsResponse::backups_size));
  for (const v1::BackupRecord& record : list.backups()) {
    if (record.backup().backup_id() == id) {
      return record;
    }
  }
  return MakeError(Verdict::kPermanent, "PGC-BACKUP-UNKNOWN", "the store knows no backup " + Printable(id),
                   "see `pgconvoy backup list`");
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  return google::protobuf::util::TimeUtil::ToString(time);
}

int64_t RowsOf(const v1::BackupResult& backup) {
  int64_t rows = 0;
  for (const v1::TableDigest& table : backup.tables()) {
    rows += table.rows();
  }
  return rows;
}

void Line(const std::string& name, const std::string& value) {
  std::string label = name + ":";
  label.resize(14, ' ');
  Out(label + Printable(value) + "\n");
}

void ShowRecord(const v1::BackupRecord& record) {
  const v1::BackupResult& backup = record.backup();
  Line("backup", backup.backup_id());
  Line("project", record.project_ref());
  Line("migration", record.migration_id());
  Line("state", backup.has_prune_time() ? "pruned at " + TimeText(backup.prune_time()) : "sealed");
  Line("scope", backup.scope());
  Line("source", backup.source());
  Line("snapshot", TimeText(backup.snapshot_time()));
  Line("stored", render::Bytes(backup.stored_bytes()) + " in " + Count(backup.chunks()) + " chunks");
  Line("definitions", backup.schema_bytes() == 0 ? "none" : Count(backup.schema_bytes()) + " bytes of SQL");
  if (!backup.encrypted_to().empty()) {
    Line("encrypted", "to the public key " + backup.encrypted_to());
  }
  Line("manifest", "SHA-256 " + backup.manifest_digest());
  for (const v1::TableDigest& table : backup.tables()) {
    Line("table", table.table() + ", " + Count(table.rows()) + " rows, " + Count(table.bytes()) + " bytes, digest " +
                      table.digest());
  }
  for (const v1::SequenceValue& sequence : backup.sequences()) {
    Line("sequence", sequence.sequence() + " at " + std::to_string(sequence.last_value()) +
                         (sequence.is_called() ? "" : ", not yet used"));
  }
}

void ShowLines(Session& session,
               const google::protobuf::Message& response,
               const google::protobuf::RepeatedPtrField<std::string>& lines) {
  if (session.structured()) {
    OutStructured(session, ToJson(response));
    return;
  }
  for (const std::string& line : lines) {
    Out(Printable(line) + "\n");
  }
}

// A name template that gives `name` as it is.
std::string Verbatim(const std::string& name) {
  std::string out;
  for (const char c : name) {
    out += c == '{' || c == '}' ? std::string(2, c) : std::string(1, c);
  }
  return out;
}

// What is left of a plan for a restore: nothing that changes anything but the new role and database.
void AdaptToRestore(const BackupOptions& options, const v1::BackupResult& backup, v1::Plan& plan) {
  plan.clear_freeze();
  plan.clear_cutover();
  plan.clear_checks();
  plan.mutable_credentials()->clear_fallback();
  plan.mutable_credentials()->set_user(Verbatim(options.user.empty() ? options.database : options.user));
  plan.mutable_target()->set_database(Verbatim(options.database));
  v1::Execution& execution = *plan.mutable_execution();
  execution.clear_mode();
  execution.mutable_restore()->set_backup_id(backup.backup_id());
  execution.mutable_restore()->set_manifest_digest(backup.manifest_digest());
}

// What is left of a plan that changes databases in place: its tables, and nothing that would change them otherwise.
void AdaptToRestoreInPlace(const v1::BackupResult& backup, v1::Plan& plan) {
  plan.clear_freeze();
  plan.clear_cutover();
  plan.clear_checks();
  plan.clear_links();
  plan.mutable_transform()->Clear();
  for (v1::Table& table : *plan.mutable_tables()) {
    table.clear_columns();
    table.clear_unchanged();
  }
  v1::Execution& execution = *plan.mutable_execution();
  execution.clear_mode();
  execution.clear_skip_backup();
  execution.mutable_restore()->set_backup_id(backup.backup_id());
  execution.mutable_restore()->set_manifest_digest(backup.manifest_digest());
}

absl::StatusOr<v1::ProjectSpec> SpecOf(Session& session, const v1::BackupRecord& record) {
  v1::GetProjectRequest request;
  request.set_migration_id(record.migration_id());
  request.set_ref(record.project_ref());
  PGC_ASSIGN_OR_RETURN(const v1::Project project, session.client().Call(request));
  v1::ProjectSpec spec;
  spec.set_ref(project.ref());
  *spec.mutable_attributes() = project.attributes();
  return spec;
}

absl::Status CheckRestorable(const v1::BackupResult& backup, const v1::Plan& plan) {
  if (backup.has_prune_time()) {
    return MakeError(Verdict::kPermanent, "PGC-BACKUP-PRUNED", "backup " + backup.backup_id() + " was pruned");
  }
  if (backup.scope() != "FULL") {
    return MakeError(Verdict::kPermanent, "PGC-RESTORE-SCOPE",
                     "backup " + backup.backup_id() + " holds " + backup.scope() + " only",
                     "definitions and rows are needed: restore a backup of scope FULL");
  }
  if (!plan.has_target()) {
    return MakeError(Verdict::kPermanent, "PGC-PLAN-TARGET", "the plan has no target to restore into",
                     "a restore makes a new database on the plan's target server");
  }
  return absl::OkStatus();
}

std::string Quoted(const std::string& argument) {
  std::string out = "'";
  for (const char c : argument) {
    out += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return out + "'";
}

// kOk when the operator agrees.
int ConfirmRestore(Session& session,
                   const BackupOptions& options,
                   const v1::BackupResult& backup,
                   const std::string& server) {
  Say("this makes database " + Printable(options.database) + " with " + Count(RowsOf(backup)) + " rows on server " +
      Printable(server) + "; the registry and what the project uses now stay as they are");
  if (options.yes) {
    return kOk;
  }
  return Confirm(session, {.what = "a restore",
                           .answer = options.database,
                           .question = "Type the name of the database to go on: ",
                           .next = "pgconvoy backup restore " + options.id + " --plan " + Quoted(options.plan) +
                                   " --database " + Quoted(options.database) + " --yes"});
}

// kOk when the operator agrees.
int ConfirmInPlace(Session& session, const BackupOptions& options) {
  Say("this puts the rows of the plan's tables back to what backup " + Printable(options.id) +
      " holds, where they are; what stands there now is backed up first, and a rollback brings it back");
  if (options.yes) {
    return kOk;
  }
  return Fail(session,
              MakeError(Verdict::kPermanent, "PGC-CLI-CONFIRM", "a restore in place wants a confirmation",
                        "say --yes on the command line"),
              "pgconvoy backup restore " + options.id + " --plan " + Quoted(options.plan) + " --yes");
}

// Days of a duration such as "30d"; "0d" is every age.
absl::StatusOr<int32_t> ToDays(const std::string& text) {
  if (text == "0d") {
    return 0;
  }
  PGC_ASSIGN_OR_RETURN(const Millis age, ParseDuration(text));
  if (age.count() % kDayMs != 0) {
    return InputError("PGC-CLI-AGE", "--older-than " + Printable(text) + " is no number of days",
                      "write whole days, such as 30d; 0d takes backups of any age");
  }
  return static_cast<int32_t>(age.count() / kDayMs);
}

absl::StatusOr<v1::PruneBackupsRequest> ToPrune(Session& session, const BackupOptions& options) {
  v1::PruneBackupsRequest request;
  if (!options.migration.empty()) {
    PGC_ASSIGN_OR_RETURN(const v1::Migration migration, FindMigration(session, options.migration));
    request.set_migration_id(migration.id());
  }
  if (!options.older_than.empty()) {
    PGC_ASSIGN_OR_RETURN(const int32_t days, ToDays(options.older_than));
    request.set_older_than_days(days);
  }
  request.set_project_ref(options.project);
  request.set_dry_run(options.dry_run);
  request.set_force(options.force);
  request.set_actor(Actor());
  return request;
}

}  // namespace

int BackupCreate(Session& session, const BackupCreateOptions& options) {
  if (options.submit.all == !options.submit.projects.empty()) {
    return FailUsage(session, "backup create wants either --projects FILE.csv or --all",
                     "--all takes every project that the plan's registry names");
  }
  v1::Plan plan;
  if (const int code = LoadPlanFile(options.submit.plan, plan); code != kOk) {
    return code;
  }
  plan.clear_cutover();
  plan.clear_checks();
  if (!options.freeze) {
    plan.clear_freeze();
  }
  plan.mutable_execution()->set_mode(v1::Execution::BACKUP_ONLY);
  plan.mutable_execution()->clear_skip_backup();
  plan.mutable_backup()->set_scope(options.schema_only ? v1::Backup::SCHEMA
                                   : options.data_only ? v1::Backup::DATA
                                                       : v1::Backup::FULL);
  SubmitOptions submit = options.submit;
  // Nothing is changed that anybody would have to agree to.
  submit.yes = true;
  return SubmitPlan(session, submit, plan);
}

int BackupShow(Session& session, const std::string& backup_id) {
  const auto record = FindBackup(session, backup_id);
  if (!record.ok()) {
    return Fail(session, record.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*record));
  } else if (session.format() == Format::kName) {
    Out(Printable(backup_id) + "\n");
  } else {
    ShowRecord(*record);
  }
  return kOk;
}

int BackupExport(Session& session, const BackupOptions& options) {
  v1::ExportBackupRequest request;
  request.set_backup_id(options.id);
  // A worker has another working directory.
  std::error_code error;
  request.set_directory(std::filesystem::absolute(options.out, error).string());
  Say("writing " + Printable(options.id) + " as JSON on a worker…");
  const auto exported = session.client().Call(request);
  if (!exported.ok()) {
    return Fail(session, exported.status());
  }
  ShowLines(session, *exported, exported->lines());
  return kOk;
}

int BackupRestore(Session& session, const BackupOptions& options) {
  v1::Plan plan;
  if (const int code = LoadPlanFile(options.plan, plan); code != kOk) {
    return code;
  }
  if (plan.has_transform() == !options.database.empty()) {
    return FailUsage(session, "backup restore wants --database NAME with a plan that has a target, and with no other",
                     "a plan that changes databases in place has its tables restored where they are");
  }
  if (plan.has_transform()) {
    return ConfirmInPlace(session, options) == kOk ? RestoreInPlace(session, options.id, plan) : kRefused;
  }
  const auto record = FindBackup(session, options.id);
  if (!record.ok()) {
    return Fail(session, record.status());
  }
  if (const absl::Status status = CheckRestorable(record->backup(), plan); !status.ok()) {
    return Fail(session, status);
  }
  const auto spec = SpecOf(session, *record);
  if (!spec.ok()) {
    return Fail(session, spec.status());
  }
  if (const int refused = ConfirmRestore(session, options, record->backup(), plan.target().server());
      refused != kOk) {
    return refused;
  }
  AdaptToRestore(options, record->backup(), plan);
  SubmitOptions submit;
  submit.wait = options.wait;
  return SubmitProject(session, submit, plan, *spec);
}

int RestoreInPlace(Session& session, const std::string& backup_id, const v1::Plan& plan) {
  const auto record = FindBackup(session, backup_id);
  if (!record.ok()) {
    return Fail(session, record.status());
  }
  if (record->backup().has_prune_time() || record->backup().scope() == "SCHEMA") {
    return Fail(session, MakeError(Verdict::kPermanent, "PGC-RESTORE-SCOPE",
                                   "backup " + Printable(backup_id) + " was pruned, or holds no rows",
                                   "see `pgconvoy backup list`"));
  }
  const auto spec = SpecOf(session, *record);
  if (!spec.ok()) {
    return Fail(session, spec.status());
  }
  v1::Plan restore = plan;
  AdaptToRestoreInPlace(record->backup(), restore);
  SubmitOptions submit;
  submit.wait = true;
  return SubmitProject(session, submit, restore, *spec);
}

int BackupPrune(Session& session, const BackupOptions& options) {
  const auto request = ToPrune(session, options);
  if (!request.ok()) {
    return Fail(session, request.status());
  }
  const auto pruned = session.client().Call(*request);
  if (!pruned.ok()) {
    return Fail(session, pruned.status());
  }
  if (session.structured()) {
    OutStructured(session, ToJson(*pruned));
    return kOk;
  }
  for (const std::string& id : pruned->backup_ids()) {
    Out((options.dry_run ? "would remove " : "removed ") + Printable(id) + "\n");
  }
  for (const std::string& kept : pruned->kept()) {
    Say("kept " + Printable(kept));
  }
  if (pruned->backup_ids().empty()) {
    Say("no backup is old enough and free to go");
  }
  return kOk;
}

}  // namespace pgconvoy::cli
