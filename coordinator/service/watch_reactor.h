// WatchMigration: the migration at once, then after every change at most twice a second, until it has ended.
#pragma once

#include "common/model/model.h"
#include "coordinator/service/backend.h"
#include "pgconvoy/v1/migration.pb.h"

namespace grpc {
template <class Response>
class ServerWriteReactor;
}

namespace pgconvoy::service {

// The reactor for gRPC; it deletes itself.
grpc::ServerWriteReactor<v1::Migration>* StartWatch(const Backend& backend, MigrationId id);

}  // namespace pgconvoy::service
