// ChangeCredentials: a migration of its own that gives the logins of an older one new passwords, or takes them away. So
// it has what every migration has: batches, leases, fences, intents, retries, an undo, and events.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/service/backend.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace grpc {
class ServerUnaryReactor;
}

namespace pgconvoy::service {

// What is to be submitted. `actor` is who asks. PGC-CREDENTIALS-NONE when that migration makes no logins,
// PGC-PROJECT-BUSY when a named project is under way, PGC-CREDENTIALS-STATE when it has not ended well or none has,
// PGC-API-NOT-FOUND.
absl::StatusOr<core::SubmitMigration> MakeCredentialsChange(store::StoreReader& reader,
                                                            const v1::ChangeCredentialsRequest& request,
                                                            const std::string& actor);

// Finishes `reactor`. To be called on the pool.
void StartCredentialsChange(const Backend& backend,
                            const v1::ChangeCredentialsRequest& request,
                            const std::string& actor,
                            v1::ChangeCredentialsResponse* response,
                            grpc::ServerUnaryReactor* reactor);

}  // namespace pgconvoy::service
