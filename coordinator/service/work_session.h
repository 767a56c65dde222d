// One worker's Work stream: Hello first, then reports in and grants, acks and tasks out.
//
// Thread safety: any thread.
// Errors: the stream ends with INVALID_ARGUMENT when the worker breaks the protocol, PERMISSION_DENIED when it is not
// the one that its certificate names, UNAVAILABLE when this coordinator does not lead, is overloaded, the worker does
// not read or its certificate has expired meanwhile.
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
