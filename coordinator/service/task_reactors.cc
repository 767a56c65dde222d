#include "coordinator/service/task_reactors.h"

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

}  // namespace

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

template class TaskStreamReactor<v1::DiscoverProjectsResponse>;
template class TaskStreamReactor<v1::DescribePlanResponse>;

void LinesSink::OnItems(const v1::TaskResult& result) {
  for (const std::string& line : result.lines()) {
    response_->add_lines(line);
  }
}

void LinesSink::OnEnd(const absl::Status& status) { reactor_->Finish(rpc::ToGrpc(status)); }

}  // namespace pgconvoy::service
