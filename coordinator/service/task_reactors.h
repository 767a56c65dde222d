// The calls that a worker answers: DiscoverProjects, DescribePlan (streams) and VerifyBackup.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "coordinator/service/task_broker.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"

namespace pgconvoy::service {

// Streams a task's results to the client. The broker holds it as long as the task runs, gRPC as long as the call does.
template <typename Response>
class TaskStreamReactor : public grpc::ServerWriteReactor<Response>, public TaskSink {
 public:
  // The reactor for gRPC.
  static grpc::ServerWriteReactor<Response>* Start(TaskBroker& broker, v1::Task task);

  void OnItems(const v1::TaskResult& result) override;
  void OnEnd(const absl::Status& status) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  explicit TaskStreamReactor(TaskBroker& broker) : broker_(broker) {}
  void AdvanceLocked();
  void Abandon();

  TaskBroker& broker_;
  std::mutex mutex_;
  std::shared_ptr<TaskStreamReactor> self_;
  std::string task_id_;
  bool abandoned_ = false;
  std::deque<Response> queue_;
  bool writing_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> end_;
};

// Gathers a task's lines into a unary answer.
class LinesSink : public TaskSink {
 public:
  LinesSink(grpc::ServerUnaryReactor* reactor, v1::VerifyBackupResponse* response)
      : reactor_(reactor), response_(response) {}
  void OnItems(const v1::TaskResult& result) override;
  void OnEnd(const absl::Status& status) override;

 private:
  grpc::ServerUnaryReactor* const reactor_;
  v1::VerifyBackupResponse* const response_;
};

}  // namespace pgconvoy::service
