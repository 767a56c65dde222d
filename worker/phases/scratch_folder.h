// A folder for what programs hand to each other, gone with its object. What a worker that was killed has left is
// removed by the next one that makes a folder in the same place: a folder whose lock nobody holds is abandoned.
//
// Thread safety: one thread; Create may be called from any. Errors: TRANSIENT PGC-WORKER-TMP.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace pgconvoy::worker {

class ScratchFolder {
 public:
  // In the folder for temporary files, readable for this user alone.
  static absl::StatusOr<ScratchFolder> Create();
  ScratchFolder(ScratchFolder&& other) noexcept;
  ~ScratchFolder();
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  ScratchFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  // An open file of the folder itself with an exclusive lock, which ends with this process at the latest.
  int lock_;
};

}  // namespace pgconvoy::worker
