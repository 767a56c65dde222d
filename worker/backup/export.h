// A backup as JSON files for people and other programs:
//   <directory>/backup_<ref>_<unix time of the snapshot>/metadata.json
//   <directory>/backup_<ref>_<unix time of the snapshot>/auth_users.json      an array with one object for each row
//   <directory>/backup_<ref>_<unix time of the snapshot>/schema.sql           where the backup has definitions
// Names of schemas and tables as in chunk files, joined by "_". The folder is 0700 and its files 0600; it is made under
// a name that ends in ".partial" and gets its own name once everything is on disk.
//
// Memory: one chunk, whatever the size of the backup.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "worker/backup/backup.h"

namespace pgconvoy::backup {

struct Exported {
  std::string folder;
  int files = 0;
  int64_t rows = 0;
};

// `directory` is absolute and exists. Checks every chunk as VerifyAll does; what cannot be exported whole leaves
// nothing. PGC-EXPORT-EXISTS when the folder is there already: nothing is ever overwritten.
absl::StatusOr<Exported> ExportJson(const BackupReader& reader, const std::string& directory);

}  // namespace pgconvoy::backup
