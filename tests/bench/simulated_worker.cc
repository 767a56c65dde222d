#include "tests/bench/simulated_worker.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "common/crypto/crypto.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/worker_service.grpc.pb.h"

namespace pgconvoy::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Of silence, after which a benchmark is given up.
constexpr std::chrono::seconds kSilence(60);
constexpr int kMaxReportsInBatch = 1000;

v1::WorkerMessage HelloOf(const std::string& id, const SimulatedWorkerOptions& options) {
  v1::WorkerMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_worker_id(id);
  hello.set_incarnation(RandomUuid());
  hello.set_version("0.1.0");
  hello.set_protocol(rpc::kWorkerProtocol);
  hello.set_host("localhost");
  hello.set_slots(options.slots);
  hello.set_takes_ack_batches(options.batches);
  hello.set_takes_grant_batches(options.batches);
  return message;
}

// Reports that wait to be written, in messages that are as full as they may be.
class Outbox {
 public:
  explicit Outbox(bool batches) : batches_(batches) {}

  void Add(v1::WorkerMessage message) { queue_.push_back(std::move(message)); }

  v1::Report& AddReport(const v1::Grant& grant, const v1::ProjectGrant& project, int64_t seq) {
    v1::Report& report = NextReport();
    report.set_migration_id(grant.migration_id());
    report.set_project_ref(project.ref());
    report.set_fence(project.fence());
    report.set_seq(seq);
    return report;
  }

  bool empty() const { return queue_.empty(); }

  v1::WorkerMessage Take() {
    v1::WorkerMessage message = std::move(queue_.front());
    queue_.pop_front();
    return message;
  }

 private:
  v1::Report& NextReport() {
    if (!batches_) {
      return *queue_.emplace_back().mutable_report();
    }
    if (queue_.empty() || !queue_.back().has_report_batch() ||
        queue_.back().report_batch().reports_size() >= kMaxReportsInBatch) {
      queue_.emplace_back();
    }
    return *queue_.back().mutable_report_batch()->add_reports();
  }

  const bool batches_;
  std::deque<v1::WorkerMessage> queue_;
};

// Returns the number of the last report.
int64_t ReportWhole(const v1::Grant& grant, const v1::ProjectGrant& project, bool report_starts, Outbox& out) {
  int64_t seq = 0;
  for (const int phase : project.phases()) {
    if (report_starts) {
      out.AddReport(grant, project, ++seq).mutable_phase_started()->set_phase(static_cast<v1::Phase>(phase));
    }
    v1::PhaseResult& result = *out.AddReport(grant, project, ++seq).mutable_phase_done();
    result.set_phase(static_cast<v1::Phase>(phase));
    result.set_direction(project.direction());
    result.set_fence(project.fence());
  }
  out.AddReport(grant, project, ++seq).mutable_attempt_done();
  return seq;
}

}  // namespace

struct SimulatedWorkers::Shared {
  SimulatedWorkerOptions options;
  std::atomic<int64_t> granted = 0;
  std::atomic<int64_t> completed = 0;
  std::atomic<Clock::time_point> last_grant;
  std::mutex mutex;
  std::condition_variable changed;
  std::string problem;

  void Fail(const std::string& what) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (problem.empty()) {
      problem = what;
    }
    changed.notify_all();
  }

  void Wait(const std::atomic<int64_t>& count, int64_t projects) {
    std::unique_lock<std::mutex> lock(mutex);
    int64_t before = -1;
    while (count < projects && problem.empty()) {
      if (changed.wait_for(lock, kSilence) == std::cv_status::timeout && count == before) {
        throw std::runtime_error("simulated workers: nothing comes any more after " + std::to_string(count) + " of " +
                                 std::to_string(projects) + " projects");
      }
      before = count;
    }
    if (!problem.empty()) {
      throw std::runtime_error("simulated workers: " + problem);
    }
  }
};

// To be destroyed behind AwaitEnd(), and not by a reaction: the last channel must not go on a thread of gRPC's.
class SimulatedWorkers::Worker : public grpc::ClientBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage> {
 public:
  Worker(std::shared_ptr<Shared> shared, const std::string& id)
      : shared_(std::move(shared)),
        stub_(v1::WorkerService::NewStub(rpc::Connect(shared_->options.address))),
        outbox_(shared_->options.batches),
        outgoing_(HelloOf(id, shared_->options)) {}

  void Start() {
    writing_ = true;
    stub_->async()->Work(&context_, this);
    // Leave() comes from outside of gRPC's reactions: until then nothing may be over.
    AddHold();
    StartRead(&incoming_);
    StartWrite(&outgoing_);
    StartCall();
  }

  void Leave() {
    const std::lock_guard<std::mutex> lock(mutex_);
    leaving_ = true;
    AdvanceLocked();
    RemoveHold();
  }

  void AwaitEnd() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(5), [this] { return ended_; })) {
      context_.TryCancel();
      changed_.wait(lock, [this] { return ended_; });
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      const std::lock_guard<std::mutex> lock(mutex_);
      broken_ = true;
      if (!leaving_ && !shared_->options.streams_may_end) {
        shared_->Fail("a stream ended");
      }
      return;
    }
    Take();
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    if (ok) {
      AdvanceLocked();
    }
  }

  void OnDone(const grpc::Status&) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

 private:
  void Take() {
    switch (incoming_.body_case()) {
      case v1::CoordinatorMessage::kGrant:
        TakeGrant(incoming_.grant());
        ReportGranted();
        break;
      case v1::CoordinatorMessage::kGrantBatch:
        for (const v1::Grant& grant : incoming_.grant_batch().grants()) {
          TakeGrant(grant);
        }
        ReportGranted();
        break;
      case v1::CoordinatorMessage::kAck: TakeAck(incoming_.ack()); break;
      case v1::CoordinatorMessage::kAckBatch:
        for (const v1::Ack& ack : incoming_.ack_batch().acks()) {
          TakeAck(ack);
        }
        break;
      case v1::CoordinatorMessage::kTask: TakeTask(incoming_.task()); break;
      case v1::CoordinatorMessage::kRevoke: shared_->Fail("a project was revoked"); break;
      default: break;
    }
    if (!incoming_.has_task() && !incoming_.has_revoke()) {
      // Under the lock, or a waiter that has just looked would miss it.
      { const std::lock_guard<std::mutex> lock(shared_->mutex); }
      shared_->changed.notify_all();
    }
  }

  void TakeGrant(const v1::Grant& grant) {
    shared_->last_grant = Clock::now();
    shared_->granted += grant.projects_size();
    if (shared_->options.hold) {
      return;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const v1::ProjectGrant& project : grant.projects()) {
      const int64_t last = ReportWhole(grant, project, shared_->options.report_starts, outbox_);
      if (!last_seq_.emplace(project.fence(), last).second) {
        shared_->Fail("a fence was granted twice");
      }
    }
  }

  void ReportGranted() {
    const std::lock_guard<std::mutex> lock(mutex_);
    AdvanceLocked();
  }

  void TakeAck(const v1::Ack& ack) {
    if (!ack.refused_reason().empty()) {
      shared_->Fail("a report was refused: " + ack.refused_message());
    }
    const auto found = last_seq_.find(ack.fence());
    if (found != last_seq_.end() && found->second == ack.seq()) {
      last_seq_.erase(found);
      ++shared_->completed;
    }
  }

  void TakeTask(const v1::Task& task) {
    v1::WorkerMessage answer;
    answer.mutable_task_result()->set_task_id(task.task_id());
    answer.mutable_task_result()->set_done(true);
    const std::lock_guard<std::mutex> lock(mutex_);
    outbox_.Add(std::move(answer));
    AdvanceLocked();
  }

  void AdvanceLocked() {
    if (writing_ || said_all_ || broken_) {
      return;
    }
    if (!outbox_.empty()) {
      writing_ = true;
      outgoing_ = outbox_.Take();
      grpc::WriteOptions options;
      if (!outbox_.empty()) {
        options.set_buffer_hint();
      }
      StartWrite(&outgoing_, options);
    } else if (leaving_ && !said_all_) {
      said_all_ = true;
      StartWritesDone();
    }
  }

  const std::shared_ptr<Shared> shared_;
  const std::unique_ptr<v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  // Of the reading reactions, which never overlap.
  v1::CoordinatorMessage incoming_;
  std::unordered_map<int64_t, int64_t> last_seq_;

  std::mutex mutex_;
  std::condition_variable changed_;
  Outbox outbox_;
  // Being written while writing_.
  v1::WorkerMessage outgoing_;
  bool writing_ = false;
  bool leaving_ = false;
  bool said_all_ = false;
  bool broken_ = false;
  bool ended_ = false;
};

SimulatedWorkers::SimulatedWorkers(const SimulatedWorkerOptions& options) : shared_(std::make_shared<Shared>()) {
  shared_->options = options;
  for (int i = 0; i < options.workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(shared_, "simulated-" + std::to_string(i)));
    workers_.back()->Start();
  }
}

SimulatedWorkers::~SimulatedWorkers() {
  for (const auto& worker : workers_) {
    worker->Leave();
  }
  for (const auto& worker : workers_) {
    worker->AwaitEnd();
  }
}

int64_t SimulatedWorkers::granted() const { return shared_->granted; }
int64_t SimulatedWorkers::completed() const { return shared_->completed; }
Clock::time_point SimulatedWorkers::last_grant() const { return shared_->last_grant; }

std::string SimulatedWorkers::Problem() const {
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  return shared_->problem;
}

void SimulatedWorkers::WaitGranted(int64_t projects) const { shared_->Wait(shared_->granted, projects); }
void SimulatedWorkers::WaitCompleted(int64_t projects) const { shared_->Wait(shared_->completed, projects); }

}  // namespace pgconvoy::bench
