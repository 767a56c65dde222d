#include "coordinator/service/worker_messages.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/rpc/rpc.h"
#include "coordinator/service/payload.h"

namespace pgconvoy::service {
namespace {

v1::Report SomeReport() {
  v1::Report report;
  report.set_migration_id("3");
  report.set_project_ref("acme");
  report.set_fence(7);
  report.set_seq(2);
  report.mutable_phase_started()->set_phase(v1::COPY);
  return report;
}

// ---- reports ---------------------------------------------------------------------------------------------------

TEST(ConvertReport, KeepsAResultAsProtobufPrintsItOrThePhaseOfOneThatSaysNothingElse) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  v1::Report report = SomeReport();
  v1::PhaseResult& result = *report.mutable_phase_done();
  result.set_phase(v1::POST_VALIDATION);
  const auto expect_as_printed = [&] {
    std::string json;
    ASSERT_TRUE(google::protobuf::util::MessageToJsonString(result, &json, options).ok());
    const auto converted = ToReport(report, {1});
    ASSERT_TRUE(converted.ok());
    EXPECT_EQ(std::get<core::PhaseDone>(converted->body).payload_json, json);
  };
  expect_as_printed();
  result.set_fence(7);
  expect_as_printed();
  result.set_direction(v1::ROLLBACK);
  EXPECT_EQ(std::get<core::PhaseDone>(ToReport(report, {1})->body).payload_json, "\"POST_VALIDATION\"");
  result.mutable_fence_result();
  expect_as_printed();
  result.clear_fence_result();
  result.set_duration_ms(5);
  expect_as_printed();
}

TEST(ConvertAcks, SharesAMessageOnlyWithAWorkerThatReadsBatches) {
  const runtime::Outbound acks =
      runtime::Acks{{{{1}, {3}, "acme", {7}, 1, "", ""}, {{1}, {3}, "beta", {8}, 4, "", ""}}};
  const auto alone = ToWire(acks, false);
  ASSERT_EQ(alone.size(), 2u);
  EXPECT_EQ(alone[1].ack().project_ref(), "beta");
  const auto together = ToWire(acks, true);
  ASSERT_EQ(together.size(), 1u);
  ASSERT_EQ(together[0].ack_batch().acks_size(), 2);
  EXPECT_EQ(together[0].ack_batch().acks(0).fence(), 7);
  EXPECT_EQ(together[0].ack_batch().acks(1).seq(), 4);
}

v1::CoordinatorMessage GrantOf(const std::string& ref, size_t plan_bytes = 0) {
  v1::CoordinatorMessage message;
  message.mutable_grant()->add_projects()->set_ref(ref);
  message.mutable_grant()->set_plan_json(std::string(plan_bytes, 'x'));
  return message;
}

v1::CoordinatorMessage HeartbeatAck() {
  v1::CoordinatorMessage message;
  message.mutable_heartbeat_ack();
  return message;
}

TEST(JoinGrants, SharesAMessageAmongThoseInFront) {
  std::deque<v1::CoordinatorMessage> queue = {GrantOf("acme"), GrantOf("beta"), HeartbeatAck(), GrantOf("gamma")};
  JoinGrants(queue);
  ASSERT_EQ(queue.size(), 3u);
  ASSERT_EQ(queue[0].grant_batch().grants_size(), 2);
  EXPECT_EQ(queue[0].grant_batch().grants(0).projects(0).ref(), "acme");
  EXPECT_EQ(queue[0].grant_batch().grants(1).projects(0).ref(), "beta");
  EXPECT_TRUE(queue[1].has_heartbeat_ack());
  JoinGrants(queue);
  EXPECT_EQ(queue.size(), 3u);
  queue.pop_front();
  JoinGrants(queue);
  EXPECT_EQ(queue.size(), 2u);
  queue.pop_front();
  JoinGrants(queue);
  ASSERT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue[0].grant().projects(0).ref(), "gamma");
}

TEST(JoinGrants, StaysBelowTheLimitOfAMessage) {
  constexpr size_t kThird = rpc::kMaxMessageBytes / 3;
  std::deque<v1::CoordinatorMessage> queue = {GrantOf("acme", kThird), GrantOf("beta", 10), GrantOf("gamma", kThird)};
  JoinGrants(queue);
  ASSERT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue[0].grant_batch().grants_size(), 2);
  EXPECT_EQ(queue[1].grant().projects(0).ref(), "gamma");
}

TEST(ConvertReport, CountsRowsOfACopyAndWarningsOfChecks) {
  v1::Report report = SomeReport();
  report.mutable_phase_done()->set_phase(v1::COPY);
  report.mutable_phase_done()->mutable_copy()->set_rows(12);
  report.mutable_phase_done()->mutable_copy()->set_bytes(34);
  auto converted = ToReport(report, {1});
  ASSERT_TRUE(converted.ok());
  EXPECT_EQ(std::get<core::PhaseDone>(converted->body).rows_copied, 12);
  EXPECT_EQ(std::get<core::PhaseDone>(converted->body).bytes_copied, 34);

  auto& checks = *report.mutable_phase_done()->mutable_checks();
  report.mutable_phase_done()->set_phase(v1::POST_VALIDATION);
  auto& warned = *checks.add_checks();
  warned.set_name("slow");
  warned.set_warning(true);
  warned.set_message("took long");
  checks.add_checks()->set_passed(true);
  converted = ToReport(report, {1});
  ASSERT_TRUE(converted.ok());
  EXPECT_EQ(std::get<core::PhaseDone>(converted->body).warnings, std::vector<std::string>{"slow: took long"});
}

TEST(ConvertReport, RefusesWhatIsOutOfRange) {
  const auto refused = [](const std::function<void(v1::Report&)>& change) {
    v1::Report report = SomeReport();
    change(report);
    return ToReport(report, {1}).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_FALSE(refused([](v1::Report&) {}));
  EXPECT_TRUE(refused([](v1::Report& r) { r.set_migration_id("03"); }));
  EXPECT_TRUE(refused([](v1::Report& r) { r.set_migration_id("-3"); }));
  EXPECT_TRUE(refused([](v1::Report& r) { r.set_project_ref("../x"); }));
  EXPECT_TRUE(refused([](v1::Report& r) { r.set_fence(0); }));
  EXPECT_TRUE(refused([](v1::Report& r) { r.set_seq(-1); }));
  EXPECT_TRUE(refused([](v1::Report& r) { r.clear_phase_started(); }));
  EXPECT_TRUE(refused([](v1::Report& r) { r.mutable_phase_started()->set_phase(static_cast<v1::Phase>(99)); }));
  EXPECT_TRUE(refused([](v1::Report& r) { r.mutable_failed()->set_phase(v1::COPY); })) << "no verdict";
  EXPECT_TRUE(refused([](v1::Report& r) { r.mutable_intent()->set_name(std::string(2 << 20, 'x')); }));
}

TEST(ConvertReport, CutsALongErrorMessageInsteadOfRefusingIt) {
  v1::Report report = SomeReport();
  report.mutable_failed()->set_phase(v1::COPY);
  report.mutable_failed()->mutable_error()->set_verdict(v1::PERMANENT);
  report.mutable_failed()->mutable_error()->set_message(std::string(1, '\0') + std::string(100'000, 'x'));
  const auto converted = ToReport(report, {1});
  ASSERT_TRUE(converted.ok());
  const std::string& message = std::get<core::AttemptFailed>(converted->body).error.message;
  EXPECT_EQ(message.size(), kMaxMessageBytes);
  EXPECT_EQ(message.find('\0'), std::string::npos);
}

TEST(ConvertHello, RefusesWhatIsOutOfRange) {
  const auto refused = [](const std::function<void(v1::Hello&)>& change) {
    v1::Hello hello;
    hello.set_worker_id("w1");
    hello.set_incarnation("i");
    hello.set_slots(1);
    hello.set_protocol(rpc::kWorkerProtocol);
    change(hello);
    return !ToHello(hello, {1}).ok();
  };
  EXPECT_FALSE(refused([](v1::Hello&) {}));
  EXPECT_TRUE(refused([](v1::Hello& h) { h.set_worker_id(""); }));
  EXPECT_TRUE(refused([](v1::Hello& h) { h.set_worker_id("a\nb"); }));
  EXPECT_TRUE(refused([](v1::Hello& h) { h.set_worker_id(std::string(129, 'x')); }));
  EXPECT_TRUE(refused([](v1::Hello& h) { h.set_slots(0); }));
  EXPECT_TRUE(refused([](v1::Hello& h) { h.set_slots(257); }));
  EXPECT_TRUE(refused([](v1::Hello& h) { h.add_held(); }));
}

TEST(ConvertHello, RefusesAWorkerOfAnotherProtocol) {
  v1::Hello hello;
  hello.set_worker_id("w1");
  hello.set_incarnation("i");
  hello.set_slots(1);
  for (const int protocol : {0, -1, rpc::kOldestWorkerProtocol - 1, rpc::kWorkerProtocol + 1}) {
    hello.set_protocol(protocol);
    const absl::Status status = ToHello(hello, {1}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << protocol;
    EXPECT_EQ(CodeOf(status), "PGC-WORKER-PROTOCOL") << protocol;
  }
}

// ---- grants ----------------------------------------------------------------------------------------------------

TEST(ConvertGrant, SplitsAGrantThatIsTooLargeForOneMessage) {
  runtime::Grant grant;
  grant.grant.migration = {1};
  grant.grant.batch = {2};
  grant.plan_json = std::make_shared<const std::string>("{}");
  constexpr int kProjects = 8;
  for (int i = 0; i < kProjects; ++i) {
    core::GrantedProject project;
    project.id = {i + 1};
    project.ref = "p" + std::to_string(i);
    project.fence = {i + 1};
    project.phases = {Phase::kFence};
    grant.grant.projects.push_back(project);
    v1::Intent intent;
    intent.set_name(std::string(900'000, 'x'));
    grant.histories[{i + 1}].intents_json.push_back(ToJson(intent));
  }
  const auto messages = ToWire(runtime::Outbound(grant), false);
  ASSERT_GT(messages.size(), 1u);
  int projects = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    EXPECT_LE(messages[i].ByteSizeLong(), static_cast<size_t>(rpc::kMaxMessageBytes));
    EXPECT_EQ(messages[i].grant().migration_id(), "1");
    EXPECT_EQ(messages[i].grant().batch_id(), "2");
    EXPECT_EQ(messages[i].grant().plan_json(), i == 0 ? "{}" : "");
    for (const auto& project : messages[i].grant().projects()) {
      EXPECT_EQ(project.ref(), "p" + std::to_string(projects++));
      EXPECT_EQ(project.intents_size(), 1);
    }
  }
  EXPECT_EQ(projects, kProjects);
}

}  // namespace
}  // namespace pgconvoy::service
