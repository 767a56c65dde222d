// The link against a coordinator's end of the wire that only writes down what arrives.
#include "worker/runner/link.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "pgconvoy/v1/worker_service.grpc.pb.h"

namespace pgconvoy::worker {
namespace {

class Recorder : public v1::WorkerService::Service {
 public:
  explicit Recorder(bool takes_batches) : takes_batches_(takes_batches) {}

  grpc::Status Work(grpc::ServerContext*,
                    grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream) override {
    v1::WorkerMessage message;
    while (stream->Read(&message)) {
      if (message.has_hello()) {
        v1::CoordinatorMessage welcome;
        welcome.mutable_welcome()->set_takes_report_batches(takes_batches_);
        stream->Write(welcome);
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      received_.push_back(message);
    }
    return grpc::Status::OK;
  }

  std::vector<v1::WorkerMessage> received() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return received_;
  }

 private:
  const bool takes_batches_;
  std::mutex mutex_;
  std::vector<v1::WorkerMessage> received_;
};

class Handler : public LinkHandler {
 public:
  v1::Hello MakeHello() override { return {}; }
  std::vector<v1::WorkerMessage> Unacknowledged() override { return {}; }
  void OnMessage(const v1::CoordinatorMessage&) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    welcome_ = true;
    changed_.notify_all();
  }
  void WaitForWelcome() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return welcome_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool welcome_ = false;
};

v1::WorkerMessage ReportNumber(int64_t seq) {
  v1::WorkerMessage message;
  message.mutable_report()->set_seq(seq);
  return message;
}

// What a coordinator gets when three reports, a release and one more report leave together.
std::vector<v1::WorkerMessage> SendTogether(bool takes_batches) {
  Recorder recorder(takes_batches);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&recorder);
  const auto server = builder.BuildAndStart();
  Handler handler;
  Link link("127.0.0.1:" + std::to_string(port), rpc::Security(), handler);
  std::thread runs([&link] { link.Run(/*give_up_ms=*/60'000); });
  handler.WaitForWelcome();
  for (const int64_t seq : {1, 2, 3}) {
    link.Send(ReportNumber(seq), /*can_wait=*/true);
  }
  v1::WorkerMessage release;
  release.mutable_release();
  link.Send(release, /*can_wait=*/true);
  link.Send(ReportNumber(4));
  link.Stop();
  runs.join();
  server->Shutdown();
  return recorder.received();
}

std::vector<int64_t> Numbers(const std::vector<v1::WorkerMessage>& messages) {
  std::vector<int64_t> numbers;
  for (const v1::WorkerMessage& message : messages) {
    if (message.has_report()) {
      numbers.push_back(message.report().seq());
    }
    for (const v1::Report& report : message.report_batch().reports()) {
      numbers.push_back(report.seq());
    }
  }
  return numbers;
}

TEST(Link, PacksReportsThatLeaveTogetherForACoordinatorThatUnpacksThem) {
  const auto received = SendTogether(/*takes_batches=*/true);
  EXPECT_EQ(Numbers(received), (std::vector<int64_t>{1, 2, 3, 4}));
  for (const v1::WorkerMessage& message : received) {
    EXPECT_FALSE(message.has_report()) << message.ShortDebugString();
  }
  // What is no report keeps its place.
  ASSERT_GE(received.size(), 4u);
  EXPECT_TRUE(received[received.size() - 2].has_release());
}

TEST(Link, SendsEachReportAloneToACoordinatorThatDoesNotKnowBatches) {
  const auto received = SendTogether(/*takes_batches=*/false);
  EXPECT_EQ(Numbers(received), (std::vector<int64_t>{1, 2, 3, 4}));
  for (const v1::WorkerMessage& message : received) {
    EXPECT_FALSE(message.has_report_batch()) << message.ShortDebugString();
  }
}

}  // namespace
}  // namespace pgconvoy::worker
