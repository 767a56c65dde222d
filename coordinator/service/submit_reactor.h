// SubmitMigration: gathers the header and the chunks of projects, checks them, and hands the whole to the runtime.
// Nothing exists until the client has closed its side.
#pragma once

#include "coordinator/service/backend.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace grpc {
class ServerContextBase;
template <class Request>
class ServerReadReactor;
}  // namespace grpc

namespace pgconvoy::service {

// The reactor for gRPC; it deletes itself. `context` and `response` are gRPC's and live as long as the call.
grpc::ServerReadReactor<v1::SubmitMigrationRequest>* StartSubmit(const Backend& backend,
                                                                 const grpc::ServerContextBase& context,
                                                                 v1::SubmitMigrationResponse* response);

}  // namespace pgconvoy::service
