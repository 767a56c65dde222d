#include "worker/phases/backup_tasks.h"

#include <memory>

#include "common/base/error.h"
#include "worker/backup/backup.h"
#include "worker/backup/export.h"
#include "worker/phases/backup_access.h"

namespace pgconvoy::worker {
namespace {

absl::StatusOr<std::unique_ptr<backup::BackupReader>> Open(const v1::Plan& plan,
                                                           const std::string& store_id,
                                                           const std::string& id,
                                                           const std::string& manifest_digest) {
  PGC_ASSIGN_OR_RETURN(const backup::BackupName name, backup::ParseBackupId(id));
  PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(plan));
  return backup::BackupReader::Open(root, store_id, name.ref, name.fence, manifest_digest);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> VerifyBackup(const v1::Plan& plan,
                                                      const std::string& store_id,
                                                      const v1::VerifyBackupTask& task) {
  PGC_ASSIGN_OR_RETURN(const auto reader, Open(plan, store_id, task.backup_id(), task.manifest_digest()));
  const backup::Manifest& manifest = reader->manifest();
  std::vector<std::string> lines;
  const absl::Status unlocked = UnlockBackup(plan, *reader);
  if (unlocked.ok()) {
    PGC_RETURN_IF_ERROR(reader->VerifyAll());
  } else if (task.content()) {
    return unlocked;
  } else {
    PGC_RETURN_IF_ERROR(reader->CheckStored([] { return absl::OkStatus(); }));
    lines.push_back("encrypted: only the stored bytes were compared, not what they hold; " + MessageOf(unlocked));
  }
  if (!manifest.schema.file.empty()) {
    lines.push_back("definitions: " + std::to_string(manifest.schema.bytes) + " bytes of SQL, intact");
  }
  for (const backup::TableEntry& table : manifest.tables) {
    lines.push_back(table.table + ": " + std::to_string(table.rows) + " rows in " +
                    std::to_string(table.chunks.size()) + " chunk(s), intact");
  }
  return lines;
}

absl::StatusOr<std::vector<std::string>> ExportBackup(const v1::Plan& plan,
                                                      const std::string& store_id,
                                                      const v1::ExportBackupTask& task) {
  PGC_ASSIGN_OR_RETURN(const auto reader, Open(plan, store_id, task.backup_id(), task.manifest_digest()));
  PGC_RETURN_IF_ERROR(UnlockBackup(plan, *reader));
  PGC_ASSIGN_OR_RETURN(const backup::Exported exported, backup::ExportJson(*reader, task.directory()));
  return std::vector<std::string>{exported.folder + ": " + std::to_string(exported.rows) + " rows in " +
                                  std::to_string(exported.files) + " files"};
}

absl::StatusOr<std::vector<std::string>> PruneBackups(const v1::Plan& plan,
                                                      const std::string& store_id,
                                                      const v1::PruneBackupsTask& task) {
  PGC_ASSIGN_OR_RETURN(const std::string root, BackupRoot(plan));
  std::vector<std::string> lines;
  for (const std::string& id : task.backup_ids()) {
    PGC_ASSIGN_OR_RETURN(const backup::BackupName name, backup::ParseBackupId(id));
    PGC_RETURN_IF_ERROR(backup::RemoveSealed(root, store_id, name.ref, name.fence));
    lines.push_back("removed " + id);
  }
  return lines;
}

}  // namespace pgconvoy::worker
