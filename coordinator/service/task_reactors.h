// The calls that a worker answers: DiscoverProjects, DescribePlan, InspectProjects, ListChanges (streams), and those
// that wait for one answer.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/service/backend.h"
#include "coordinator/service/task_broker.h"
#include "pgconvoy/v1/migration_service.pb.h"

namespace grpc {
class ServerUnaryReactor;
template <class Response>
class ServerWriteReactor;
}  // namespace grpc

namespace pgconvoy::service {

// Each starts `task` and gives the reactor for gRPC that streams its results to the client.
grpc::ServerWriteReactor<v1::DiscoverProjectsResponse>* StartDiscover(TaskBroker& broker, v1::Task task);
grpc::ServerWriteReactor<v1::DescribePlanResponse>* StartDescribe(TaskBroker& broker, v1::Task task);
// Run what `make_tasks`, called on a thread that may wait for the store, gives: one task after the other.
using MakeTasks = std::function<absl::StatusOr<std::vector<v1::Task>>()>;
grpc::ServerWriteReactor<v1::InspectProjectsResponse>* StartInspect(const Backend& backend,
                                                                    TaskBroker& broker,
                                                                    MakeTasks make_tasks);
grpc::ServerWriteReactor<v1::ListChangesResponse>* StartListChanges(const Backend& backend,
                                                                    TaskBroker& broker,
                                                                    MakeTasks make_tasks);

// Gathers the checks of a task's inspections.
std::shared_ptr<TaskSink> MakeChecksSink(grpc::ServerUnaryReactor* reactor, v1::ProveConservationResponse* response);

// Gathers what a task says into `response` and finishes `reactor` with the task's end. Both are gRPC's.
std::shared_ptr<TaskSink> MakeSink(grpc::ServerUnaryReactor* reactor, v1::VerifyBackupResponse* response);
std::shared_ptr<TaskSink> MakeSink(grpc::ServerUnaryReactor* reactor, v1::ExportBackupResponse* response);
std::shared_ptr<TaskSink> MakeSink(grpc::ServerUnaryReactor* reactor, v1::CleanOrphansResponse* response);
std::shared_ptr<TaskSink> MakeSink(grpc::ServerUnaryReactor* reactor, v1::RepairProjectResponse* response);

}  // namespace pgconvoy::service
