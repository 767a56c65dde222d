#include "coordinator/service/task_reactors.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "common/rpc/rpc.h"

namespace pgconvoy::service {
namespace {

void Fill(const v1::TaskResult& result, v1::DiscoverProjectsResponse& response) {
  *response.mutable_projects() = result.projects();
}

void Fill(const v1::TaskResult& result, v1::DescribePlanResponse& response) {
  *response.mutable_descriptions() = result.descriptions();
}

// Streams a task's results to the client. The broker holds it as long as the task runs, gRPC as long as the call does.
template <typename Response>
class TaskStreamReactor : public grpc::ServerWriteReactor<Response>, public TaskSink {
 public:
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

template <typename Response>
grpc::ServerWriteReactor<Response>* TaskStreamReactor<Response>::Start(TaskBroker& broker, v1::Task task) {
  std::shared_ptr<TaskStreamReactor> reactor(new TaskStreamReactor(broker));
  reactor->self_ = reactor;
  std::string task_id = broker.Start(std::move(task), reactor);
  bool abandoned = false;
  {
    const std::lock_guard<std::mutex> lock(reactor->mutex_);
    reactor->task_id_ = std::move(task_id);
    abandoned = reactor->abandoned_;
  }
  if (abandoned) {
    reactor->Abandon();
  }
  return reactor.get();
}

template <typename Response>
void TaskStreamReactor<Response>::OnItems(const v1::TaskResult& result) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Fill(result, queue_.emplace_back());
  AdvanceLocked();
}

template <typename Response>
void TaskStreamReactor<Response>::OnEnd(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!end_.has_value()) {
    end_ = rpc::ToGrpc(status);
  }
  AdvanceLocked();
}

template <typename Response>
void TaskStreamReactor<Response>::AdvanceLocked() {
  if (writing_ || finished_) {
    return;
  }
  if (!queue_.empty()) {
    writing_ = true;
    this->StartWrite(&queue_.front());
  } else if (end_.has_value()) {
    finished_ = true;
    this->Finish(*end_);
  }
}

template <typename Response>
void TaskStreamReactor<Response>::OnWriteDone(bool ok) {
  const std::lock_guard<std::mutex> lock(mutex_);
  writing_ = false;
  if (ok) {
    queue_.pop_front();
  } else {
    queue_.clear();
    end_ = grpc::Status::CANCELLED;
  }
  AdvanceLocked();
}

// The client has gone. The broker's lock is taken without ours: it calls us the other way round.
template <typename Response>
void TaskStreamReactor<Response>::OnCancel() {
  Abandon();
  OnEnd(absl::CancelledError("the client has gone"));
}

template <typename Response>
void TaskStreamReactor<Response>::Abandon() {
  std::string task_id;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    abandoned_ = true;
    task_id = task_id_;
  }
  broker_.Forget(task_id);
}

template <typename Response>
void TaskStreamReactor<Response>::OnDone() {
  std::shared_ptr<TaskStreamReactor> self;
  const std::lock_guard<std::mutex> lock(mutex_);
  self = std::move(self_);
  // `self` is declared before the lock and so outlives it.
}

template <typename Response>
class LinesSink : public TaskSink {
 public:
  LinesSink(grpc::ServerUnaryReactor* reactor, Response* response) : reactor_(reactor), response_(response) {}
  void OnItems(const v1::TaskResult& result) override {
    for (const std::string& line : result.lines()) {
      response_->add_lines(line);
    }
  }
  void OnEnd(const absl::Status& status) override { reactor_->Finish(rpc::ToGrpc(status)); }

 private:
  grpc::ServerUnaryReactor* const reactor_;
  Response* const response_;
};

class RepairSink : public TaskSink {
 public:
  RepairSink(grpc::ServerUnaryReactor* reactor, v1::RepairProjectResponse* response)
      : reactor_(reactor), response_(response) {}
  void OnItems(const v1::TaskResult& result) override {
    for (const v1::ProjectInspection& inspection : result.inspections()) {
      for (const v1::CheckResult& check : inspection.checks()) {
        const std::string what = check.name() + ": " + check.message();
        response_->add_differences(check.remedy().empty() ? what : what + " (" + check.remedy() + ")");
        if (check.passed()) {
          response_->add_mended(what);
        }
      }
    }
  }
  void OnEnd(const absl::Status& status) override { reactor_->Finish(rpc::ToGrpc(status)); }

 private:
  grpc::ServerUnaryReactor* const reactor_;
  v1::RepairProjectResponse* const response_;
};

}  // namespace

grpc::ServerWriteReactor<v1::DiscoverProjectsResponse>* StartDiscover(TaskBroker& broker, v1::Task task) {
  return TaskStreamReactor<v1::DiscoverProjectsResponse>::Start(broker, std::move(task));
}

grpc::ServerWriteReactor<v1::DescribePlanResponse>* StartDescribe(TaskBroker& broker, v1::Task task) {
  return TaskStreamReactor<v1::DescribePlanResponse>::Start(broker, std::move(task));
}

std::shared_ptr<TaskSink> MakeSink(grpc::ServerUnaryReactor* reactor, v1::VerifyBackupResponse* response) {
  return std::make_shared<LinesSink<v1::VerifyBackupResponse>>(reactor, response);
}

std::shared_ptr<TaskSink> MakeSink(grpc::ServerUnaryReactor* reactor, v1::ExportBackupResponse* response) {
  return std::make_shared<LinesSink<v1::ExportBackupResponse>>(reactor, response);
}

std::shared_ptr<TaskSink> MakeSink(grpc::ServerUnaryReactor* reactor, v1::CleanOrphansResponse* response) {
  return std::make_shared<LinesSink<v1::CleanOrphansResponse>>(reactor, response);
}

std::shared_ptr<TaskSink> MakeSink(grpc::ServerUnaryReactor* reactor, v1::RepairProjectResponse* response) {
  return std::make_shared<RepairSink>(reactor, response);
}

}  // namespace pgconvoy::service
