#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <tuple>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/base/text.h"
#include "common/model/model.h"
#include "worker/backup/backup.h"
#include "worker/backup/files.h"
#include "worker/backup/layout.h"

namespace pgconvoy::backup {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory) {
    return FileError("list", folder, error.value());
  }
  return names;
}

absl::Status AddFolders(const std::string& project_folder, const std::string& ref, std::vector<FoundFolder>& found) {
  PGC_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(project_folder));
  for (const std::string& name : names) {
    FoundFolder folder;
    folder.ref = ref;
    folder.doomed = name.starts_with(kDoomedPrefix);
    const auto fence = ParseDecimal(std::string_view(name).substr(folder.doomed ? sizeof(kDoomedPrefix) - 1 : 0));
    if (fence.has_value() && *fence > 0) {
      folder.fence = *fence;
      PGC_ASSIGN_OR_RETURN(folder.has_manifest, Exists(project_folder + "/" + name + "/" + kManifestFile));
      found.push_back(std::move(folder));
    }
  }
  return absl::OkStatus();
}

// A folder that loses its name first is never seen with half of its files.
absl::Status Doom(const std::string& folder, const std::string& doomed, const std::string& parent) {
  if (rename(folder.c_str(), doomed.c_str()) != 0) {
    return errno == ENOENT ? absl::OkStatus() : FileError("rename", folder, errno);
  }
  PGC_RETURN_IF_ERROR(SyncFolder(parent));
  PGC_FAILPOINT("backup.doomed");
  return absl::OkStatus();
}

}  // namespace

absl::Status RemoveUnsealed(const std::string& root,
                            const std::string& store_id,
                            const std::string& ref,
                            int64_t fence) {
  PGC_ASSIGN_OR_RETURN(const std::string folder, BackupFolder(root, store_id, ref, fence));
  PGC_ASSIGN_OR_RETURN(const bool sealed, Exists(folder + "/" + kManifestFile));
  return sealed ? absl::OkStatus() : RemoveFolder(folder);
}

absl::Status RemoveSealed(const std::string& root,
                          const std::string& store_id,
                          const std::string& ref,
                          int64_t fence) {
  PGC_ASSIGN_OR_RETURN(const std::string folder, BackupFolder(root, store_id, ref, fence));
  const std::string parent = folder.substr(0, folder.rfind('/'));
  const std::string doomed = parent + "/" + kDoomedPrefix + std::to_string(fence);
  PGC_RETURN_IF_ERROR(RemoveFolder(doomed));
  PGC_FAILPOINT("backup.before_doomed");
  PGC_RETURN_IF_ERROR(Doom(folder, doomed, parent));
  return RemoveFolder(doomed);
}

absl::StatusOr<std::vector<FoundFolder>> ListFolders(const std::string& root, const std::string& store_id) {
  const std::string store_folder = StoreFolder(root, store_id);
  PGC_ASSIGN_OR_RETURN(const std::vector<std::string> refs, NamesIn(store_folder));
  std::vector<FoundFolder> found;
  for (const std::string& ref : refs) {
    if (IsValidRef(ref)) {
      PGC_RETURN_IF_ERROR(AddFolders(store_folder + "/" + ref, ref, found));
    }
  }
  std::sort(found.begin(), found.end(), [](const FoundFolder& a, const FoundFolder& b) {
    return std::tie(a.ref, a.fence, a.doomed) < std::tie(b.ref, b.fence, b.doomed);
  });
  return found;
}

}  // namespace pgconvoy::backup
