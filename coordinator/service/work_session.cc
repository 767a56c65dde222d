#include "coordinator/service/work_session.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/rpc/rpc.h"
#include "coordinator/runtime/runtime.h"
#include "coordinator/service/access.h"
#include "coordinator/service/worker_messages.h"
#include "pgconvoy/v1/worker_service.grpc.pb.h"

namespace pgconvoy::service {
namespace {

absl::Status Protocol(const char* what) { return InputError("PGC-RPC-PROTOCOL", what); }

// A stream may outlive the certificate under which it began.
absl::Status CheckStillValid(const std::optional<rpc::Identity>& caller) {
  if (!caller.has_value() || Clock::System().NowWall() / 1000 <= caller->not_after_s) {
    return absl::OkStatus();
  }
  return MakeError(Verdict::kTransient, "PGC-TLS-EXPIRED",
                   "the certificate of " + rpc::ToUri(*caller) + " has expired",
                   "renew it; the worker takes it up when it connects again");
}

// The runtime and the task broker hold it by shared_ptr; it holds itself until gRPC is done with it.
class WorkSession : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>,
                    public runtime::WorkerStream,
                    public TaskStream,
                    public std::enable_shared_from_this<WorkSession> {
 public:
  // Messages that may wait for a worker that does not read them.
  static constexpr size_t kMaxQueued = 100'000;

  // The reactor for gRPC. Runtime and broker must outlive it.
  static WorkSession* Start(runtime::Runtime& runtime, TaskBroker& broker, std::optional<rpc::Identity> caller);
  WorkSession(runtime::Runtime& runtime, TaskBroker& broker, std::optional<rpc::Identity> caller);

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
  absl::Status HandleReports(const v1::ReportBatch& batch);
  void Leave();
  void AcknowledgeHeartbeat();
  void Enqueue(std::vector<v1::CoordinatorMessage> messages);
  void AdvanceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool closing();

  runtime::Runtime& runtime_;
  TaskBroker& broker_;
  const core::StreamId id_;
  // Nothing without TLS.
  const std::optional<rpc::Identity> caller_;
  // Of the reading reactions, which never overlap.
  v1::WorkerMessage incoming_;
  bool greeted_ = false;
  bool draining_ = false;
  // Set before the runtime knows this stream.
  bool ack_batches_ = false;
  bool grant_batches_ = false;

  Mutex mutex_;
  std::shared_ptr<WorkSession> self_ ABSL_GUARDED_BY(mutex_);
  // The front one is being written while writing_.
  std::deque<v1::CoordinatorMessage> queue_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  // Set: finish with it once the queue is empty.
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
};

WorkSession* WorkSession::Start(runtime::Runtime& runtime, TaskBroker& broker, std::optional<rpc::Identity> caller) {
  auto session = std::make_shared<WorkSession>(runtime, broker, std::move(caller));
  {
    const MutexLock lock(session->mutex_);
    session->self_ = session;
  }
  session->StartRead(&session->incoming_);
  return session.get();
}

WorkSession::WorkSession(runtime::Runtime& runtime, TaskBroker& broker, std::optional<rpc::Identity> caller)
    : runtime_(runtime), broker_(broker), id_(runtime.NewStream()), caller_(std::move(caller)) {}

// ---- in --------------------------------------------------------------------------------------------------------

void WorkSession::OnReadDone(bool ok) {
  if (!ok) {
    Leave();
    return;
  }
  if (const absl::Status status = Handle(incoming_); !status.ok()) {
    Close(status);
    Leave();
    return;
  }
  if (closing()) {
    Leave();
  } else {
    StartRead(&incoming_);
  }
}

absl::Status WorkSession::Handle(const v1::WorkerMessage& message) {
  PGC_RETURN_IF_ERROR(CheckStillValid(caller_));
  if (greeted_ == (message.body_case() == v1::WorkerMessage::kHello)) {
    return Protocol(greeted_ ? "a second Hello on one stream" : "the first message must be Hello");
  }
  switch (message.body_case()) {
    case v1::WorkerMessage::kHello: return HandleHello(message.hello());
    case v1::WorkerMessage::kHeartbeat:
      if (draining_ != message.heartbeat().draining()) {
        draining_ = message.heartbeat().draining();
        broker_.SetDraining(id_, draining_);
      }
      AcknowledgeHeartbeat();
      return runtime_.Post(core::WorkerHeartbeat{id_, draining_});
    case v1::WorkerMessage::kReport: return HandleReport(message.report());
    case v1::WorkerMessage::kReportBatch: return HandleReports(message.report_batch());
    case v1::WorkerMessage::kRelease: {
      PGC_ASSIGN_OR_RETURN(auto release, ToRelease(message.release(), id_));
      return runtime_.Post(std::move(release));
    }
    case v1::WorkerMessage::kTaskResult: broker_.OnResult(id_, message.task_result()); return absl::OkStatus();
    case v1::WorkerMessage::BODY_NOT_SET: break;
  }
  return Protocol("a message of a kind that this coordinator does not know");
}

absl::Status WorkSession::HandleHello(const v1::Hello& hello) {
  PGC_ASSIGN_OR_RETURN(auto event, ToHello(hello, id_));
  PGC_RETURN_IF_ERROR(CheckWorker(caller_, event.worker_id));
  draining_ = event.draining;
  ack_batches_ = hello.takes_ack_batches();
  grant_batches_ = hello.takes_grant_batches();
  PGC_RETURN_IF_ERROR(runtime_.Connect(std::move(event), shared_from_this()));
  greeted_ = true;
  return absl::OkStatus();
}

absl::Status WorkSession::HandleReport(const v1::Report& report) {
  auto event = ToReport(report, id_);
  if (!event.ok()) {
    Enqueue({RefusalOf(report, event.status())});
    return absl::OkStatus();
  }
  return runtime_.Post(*std::move(event));
}

absl::Status WorkSession::HandleReports(const v1::ReportBatch& batch) {
  if (batch.reports_size() > kMaxReportsInBatch) {
    return Protocol("a batch of more than 1000 reports");
  }
  std::vector<core::Event> events;
  events.reserve(static_cast<size_t>(batch.reports_size()));
  for (const v1::Report& report : batch.reports()) {
    if (auto event = ToReport(report, id_); event.ok()) {
      events.emplace_back(*std::move(event));
    } else {
      Enqueue({RefusalOf(report, event.status())});
    }
  }
  return runtime_.Post(std::move(events));
}

// The worker says nothing more. The runtime closes the stream when everything that it did say has been answered.
void WorkSession::Leave() {
  broker_.RemoveStream(id_);
  if (!greeted_ || !runtime_.Post(core::WorkerGone{id_}).ok()) {
    Close(absl::OkStatus());
  }
}

// ---- out -------------------------------------------------------------------------------------------------------

void WorkSession::Send(runtime::Outbound message) {
  const bool welcome = std::holds_alternative<runtime::Welcome>(message);
  Enqueue(ToWire(message, ack_batches_));
  if (welcome) {
    broker_.AddStream(id_, shared_from_this(), draining_);
  }
}

void WorkSession::SendTask(const v1::Task& task) {
  v1::CoordinatorMessage message;
  *message.mutable_task() = task;
  Enqueue({std::move(message)});
}

// Not by way of the runtime: a store that hangs for a while must not make workers give up what they hold.
void WorkSession::AcknowledgeHeartbeat() {
  v1::CoordinatorMessage message;
  message.mutable_heartbeat_ack();
  Enqueue({std::move(message)});
}

void WorkSession::Close(const absl::Status& why) {
  broker_.RemoveStream(id_);
  const MutexLock lock(mutex_);
  if (!end_.has_value()) {
    end_ = rpc::ToGrpc(why);
  }
  AdvanceLocked();
}

bool WorkSession::closing() {
  const MutexLock lock(mutex_);
  return end_.has_value();
}

void WorkSession::Enqueue(std::vector<v1::CoordinatorMessage> messages) {
  const MutexLock lock(mutex_);
  if (end_.has_value()) {
    return;
  }
  for (v1::CoordinatorMessage& message : messages) {
    queue_.push_back(std::move(message));
  }
  if (queue_.size() > kMaxQueued) {
    queue_.resize(1);
    end_ = rpc::ToGrpc(MakeError(Verdict::kTransient, "PGC-RPC-SLOW-READER", "the worker does not read its stream"));
  }
  AdvanceLocked();
}

void WorkSession::AdvanceLocked() {
  if (writing_ || finished_) {
    return;
  }
  if (!queue_.empty()) {
    writing_ = true;
    if (grant_batches_) {
      JoinGrants(queue_);
    }
    grpc::WriteOptions options;
    if (queue_.size() > 1) {
      options.set_buffer_hint();
    }
    StartWrite(&queue_.front(), options);
  } else if (end_.has_value()) {
    finished_ = true;
    Finish(*end_);
  }
}

void WorkSession::OnWriteDone(bool ok) {
  const MutexLock lock(mutex_);
  writing_ = false;
  if (ok) {
    queue_.pop_front();
  } else {
    queue_.clear();
    if (!end_.has_value()) {
      end_ = grpc::Status(grpc::StatusCode::CANCELLED, "the stream broke");
    }
  }
  AdvanceLocked();
}

void WorkSession::OnDone() {
  std::shared_ptr<WorkSession> self;
  const MutexLock lock(mutex_);
  self = std::move(self_);
  // `self` is declared before the lock and so outlives it.
}

class WorkerService : public v1::WorkerService::CallbackService {
 public:
  WorkerService(runtime::Runtime& runtime, TaskBroker& broker) : runtime_(runtime), broker_(broker) {}
  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Work(
      grpc::CallbackServerContext* context) override {
    return WorkSession::Start(runtime_, broker_, CallerOf(*context));
  }

 private:
  runtime::Runtime& runtime_;
  TaskBroker& broker_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeWorkerService(runtime::Runtime& runtime, TaskBroker& broker) {
  return std::make_unique<WorkerService>(runtime, broker);
}

}  // namespace pgconvoy::service
