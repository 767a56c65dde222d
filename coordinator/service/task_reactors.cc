#include "coordinator/service/task_reactors.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/rpc/rpc.h"
#include "coordinator/service/thread_pool.h"

namespace pgconvoy::service {
namespace {

void Fill(const v1::TaskResult& result, v1::DiscoverProjectsResponse& response) {
  *response.mutable_projects() = result.projects();
  *response.mutable_candidates() = result.candidates();
}

void Fill(const v1::TaskResult& result, v1::DescribePlanResponse& response) {
  *response.mutable_descriptions() = result.descriptions();
}

void Fill(const v1::TaskResult& result, v1::InspectProjectsResponse& response) {
  *response.mutable_inspections() = result.inspections();
}

void Fill(const v1::TaskResult& result, v1::ListChangesResponse& response) {
  *response.mutable_changes() = result.changes();
}

// Streams the results of tasks, which run one after the other, to the client. The broker holds it as long as a task
// runs, gRPC as long as the call does.
template <typename Response>
class TaskStreamReactor : public grpc::ServerWriteReactor<Response>, public TaskSink {
 public:
  // Waits for Run or OnEnd.
  static std::shared_ptr<TaskStreamReactor> Create(TaskBroker& broker);
  void Run(std::vector<v1::Task> tasks);

  void OnItems(const v1::TaskResult& result) override;
  void OnEnd(const absl::Status& status) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  explicit TaskStreamReactor(TaskBroker& broker) : broker_(broker) {}
  void AdvanceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Abandon();
  // False when no task is left.
  bool StartNext();

  TaskBroker& broker_;
  Mutex mutex_;
  std::shared_ptr<TaskStreamReactor> self_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::Task> tasks_ ABSL_GUARDED_BY(mutex_);
  std::string task_id_ ABSL_GUARDED_BY(mutex_);
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Response> queue_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
};

template <typename Response>
std::shared_ptr<TaskStreamReactor<Response>> TaskStreamReactor<Response>::Create(TaskBroker& broker) {
  std::shared_ptr<TaskStreamReactor> reactor(new TaskStreamReactor(broker));
  const MutexLock lock(reactor->mutex_);
  reactor->self_ = reactor;
  return reactor;
}

template <typename Response>
void TaskStreamReactor<Response>::Run(std::vector<v1::Task> tasks) {
  {
    const MutexLock lock(mutex_);
    tasks_.assign(std::make_move_iterator(tasks.begin()), std::make_move_iterator(tasks.end()));
  }
  if (!StartNext()) {
    OnEnd(absl::OkStatus());
  }
}

template <typename Response>
bool TaskStreamReactor<Response>::StartNext() {
  std::shared_ptr<TaskStreamReactor> self;
  v1::Task task;
  {
    const MutexLock lock(mutex_);
    if (tasks_.empty() || abandoned_) {
      return false;
    }
    task = std::move(tasks_.front());
    tasks_.pop_front();
    self = self_;
  }
  std::string task_id = broker_.Start(std::move(task), self);
  bool abandoned = false;
  {
    const MutexLock lock(mutex_);
    task_id_ = std::move(task_id);
    abandoned = abandoned_;
  }
  if (abandoned) {
    Abandon();
  }
  return true;
}

template <typename Response>
void TaskStreamReactor<Response>::OnItems(const v1::TaskResult& result) {
  const MutexLock lock(mutex_);
  Fill(result, queue_.emplace_back());
  AdvanceLocked();
}

template <typename Response>
void TaskStreamReactor<Response>::OnEnd(const absl::Status& status) {
  if (status.ok() && StartNext()) {
    return;
  }
  const MutexLock lock(mutex_);
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
  const MutexLock lock(mutex_);
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
    const MutexLock lock(mutex_);
    abandoned_ = true;
    task_id = task_id_;
  }
  broker_.Forget(task_id);
}

template <typename Response>
void TaskStreamReactor<Response>::OnDone() {
  std::shared_ptr<TaskStreamReactor> self;
  const MutexLock lock(mutex_);
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

class ChecksSink : public TaskSink {
 public:
  ChecksSink(grpc::ServerUnaryReactor* reactor, v1::ProveConservationResponse* response)
      : reactor_(reactor), response_(response) {}
  void OnItems(const v1::TaskResult& result) override {
    for (const v1::ProjectInspection& inspection : result.inspections()) {
      response_->mutable_checks()->MergeFrom(inspection.checks());
    }
  }
  void OnEnd(const absl::Status& status) override { reactor_->Finish(rpc::ToGrpc(status)); }

 private:
  grpc::ServerUnaryReactor* const reactor_;
  v1::ProveConservationResponse* const response_;
};

template <typename Response>
grpc::ServerWriteReactor<Response>* StartOne(TaskBroker& broker, v1::Task task) {
  const auto reactor = TaskStreamReactor<Response>::Create(broker);
  reactor->Run({std::move(task)});
  return reactor.get();
}

}  // namespace

grpc::ServerWriteReactor<v1::DiscoverProjectsResponse>* StartDiscover(TaskBroker& broker, v1::Task task) {
  return StartOne<v1::DiscoverProjectsResponse>(broker, std::move(task));
}

grpc::ServerWriteReactor<v1::DescribePlanResponse>* StartDescribe(TaskBroker& broker, v1::Task task) {
  return StartOne<v1::DescribePlanResponse>(broker, std::move(task));
}

namespace {

template <typename Response>
grpc::ServerWriteReactor<Response>* StartAll(const Backend& backend, TaskBroker& broker, MakeTasks make_tasks) {
  const auto reactor = TaskStreamReactor<Response>::Create(broker);
  const bool taken = backend.pool.Run([reactor, make_tasks = std::move(make_tasks)] {
    auto tasks = make_tasks();
    if (tasks.ok()) {
      reactor->Run(*std::move(tasks));
    } else {
      reactor->OnEnd(tasks.status());
    }
  });
  if (!taken) {
    reactor->OnEnd(Overloaded());
  }
  return reactor.get();
}

}  // namespace

grpc::ServerWriteReactor<v1::InspectProjectsResponse>* StartInspect(const Backend& backend,
                                                                    TaskBroker& broker,
                                                                    MakeTasks make_tasks) {
  return StartAll<v1::InspectProjectsResponse>(backend, broker, std::move(make_tasks));
}

grpc::ServerWriteReactor<v1::ListChangesResponse>* StartListChanges(const Backend& backend,
                                                                    TaskBroker& broker,
                                                                    MakeTasks make_tasks) {
  return StartAll<v1::ListChangesResponse>(backend, broker, std::move(make_tasks));
}

std::shared_ptr<TaskSink> MakeChecksSink(grpc::ServerUnaryReactor* reactor, v1::ProveConservationResponse* response) {
  return std::make_shared<ChecksSink>(reactor, response);
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
