#include <google/protobuf/util/time_util.h>

#include <cstdio>
#include <ctime>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/plan/secret_ref.h"
#include "worker/backup/backup.h"
#include "worker/core/takeover.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/columns.h"
#include "worker/phases/phases.h"
#include "worker/phases/schema_script.h"
#include "worker/phases/source_watch.h"
#include "worker/phases/tables.h"

namespace pgconvoy::worker {
namespace {

std::string Rfc3339(WallMs wall_ms) {
  const std::time_t seconds = wall_ms / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[32];
  const size_t length = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  char milliseconds[8];
  std::snprintf(milliseconds, sizeof(milliseconds), ".%03dZ", static_cast<int>(wall_ms % 1000));
  return std::string(text, length) + milliseconds;
}

const char* ScopeOf(const Attempt& attempt) {
  if (!attempt.backup_only()) {
    return backup::kScopeFull;
  }
  switch (attempt.plan().backup().scope()) {
    case v1::Backup::SCHEMA: return backup::kScopeSchema;
    case v1::Backup::DATA: return backup::kScopeData;
    default: return backup::kScopeFull;
  }
}

backup::Manifest Header(const Attempt& attempt, const pg::Connection& reader) {
  backup::Manifest header;
  header.store_id = attempt.grant().store_id;
  header.project_ref = attempt.grant().ref;
  header.fence = attempt.grant().fence;
  header.migration_id = attempt.grant().migration_id;
  header.plan_hash = attempt.grant().plan_hash;
  header.source = attempt.project().source_server + "/" + attempt.project().source_database;
  header.server_version = reader.server_version();
  header.snapshot_time = Rfc3339(Clock::System().NowWall());
  header.scope = ScopeOf(attempt);
  return header;
}

absl::Status BackUpTable(Attempt& attempt,
                         pg::Connection& reader,
                         const TableInfo& info,
                         backup::BackupWriter& writer) {
  if (attempt.has_target()) {
    // Once more in the snapshot that is copied.
    PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(info.entry, attempt.values()));
    PGC_RETURN_IF_ERROR(CheckMapped(reader, info.entry, condition));
  }
  PGC_RETURN_IF_ERROR(writer.BeginTable(info.name, info.columns, info.types));
  const absl::Status read =
      ReadSourceRows(attempt, reader, info, [&writer](std::string_view row) { return writer.AddRow(row); });
  if (!read.ok()) {
    return Annotate(read, "reading " + info.name);
  }
  PGC_FAILPOINT("worker.backup.table");
  return writer.EndTable();
}

// VERIFY of a migration compares the definitions with the source's; here nobody would.
absl::Status CheckDefinitionsUnchanged(Attempt& attempt, pg::Connection& reader, const SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(const bool unchanged, IsUnchanged(reader, schema));
  if (unchanged) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto objects, ListObjects(reader, attempt.plan(), schema.schemas));
  if (objects == schema.objects) {
    return absl::OkStatus();
  }
  attempt.schemas().Forget(attempt);
  return MakeError(Verdict::kTransient, "PGC-SRC-DDL", "definitions of the source have changed since they were read",
                   "stop DDL on the source for the time of the backup");
}

void Describe(const backup::Manifest& manifest, const std::string& manifest_digest, v1::BackupResult& result) {
  result.set_backup_id(backup::BackupId(manifest.project_ref, manifest.fence));
  result.set_manifest_digest(manifest_digest);
  result.set_stored_bytes(manifest.stored_bytes());
  result.set_scope(manifest.scope);
  result.set_schema_bytes(manifest.schema.bytes);
  result.set_source(manifest.source);
  result.set_encrypted_to(manifest.encryption.recipient);
  google::protobuf::util::TimeUtil::FromString(manifest.snapshot_time, result.mutable_snapshot_time());
  int chunks = 0;
  for (const backup::TableEntry& table : manifest.tables) {
    v1::TableDigest* const digest = result.add_tables();
    digest->set_table(table.table);
    digest->set_rows(table.rows);
    digest->set_bytes(table.bytes);
    digest->set_digest(table.digest);
    chunks += static_cast<int>(table.chunks.size());
  }
  result.set_chunks(chunks);
  for (const backup::SequenceEntry& sequence : manifest.sequences) {
    v1::SequenceValue* const value = result.add_sequences();
    value->set_sequence(sequence.sequence);
    value->set_last_value(sequence.last_value);
    value->set_is_called(sequence.is_called);
  }
}

// Returns the oldest transaction that was under way then.
absl::StatusOr<int64_t> ReadEverything(Attempt& attempt,
                                       pg::Connection& reader,
                                       const SourceSchema& schema,
                                       backup::BackupWriter& writer) {
  const std::string& scope = writer.manifest().scope;
  PGC_ASSIGN_OR_RETURN(const auto snapshot, BeginSourceSnapshot(attempt, reader, schema));
  PGC_ASSIGN_OR_RETURN(const int64_t oldest, OldestTransaction(reader));
  if (attempt.backup_only()) {
    PGC_RETURN_IF_ERROR(CheckDefinitionsUnchanged(attempt, reader, schema));
  }
  if (scope != backup::kScopeData) {
    PGC_RETURN_IF_ERROR(writer.WriteSchema(ToScript(schema)));
  }
  if (scope == backup::kScopeSchema) {
    return oldest;
  }
  for (const TableInfo& table : schema.tables) {
    PGC_RETURN_IF_ERROR(BackUpTable(attempt, reader, table, writer));
  }
  PGC_ASSIGN_OR_RETURN(const auto values, ReadSequences(reader, schema));
  std::vector<backup::SequenceEntry> sequences;
  for (const v1::SequenceValue& value : values) {
    sequences.push_back({value.sequence(), value.last_value(), value.is_called()});
  }
  writer.SetSequences(std::move(sequences));
  return oldest;
}

absl::StatusOr<v1::PhaseResult> TakeBackup(Attempt& attempt) {
  v1::PhaseResult result;
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  backup::WriterOptions options;
  PGC_ASSIGN_OR_RETURN(options.root, BackupRoot(attempt.plan()));
  options.compression_level = attempt.plan().backup().compression_level();
  options.chunk_bytes = attempt.plan().backup().chunk_bytes();
  PGC_ASSIGN_OR_RETURN(options.encrypt_to, BackupRecipient(attempt.plan()));
  v1::Intent intent;
  intent.set_kind(v1::Intent::BACKUP);
  intent.set_name(backup::BackupId(attempt.grant().ref, attempt.grant().fence));
  PGC_RETURN_IF_ERROR(attempt.ReportIntent(intent));

  PGC_ASSIGN_OR_RETURN(PooledSession reader, attempt.Reader());
  PGC_ASSIGN_OR_RETURN(auto writer, backup::BackupWriter::Create(options, Header(attempt, *reader)));
  PGC_ASSIGN_OR_RETURN(const int64_t oldest, ReadEverything(attempt, *reader, *schema, *writer));
  PGC_FAILPOINT("worker.backup.before_seal");
  PGC_ASSIGN_OR_RETURN(const std::string manifest_digest, writer->Seal());
  PGC_FAILPOINT("worker.backup.sealed");
  if (writer->manifest().encrypted()) {
    attempt.backup_key = BackupKey{intent.name(), writer->data_key()};
  }
  Describe(writer->manifest(), manifest_digest, *result.mutable_backup());
  if (attempt.has_target() && attempt.has_cutover() && TakesTablesWhole(*schema)) {
    attempt.source_watch = SourceWatch{std::move(reader), oldest};
  }
  return result;
}

// Every chunk of it is checked when COPY reads it.
absl::StatusOr<v1::PhaseResult> AdoptBackup(Attempt& attempt) {
  v1::PhaseResult result;
  PGC_ASSIGN_OR_RETURN(const auto reader, OpenRestored(attempt));
  Describe(reader->manifest(), attempt.plan().execution().restore().manifest_digest(), *result.mutable_backup());
  return result;
}

absl::Status UnlockOwn(const Attempt& attempt, backup::BackupReader& reader) {
  const std::string id = backup::BackupId(reader.manifest().project_ref, reader.manifest().fence);
  if (attempt.backup_key.has_value() && attempt.backup_key->backup_id == id) {
    reader.UseKey(attempt.backup_key->key.Clone());
    return absl::OkStatus();
  }
  const absl::Status unlocked = UnlockBackup(attempt.plan(), reader);
  // What stands in a database that was changed in place is no longer what another backup would have to hold.
  if (unlocked.ok() || attempt.has_transform() || attempt.grant().direction == Direction::kRollback) {
    return unlocked;
  }
  return MakeError(
      Verdict::kTransient, "PGC-BACKUP-LOCKED",
      "backup " + id + " was encrypted by an attempt that has ended, and cannot be opened: " + MessageOf(unlocked),
      "nothing to do: another backup is taken; with the private key at backup.key this one would do");
}

// Of this attempt's project, whatever the id says.
absl::StatusOr<std::unique_ptr<backup::BackupReader>> Open(const Attempt& attempt,
                                                           const std::string& id,
                                                           const std::string& manifest_digest) {
  PGC_ASSIGN_OR_RETURN(const backup::BackupName name, backup::ParseBackupId(id));
  if (name.ref != attempt.grant().ref) {
    return InputError("PGC-BACKUP-ID", "backup " + id + " belongs to another project");
  }
  PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(attempt.plan()));
  return backup::BackupReader::Open(root, attempt.grant().store_id, name.ref, name.fence, manifest_digest);
}

}  // namespace

absl::StatusOr<std::string> BackupRoot(const v1::Plan& plan) {
  PGC_ASSIGN_OR_RETURN(const Secret root, plan::ResolveSecret(plan.backup().directory(), /*allow_literal=*/true));
  return root.Reveal();
}

absl::StatusOr<std::string> BackupRecipient(const v1::Plan& plan) {
  if (plan.backup().encrypt_to().empty()) {
    return "";
  }
  PGC_ASSIGN_OR_RETURN(const Secret key, plan::ResolveSecret(plan.backup().encrypt_to(), /*allow_literal=*/true));
  return key.Reveal();
}

absl::Status UnlockBackup(const v1::Plan& plan, backup::BackupReader& reader) {
  if (!reader.manifest().encrypted()) {
    return absl::OkStatus();
  }
  const std::string& recipient = reader.manifest().encryption.recipient;
  const std::string remedy = "put the private key that belongs to the public key " + recipient + " where backup.key" +
                             (plan.backup().key().empty() ? "" : ", " + plan.backup().key() + ",") +
                             " of the plan says, on every worker, then try again";
  if (plan.backup().key().empty()) {
    return MakeError(Verdict::kOperator, "PGC-BACKUP-KEY", "the backup is encrypted and the plan has no backup.key",
                     remedy);
  }
  const auto key = plan::ResolveSecret(plan.backup().key(), /*allow_literal=*/false);
  const absl::Status unlocked = key.ok() ? reader.Unlock(*key) : key.status();
  return unlocked.ok() ? unlocked
                       : MakeError(Verdict::kOperator, "PGC-BACKUP-KEY",
                                   "the backup is encrypted and cannot be opened: " + MessageOf(unlocked), remedy);
}

absl::StatusOr<std::unique_ptr<backup::BackupReader>> OpenBackup(const Attempt& attempt) {
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  if (sealed == nullptr) {
    return MakeError(Verdict::kPermanent, "PGC-BACKUP-MISSING", "the attempt has no sealed backup to load from");
  }
  if (sealed->backup().has_prune_time()) {
    return MakeError(Verdict::kOperator, "PGC-BACKUP-PRUNED",
                     "backup " + sealed->backup().backup_id() + ", which is needed here, was pruned",
                     "it cannot come back; look for another one with `pgconvoy backup list`");
  }
  PGC_ASSIGN_OR_RETURN(auto reader, Open(attempt, sealed->backup().backup_id(), sealed->backup().manifest_digest()));
  // What a restore loads has no newer one.
  PGC_RETURN_IF_ERROR(attempt.restores() ? UnlockBackup(attempt.plan(), *reader) : UnlockOwn(attempt, *reader));
  return reader;
}

absl::StatusOr<std::unique_ptr<backup::BackupReader>> OpenRestored(const Attempt& attempt) {
  const v1::Execution::Restore& restore = attempt.plan().execution().restore();
  PGC_ASSIGN_OR_RETURN(auto reader, Open(attempt, restore.backup_id(), restore.manifest_digest()));
  // In place the definitions stay as they are.
  const bool enough = attempt.restores_in_place() ? reader->manifest().scope != backup::kScopeSchema
                                                  : reader->manifest().scope == backup::kScopeFull;
  if (!enough) {
    return InputError("PGC-RESTORE-SCOPE",
                      "backup " + restore.backup_id() + " holds " + reader->manifest().scope +
                          " only; definitions and rows are needed",
                      "restore a backup of scope FULL");
  }
  PGC_RETURN_IF_ERROR(UnlockBackup(attempt.plan(), *reader));
  return reader;
}

absl::StatusOr<v1::PhaseResult> RunBackup(Attempt& attempt) {
  return attempt.restores() ? AdoptBackup(attempt) : TakeBackup(attempt);
}

absl::StatusOr<v1::PhaseResult> UndoBackup(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult* const undo = result.mutable_undo();
  PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(attempt.plan()));
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  for (const v1::Intent& intent : attempt.intents()) {
    if (intent.kind() == v1::Intent::BACKUP &&
        RemovesBackup(intent.fence(), sealed == nullptr ? 0 : sealed->fence())) {
      PGC_RETURN_IF_ERROR(
          backup::RemoveUnsealed(root, attempt.grant().store_id, attempt.grant().ref, intent.fence()));
      undo->add_undone("removed what was left of backup " + intent.name());
    }
  }
  return result;
}

}  // namespace pgconvoy::worker
