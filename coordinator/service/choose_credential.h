// Which of the passwords that attempts have made is in force.
//
// Thread safety: pure.
#pragma once

#include "absl/status/statusor.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace pgconvoy::service {

// The credential that the registry holds, else the newest. NotFound PGC-API-NOT-FOUND when there is none,
// PGC-CREDENTIALS-REVOKED.
absl::StatusOr<v1::SealedCredential> ChooseCredential(const store::ProjectDetail& detail);

}  // namespace pgconvoy::service
