// A worker without databases: it speaks the worker's protocol over a real stream and says what the test tells it to.
//
// Thread safety: one thread (the test's); a thread of its own reads the stream.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/rpc/rpc.h"
#include "pgconvoy/v1/worker_service.grpc.pb.h"

namespace pgconvoy::service {

class FakeWorker {
 public:
  FakeWorker(const std::shared_ptr<grpc::Channel>& channel, std::string id)
      : id_(std::move(id)), stub_(v1::WorkerService::NewStub(channel)), stream_(stub_->Work(&context_)) {
    reader_ = std::thread([this] { Read(); });
  }
  ~FakeWorker() {
    context_.TryCancel();
    reader_.join();
  }

  bool Send(const v1::WorkerMessage& message) { return stream_->Write(message); }

  bool Hello(int slots = 4, const std::vector<v1::HeldProject>& held = {}) {
    v1::WorkerMessage message;
    v1::Hello& hello = *message.mutable_hello();
    hello.set_worker_id(id_);
    hello.set_incarnation("i1");
    hello.set_version("0.1.0");
    hello.set_host("localhost");
    hello.set_slots(slots);
    hello.set_protocol(rpc::kWorkerProtocol);
    for (const v1::HeldProject& project : held) {
      *hello.add_held() = project;
    }
    return Send(message);
  }

  // The next message for which `wanted` is true; others are dropped. Nothing when the stream ends before.
  std::optional<v1::CoordinatorMessage> Next(const std::function<bool(const v1::CoordinatorMessage&)>& wanted) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      if (!changed_.wait_for(lock, std::chrono::seconds(60), [this] { return ended_ || !messages_.empty(); })) {
        return std::nullopt;
      }
      if (messages_.empty()) {
        return std::nullopt;
      }
      v1::CoordinatorMessage message = std::move(messages_.front());
      messages_.pop_front();
      if (wanted(message)) {
        return message;
      }
    }
  }

  std::optional<v1::Welcome> NextWelcome() {
    auto message = Next([](const auto& m) { return m.has_welcome(); });
    return message ? std::optional(message->welcome()) : std::nullopt;
  }
  std::optional<v1::Grant> NextGrant() {
    auto message = Next([](const auto& m) { return m.has_grant(); });
    return message ? std::optional(message->grant()) : std::nullopt;
  }
  // The ack of this report.
  std::optional<v1::Ack> AckOf(const v1::Report& report) {
    auto message = Next([&report](const auto& m) {
      return m.has_ack() && m.ack().fence() == report.fence() && m.ack().seq() == report.seq();
    });
    return message ? std::optional(message->ack()) : std::nullopt;
  }

  // Sends a report and waits for its ack.
  std::optional<v1::Ack> Report(const v1::Report& report) {
    v1::WorkerMessage message;
    *message.mutable_report() = report;
    return Send(message) ? AckOf(report) : std::nullopt;
  }

  // Says that it has nothing more to say and gives the stream's status once the coordinator has closed it.
  grpc::Status Leave() {
    stream_->WritesDone();
    return Status();
  }
  grpc::Status Status() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
    return status_;
  }

 private:
  void Read() {
    v1::CoordinatorMessage message;
    while (stream_->Read(&message)) {
      const std::lock_guard<std::mutex> lock(mutex_);
      messages_.push_back(message);
      changed_.notify_all();
    }
    const grpc::Status status = stream_->Finish();
    const std::lock_guard<std::mutex> lock(mutex_);
    status_ = status;
    ended_ = true;
    changed_.notify_all();
  }

  const std::string id_;
  grpc::ClientContext context_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::CoordinatorMessage> messages_;
  bool ended_ = false;
  grpc::Status status_;
  std::thread reader_;
};

// The reports of one project's attempt, numbered.
class Attempt {
 public:
  Attempt(const v1::Grant& grant, const v1::ProjectGrant& project)
      : migration_id_(grant.migration_id()), project_(project) {}

  v1::Report Started(v1::Phase phase) {
    v1::Report report = Next();
    report.mutable_phase_started()->set_phase(phase);
    return report;
  }
  v1::Report Done(v1::Phase phase) {
    v1::Report report = Next();
    v1::PhaseResult& result = *report.mutable_phase_done();
    result.set_phase(phase);
    result.set_direction(project_.direction());
    result.set_fence(project_.fence());
    return report;
  }
  v1::Report Finished() {
    v1::Report report = Next();
    report.mutable_attempt_done();
    return report;
  }
  v1::Report Failed(v1::Phase phase, v1::Verdict verdict) {
    v1::Report report = Next();
    report.mutable_failed()->set_phase(phase);
    report.mutable_failed()->mutable_error()->set_verdict(verdict);
    report.mutable_failed()->mutable_error()->set_code("PGC-TEST");
    report.mutable_failed()->mutable_error()->set_message("as told");
    return report;
  }
  v1::Report Intends(const v1::Intent& intent) {
    v1::Report report = Next();
    *report.mutable_intent() = intent;
    return report;
  }

  v1::HeldProject Held() const {
    v1::HeldProject held;
    held.set_migration_id(migration_id_);
    held.set_project_ref(project_.ref());
    held.set_fence(project_.fence());
    return held;
  }
  const v1::ProjectGrant& project() const { return project_; }

 private:
  v1::Report Next() {
    v1::Report report;
    report.set_migration_id(migration_id_);
    report.set_project_ref(project_.ref());
    report.set_fence(project_.fence());
    report.set_seq(++seq_);
    return report;
  }

  const std::string migration_id_;
  const v1::ProjectGrant project_;
  int64_t seq_ = 0;
};

}  // namespace pgconvoy::service
