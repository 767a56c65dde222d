// PruneBackups: decides in the store first, then lets workers remove the files, then notes that they are gone. Whatever
// dies in between, the next call finishes.
#pragma once

#include "coordinator/service/backend.h"
#include "coordinator/service/task_broker.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace grpc {
class ServerUnaryReactor;
}

namespace pgconvoy::service {

// Backups that one call removes at most; what is left is said to be kept.
inline constexpr size_t kMaxPruned = 1000;

// To be called on a thread that may wait for the store. `response` and `reactor` are gRPC's; the reactor is finished in
// the end.
void StartPrune(const Backend& backend,
                TaskBroker& broker,
                const v1::PruneBackupsRequest& request,
                v1::PruneBackupsResponse* response,
                grpc::ServerUnaryReactor* reactor);

}  // namespace pgconvoy::service
