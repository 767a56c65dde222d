// One worker's Work stream: Hello first, then reports in and grants, acks and tasks out.
//
// The runtime and the task broker hold it by shared_ptr; it holds itself until gRPC is done with it.
// Thread safety: any thread.
// Errors: the stream ends with INVALID_ARGUMENT when the worker breaks the protocol, UNAVAILABLE when this coordinator
// does not lead, is overloaded or the worker does not read.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "coordinator/runtime/runtime.h"
#include "coordinator/service/task_broker.h"
#include "pgconvoy/v1/worker_service.grpc.pb.h"

namespace pgconvoy::service {

class WorkSession : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>,
                    public runtime::WorkerStream,
                    public TaskStream,
                    public std::enable_shared_from_this<WorkSession> {
 public:
  // Messages that may wait for a worker that does not read them.
  static constexpr size_t kMaxQueued = 100'000;

  // The reactor for gRPC. Runtime and broker must outlive it.
  static WorkSession* Start(runtime::Runtime& runtime, TaskBroker& broker);
  WorkSession(runtime::Runtime& runtime, TaskBroker& broker);

  void Send(runtime::Outbound message) override;
  void SendTask(const v1::Task& task) override;
  void Close(const absl::Status& why) override;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override;

 private:
  absl::Status Handle(const v1::WorkerMessage& message);
  absl::Status HandleHello(const v1::Hello& hello);
  absl::Status HandleReport(const v1::Report& report);
  void Leave();
  void AcknowledgeHeartbeat();
  void Enqueue(std::vector<v1::CoordinatorMessage> messages);
  void AdvanceLocked();
  bool closing();

  runtime::Runtime& runtime_;
  TaskBroker& broker_;
  const core::StreamId id_;
  // Of the reading reactions, which never overlap.
  v1::WorkerMessage incoming_;
  bool greeted_ = false;
  bool draining_ = false;

  std::mutex mutex_;
  std::shared_ptr<WorkSession> self_;
  // The front one is being written while writing_.
  std::deque<v1::CoordinatorMessage> queue_;
  bool writing_ = false;
  bool finished_ = false;
  // Set: finish with it once the queue is empty.
  std::optional<grpc::Status> end_;
};

class WorkerService : public v1::WorkerService::CallbackService {
 public:
  WorkerService(runtime::Runtime& runtime, TaskBroker& broker) : runtime_(runtime), broker_(broker) {}
  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Work(grpc::CallbackServerContext*) override {
    return WorkSession::Start(runtime_, broker_);
  }

 private:
  runtime::Runtime& runtime_;
  TaskBroker& broker_;
};

}  // namespace pgconvoy::service
