#include "coordinator/service/task_broker.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "tests/support/wait.h"

namespace pgconvoy::service {
namespace {

constexpr MonotonicMs kLong = 60'000;

class Stream : public TaskStream {
 public:
  void SendTask(const v1::Task& task) override { tasks.push_back(task); }
  std::vector<v1::Task> tasks;
};

class Sink : public TaskSink {
 public:
  void OnItems(const v1::TaskResult& result) override {
    for (const std::string& line : result.lines()) {
      lines.push_back(line);
    }
  }
  void OnEnd(const absl::Status& status) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ends_.push_back(status);
  }
  std::vector<absl::Status> ends() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ends_;
  }
  std::vector<std::string> lines;

 private:
  std::mutex mutex_;
  std::vector<absl::Status> ends_;
};

v1::TaskResult Result(const std::string& task_id, const std::string& line, bool done) {
  v1::TaskResult result;
  result.set_task_id(task_id);
  if (!line.empty()) {
    result.add_lines(line);
  }
  result.set_done(done);
  return result;
}

TEST(TaskBroker, GivesATaskToTheWorkerThatRunsTheFewest) {
  TaskBroker broker(kLong);
  const auto first = std::make_shared<Stream>();
  const auto second = std::make_shared<Stream>();
  broker.AddStream({1}, first, false);
  broker.AddStream({2}, second, false);
  const auto sink = std::make_shared<Sink>();
  broker.Start({}, sink);
  broker.Start({}, sink);
  EXPECT_EQ(first->tasks.size(), 1u);
  EXPECT_EQ(second->tasks.size(), 1u);
}

TEST(TaskBroker, PassesOverAWorkerThatDrains) {
  TaskBroker broker(kLong);
  const auto draining = std::make_shared<Stream>();
  broker.AddStream({1}, draining, true);
  broker.Start({}, std::make_shared<Sink>());
  EXPECT_TRUE(draining->tasks.empty());
  const auto fresh = std::make_shared<Stream>();
  broker.AddStream({2}, fresh, false);
  EXPECT_EQ(fresh->tasks.size(), 1u) << "the task has waited for it";
}

TEST(TaskBroker, HandsResultsOverUntilDone) {
  TaskBroker broker(kLong);
  broker.AddStream({1}, std::make_shared<Stream>(), false);
  const auto sink = std::make_shared<Sink>();
  const std::string id = broker.Start({}, sink);
  broker.OnResult({1}, Result(id, "one", false));
  broker.OnResult({2}, Result(id, "from a worker that does not run it", true));
  broker.OnResult({1}, Result(id, "two", true));
  broker.OnResult({1}, Result(id, "late", true));
  EXPECT_EQ(sink->lines, (std::vector<std::string>{"one", "two"}));
  ASSERT_EQ(sink->ends().size(), 1u);
  EXPECT_TRUE(sink->ends()[0].ok());
}

TEST(TaskBroker, EndsATaskWithTheErrorOfItsWorker) {
  TaskBroker broker(kLong);
  broker.AddStream({1}, std::make_shared<Stream>(), false);
  const auto sink = std::make_shared<Sink>();
  v1::TaskResult result = Result(broker.Start({}, sink), "", false);
  result.mutable_error()->set_code("PGC-X");
  broker.OnResult({1}, result);
  ASSERT_EQ(sink->ends().size(), 1u);
  EXPECT_EQ(CodeOf(sink->ends()[0]), "PGC-X");
}

TEST(TaskBroker, EndsTheTasksOfAWorkerThatGoesAway) {
  TaskBroker broker(kLong);
  broker.AddStream({1}, std::make_shared<Stream>(), false);
  const auto sink = std::make_shared<Sink>();
  broker.Start({}, sink);
  broker.RemoveStream({1});
  ASSERT_EQ(sink->ends().size(), 1u);
  EXPECT_EQ(CodeOf(sink->ends()[0]), "PGC-NO-WORKER");
}

TEST(TaskBroker, GivesUpWhenNoWorkerComes) {
  TaskBroker broker(1);
  const auto sink = std::make_shared<Sink>();
  broker.Start({}, sink);
  EXPECT_TRUE(testing::Eventually([&sink] { return !sink->ends().empty(); }));
  EXPECT_EQ(CodeOf(sink->ends()[0]), "PGC-NO-WORKER");
}

TEST(TaskBroker, ForgetsACallerThatHasGone) {
  TaskBroker broker(kLong);
  const auto sink = std::make_shared<Sink>();
  broker.Forget(broker.Start({}, sink));
  broker.Stop();
  EXPECT_TRUE(sink->ends().empty());
}

}  // namespace
}  // namespace pgconvoy::service
