// SubmitMigration: gathers the header and the chunks of projects, checks them, and hands the whole to the runtime.
// Nothing exists until the client has closed its side.
#pragma once

#include "coordinator/service/backend.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace grpc {
template <class Request>
class ServerReadReactor;
}

namespace pgconvoy::service {

// The reactor for gRPC; it deletes itself. `response` is gRPC's and lives as long as the call.
grpc::ServerReadReactor<v1::SubmitMigrationRequest>* StartSubmit(const Backend& backend,
                                                                 v1::SubmitMigrationResponse* response);

}  // namespace pgconvoy::service
