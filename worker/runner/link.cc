#include "worker/runner/link.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <thread>
#include <utility>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/base/mutex.h"
#include "common/log/log.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/worker_service.grpc.pb.h"

namespace pgconvoy::worker {
namespace {

constexpr int64_t kFirstBackoffMs = 100;
constexpr int64_t kMaxBackoffMs = 2'000;
// A third of the shortest lease that a coordinator grants.
constexpr auto kHeartbeatInterval = std::chrono::milliseconds(1'000);
constexpr auto kGatherTime = std::chrono::milliseconds(20);
constexpr auto kFarewellTimeout = std::chrono::seconds(5);
constexpr int kMaxReportsInBatch = 1'000;

using Stream = grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>;

// Neighbouring reports become one message each; everything keeps its place.
std::deque<v1::WorkerMessage> PackReports(std::deque<v1::WorkerMessage> messages) {
  std::deque<v1::WorkerMessage> packed;
  for (v1::WorkerMessage& message : messages) {
    if (!message.has_report()) {
      packed.push_back(std::move(message));
      continue;
    }
    const bool fits = !packed.empty() && packed.back().has_report_batch() &&
                      packed.back().report_batch().reports_size() < kMaxReportsInBatch;
    if (!fits) {
      packed.emplace_back();
    }
    *packed.back().mutable_report_batch()->add_reports() = std::move(*message.mutable_report());
  }
  return packed;
}

}  // namespace

class Link::Impl {
 public:
  Impl(std::string address, rpc::Security security, LinkHandler& handler)
      : address_(std::move(address)), security_(std::move(security)), handler_(handler) {}

  LinkEnd Run(int64_t give_up_ms) {
    std::unique_ptr<v1::WorkerService::Stub> stub;
    MonotonicMs alone_since = Clock::System().NowMonotonic();
    int64_t backoff_ms = kFirstBackoffMs;
    while (!stopped_) {
      // With TLS anew for every stream, so that a certificate that was renewed is taken up.
      if (stub == nullptr || security_.tls()) {
        stub = MakeStub();
      }
      if (stub != nullptr && RunStream(*stub)) {
        alone_since = Clock::System().NowMonotonic();
        backoff_ms = kFirstBackoffMs;
      }
      if (stopped_) {
        break;
      }
      if (refused_) {
        return LinkEnd::kRefused;
      }
      if (Clock::System().NowMonotonic() - alone_since > give_up_ms) {
        return LinkEnd::kUnreachable;
      }
      Sleep(backoff_ms);
      backoff_ms = std::min(backoff_ms * 2, kMaxBackoffMs);
    }
    return LinkEnd::kStopped;
  }

  void Send(const v1::WorkerMessage& message, bool can_wait) {
    const MutexLock lock(mutex_);
    if (open_) {
      outbox_.push_back(message);
      urgent_ = urgent_ || !can_wait;
      changed_.NotifyAll();
    }
  }

  void SetDraining(bool draining) { draining_ = draining; }

  void Stop() {
    const MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }

 private:
  // Nothing while the files of the certificate cannot be used; they may be in the middle of being renewed.
  std::unique_ptr<v1::WorkerService::Stub> MakeStub() {
    const auto channel = rpc::Connect(address_, security_);
    if (channel.ok()) {
      return v1::WorkerService::NewStub(*channel);
    }
    log::Warn("cannot use the certificate; trying again", {{"reason", Describe(channel.status())}});
    return nullptr;
  }

  // True when the coordinator answered at least once.
  bool RunStream(v1::WorkerService::Stub& stub) {
    grpc::ClientContext context;
    const auto stream = stub.Work(&context);
    {
      const MutexLock lock(mutex_);
      outbox_.clear();
      urgent_ = false;
      packs_reports_ = false;
      open_ = true;
    }
    v1::WorkerMessage hello;
    *hello.mutable_hello() = handler_.MakeHello();
    bool writable = stream->Write(hello);
    for (const v1::WorkerMessage& message : handler_.Unacknowledged()) {
      writable = writable && stream->Write(message);
    }
    std::thread writer([this, &stream, &context] { WriteLoop(*stream, context); });
    const bool answered = ReadLoop(*stream);
    {
      const MutexLock lock(mutex_);
      open_ = false;
      changed_.NotifyAll();
    }
    writer.join();
    const grpc::Status status = stream->Finish();
    if (!status.ok() && !stopped_) {
      Explain(rpc::FromGrpc(status), answered);
    }
    return answered;
  }

  void Explain(const absl::Status& status, bool answered) {
    const log::Fields fields = {{"address", address_}, {"reason", Describe(status)}};
    // What is wrong with the hello or the certificate stays wrong.
    refused_ = !answered && (absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
                             absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status));
    if (refused_) {
      log::Error("the coordinator refuses this worker", fields);
    } else if (!answered && !told_) {
      log::Warn("cannot reach the coordinator; trying again", fields);
    } else {
      log::Debug("the stream to the coordinator ended", fields);
    }
    told_ = true;
  }

  bool ReadLoop(Stream& stream) {
    bool answered = false;
    v1::CoordinatorMessage message;
    while (stream.Read(&message)) {
      if (!answered) {
        log::Info("connected to the coordinator", {{"address", address_}});
      }
      answered = true;
      if (message.has_welcome()) {
        const MutexLock lock(mutex_);
        packs_reports_ = message.welcome().takes_report_batches();
      }
      handler_.OnMessage(message);
    }
    if (answered && !stopped_) {
      log::Warn("the coordinator is gone; trying again", {{"address", address_}});
    }
    return answered;
  }

  void WriteLoop(Stream& stream, grpc::ClientContext& context) {
    MutexLock lock(mutex_);
    while (open_) {
      if (outbox_.empty() && stopped_) {
        lock.Unlock();
        stream.WritesDone();
        // The coordinator takes in all that was said and answers by closing. A cancellation at once could overtake
        // the last reports; should it hang, this process still ends.
        lock.Lock();
        if (!changed_.WaitFor(lock, kFarewellTimeout,
                              [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !open_; })) {
          context.TryCancel();
        }
        return;
      }
      if (outbox_.empty() && !changed_.WaitFor(lock, kHeartbeatInterval)) {
        v1::WorkerMessage heartbeat;
        heartbeat.mutable_heartbeat()->set_draining(draining_);
        outbox_.push_back(heartbeat);
      }
      if (outbox_.empty()) {
        continue;
      }
      changed_.WaitFor(lock, kGatherTime,
                       [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return urgent_ || stopped_ || !open_; });
      urgent_ = false;
      std::deque<v1::WorkerMessage> messages = std::exchange(outbox_, {});
      const bool pack = packs_reports_;
      lock.Unlock();
      if (pack) {
        messages = PackReports(std::move(messages));
      }
      const absl::Status written =
          PGC_UNDER_FAILPOINT("worker.link.write", [&] { return WriteAll(stream, messages); });
      lock.Lock();
      if (!written.ok()) {
        return;
      }
    }
  }

  // In as few packets as they fit into.
  static absl::Status WriteAll(Stream& stream, const std::deque<v1::WorkerMessage>& messages) {
    for (size_t i = 0; i < messages.size(); ++i) {
      grpc::WriteOptions options;
      if (i + 1 < messages.size()) {
        options.set_buffer_hint();
      }
      if (!stream.Write(messages[i], options)) {
        return MakeError(Verdict::kTransient, "PGC-LINK-CLOSED", "the stream to the coordinator is closed");
      }
    }
    return absl::OkStatus();
  }

  void Sleep(int64_t ms) {
    MutexLock lock(mutex_);
    changed_.WaitFor(lock, std::chrono::milliseconds(ms), [this] { return stopped_.load(); });
  }

  const std::string address_;
  const rpc::Security security_;
  LinkHandler& handler_;
  Mutex mutex_;
  Condition changed_;
  std::deque<v1::WorkerMessage> outbox_ ABSL_GUARDED_BY(mutex_);
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  // Whether something in the outbox cannot wait.
  bool urgent_ ABSL_GUARDED_BY(mutex_) = false;
  // Whether the coordinator at the other end knows ReportBatch.
  bool packs_reports_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> draining_ = false;
  // Of the reading thread. told_: once is enough, however often it is tried again.
  bool refused_ = false;
  bool told_ = false;
};

Link::Link(std::string address, rpc::Security security, LinkHandler& handler)
    : impl_(std::make_unique<Impl>(std::move(address), std::move(security), handler)) {}

Link::~Link() = default;

LinkEnd Link::Run(int64_t give_up_ms) { return impl_->Run(give_up_ms); }

void Link::Send(const v1::WorkerMessage& message, bool can_wait) { impl_->Send(message, can_wait); }

void Link::SetDraining(bool draining) { impl_->SetDraining(draining); }

void Link::Stop() { impl_->Stop(); }

}  // namespace pgconvoy::worker
