// One worker's Work stream: Hello first, then reports in and grants, acks and tasks out.
//
// Thread safety: any thread.
// Errors: the stream ends with INVALID_ARGUMENT when the worker breaks the protocol, UNAVAILABLE when this coordinator
// does not lead, is overloaded or the worker does not read.
#pragma once

#include <memory>

#include "coordinator/service/task_broker.h"

namespace grpc {
class Service;
}
namespace pgconvoy::runtime {
class Runtime;
}

namespace pgconvoy::service {

// The runtime and the broker must outlive it and its streams.
std::unique_ptr<grpc::Service> MakeWorkerService(runtime::Runtime& runtime, TaskBroker& broker);

}  // namespace pgconvoy::service
