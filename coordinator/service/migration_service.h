// MigrationService: what the CLI and scripts ask. Reads come from committed state on a pool of threads, commands go to
// the runtime; nothing is decided here.
#pragma once

#include <memory>

#include "coordinator/service/backend.h"
#include "coordinator/service/task_broker.h"

namespace grpc {
class Service;
}

namespace pgconvoy::service {

// What `backend` refers to and the broker must outlive it and its calls.
std::unique_ptr<grpc::Service> MakeMigrationService(const Backend& backend, TaskBroker& broker);

}  // namespace pgconvoy::service
