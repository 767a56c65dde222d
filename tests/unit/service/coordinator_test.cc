// What a coordinator does with workers, failures and tasks, and what it says of itself.
#include <google/protobuf/descriptor.pb.h>
#include <grpc/grpc.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "tests/unit/service/coordinator_fixture.h"

namespace pgconvoy::service {
namespace {

// ---- the life of a project -------------------------------------------------------------------------------------

TEST_F(CoordinatorTest, LeadsAProjectThroughAllItsPhases) {
  const std::string id = Submit({"acme"});
  EXPECT_EQ(GetMigration(id).state(), v1::MIGRATION_RUNNING);
  EXPECT_EQ(GetProject(id, "acme").wait_cause(), "NO_WORKER");

  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  const auto welcome = worker.NextWelcome();
  ASSERT_TRUE(welcome.has_value());
  EXPECT_EQ(welcome->store_id().size(), 36u);
  EXPECT_EQ(welcome->lease_ttl_ms(), 15'000);
  EXPECT_TRUE(welcome->takes_report_batches());
  const auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  EXPECT_EQ(grant->plan_json(), PlanJson());
  ASSERT_EQ(grant->projects_size(), 1);
  EXPECT_EQ(grant->projects(0).attributes().at("owner_id"), "7");
  EXPECT_EQ(grant->projects(0).phases(0), v1::FENCE);

  Attempt attempt(*grant, grant->projects(0));
  EXPECT_EQ(GetProject(id, "acme").state(), v1::RUNNING);
  RunToEnd(worker, attempt);

  const v1::Project project = GetProject(id, "acme");
  EXPECT_EQ(project.state(), v1::SUCCEEDED);
  ASSERT_EQ(project.attempt_history_size(), 1);
  EXPECT_EQ(project.attempt_history(0).outcome(), "succeeded");
  EXPECT_EQ(project.results_size(), grant->projects(0).phases_size());
  const v1::Migration migration = GetMigration(id);
  EXPECT_EQ(migration.state(), v1::MIGRATION_SUCCEEDED);
  EXPECT_EQ(migration.projects_total(), 1);
  EXPECT_EQ(migration.projects_succeeded(), 1);
  EXPECT_EQ(store::StoreReader(cluster_->SocketConninfo(database_), 1).VerifyChain()->problem, "");
  EXPECT_EQ(Events(id).at(0).actor(), "operator:ann");
}

TEST_F(CoordinatorTest, GivesTheNextAttemptWhatTheLastOneLeft) {
  const std::string id = Submit({"acme"});
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt first(*grant, grant->projects(0));
  ExpectTaken(worker.Report(first.Started(v1::FENCE)));
  ExpectTaken(worker.Report(first.Done(v1::FENCE)));
  v1::Intent intent;
  intent.set_kind(v1::Intent::ROLE);
  intent.set_name("project_acme");
  intent.set_fence(first.project().fence());
  intent.mutable_credentials()->set_user("project_acme");
  intent.mutable_credentials()->set_sealed_password(std::string("\x00\xff sealed", 9));
  ExpectTaken(worker.Report(first.Intends(intent)));
  ExpectTaken(worker.Report(first.Failed(v1::CREDENTIALS, v1::TRANSIENT)));

  grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  EXPECT_EQ(grant->plan_json(), "") << "this stream has had the plan";
  const v1::ProjectGrant& second = grant->projects(0);
  EXPECT_GT(second.fence(), first.project().fence());
  ASSERT_EQ(second.intents_size(), 1);
  EXPECT_EQ(second.intents(0).SerializeAsString(), intent.SerializeAsString());
  ASSERT_EQ(second.done_size(), 1);
  EXPECT_EQ(second.done(0).phase(), v1::FENCE);

  CallContext context;
  v1::GetSealedCredentialRequest request;
  request.set_migration_id(id);
  request.set_project_ref("acme");
  v1::SealedCredential credential;
  ASSERT_TRUE(stub_->GetSealedCredential(&context, request, &credential).ok());
  EXPECT_EQ(credential.sealed_password(), intent.credentials().sealed_password());
  EXPECT_FALSE(credential.delivered());
}

TEST_F(CoordinatorTest, RecordsAReportThatIsSentTwiceOnce) {
  const std::string id = Submit({"acme"});
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  const auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  ExpectTaken(worker.Report(attempt.Started(v1::FENCE)));
  const v1::Report done = attempt.Done(v1::FENCE);
  ExpectTaken(worker.Report(done));
  const size_t events = Events(id).size();
  ExpectTaken(worker.Report(done));
  EXPECT_EQ(Events(id).size(), events);
  EXPECT_EQ(GetProject(id, "acme").results_size(), 1);
}

TEST_F(CoordinatorTest, TakesABatchOfReportsAsIfEachHadComeAlone) {
  const std::string id = Submit({"acme"});
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  const auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  v1::WorkerMessage batch;
  *batch.mutable_report_batch()->add_reports() = attempt.Started(v1::FENCE);
  *batch.mutable_report_batch()->add_reports() = attempt.Done(v1::FENCE);
  const v1::Report early = attempt.Finished();
  *batch.mutable_report_batch()->add_reports() = early;
  ASSERT_TRUE(worker.Send(batch));
  const auto ack = worker.AckOf(early);
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->refused_reason(), "ILLEGAL") << "the phases behind FENCE are not done";
  EXPECT_EQ(GetProject(id, "acme").results_size(), 1);
}

TEST_F(CoordinatorTest, RefusesAReportWithAStaleFence) {
  Submit({"acme"});
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  const auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  v1::Report stale = attempt.Started(v1::FENCE);
  stale.set_fence(stale.fence() + 1000);
  const auto ack = worker.Report(stale);
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->refused_reason(), "LEASE_LOST");
}

TEST_F(CoordinatorTest, AnswersAReportItCannotUnderstandWithoutEndingTheStream) {
  Submit({"acme"});
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  const auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  v1::Report empty = attempt.Started(v1::FENCE);
  empty.clear_phase_started();
  const auto ack = worker.Report(empty);
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->refused_reason(), "ILLEGAL");
  v1::Report started = attempt.Started(v1::FENCE);
  started.set_seq(1);
  ExpectTaken(worker.Report(started));
}

// ---- failures --------------------------------------------------------------------------------------------------

TEST_F(CoordinatorTest, GoesOnWhereItWasAfterTheStoreHasRestarted) {
  const std::string id = Submit({"acme"});
  auto worker = std::make_unique<FakeWorker>(channel_, "w1");
  ASSERT_TRUE(worker->Hello());
  const auto welcome = worker->NextWelcome();
  const auto grant = worker->NextGrant();
  ASSERT_TRUE(welcome.has_value() && grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  ExpectTaken(worker->Report(attempt.Started(v1::FENCE)));
  ExpectTaken(worker->Report(attempt.Done(v1::FENCE)));

  cluster_->Restart();

  // The next report finds the store gone: it is not acknowledged, and the stream ends.
  const v1::Report unheard = attempt.Started(v1::PRE_VALIDATION);
  EXPECT_FALSE(worker->Report(unheard).has_value());
  EXPECT_EQ(worker->Status().error_code(), grpc::StatusCode::UNAVAILABLE);
  ASSERT_TRUE(testing::Eventually([this] { return runtime_->leading(); }));

  worker = std::make_unique<FakeWorker>(channel_, "w1");
  ASSERT_TRUE(worker->Hello(4, {attempt.Held()}));
  const auto again = worker->NextWelcome();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->store_id(), welcome->store_id());
  EXPECT_GT(again->epoch(), welcome->epoch());
  ExpectTaken(worker->Report(unheard));
  ExpectTaken(worker->Report(attempt.Done(v1::PRE_VALIDATION)));
  RunToEnd(*worker, attempt, 2);
  EXPECT_EQ(GetMigration(id).state(), v1::MIGRATION_SUCCEEDED);
  EXPECT_EQ(GetProject(id, "acme").attempt_history_size(), 1);
}

TEST_F(CoordinatorTest, GoesOnWhereItWasAfterItHasRestartedItself) {
  const std::string id = Submit({"acme"});
  auto worker = std::make_unique<FakeWorker>(channel_, "w1");
  ASSERT_TRUE(worker->Hello());
  const auto grant = worker->NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  ExpectTaken(worker->Report(attempt.Started(v1::FENCE)));
  ExpectTaken(worker->Report(attempt.Done(v1::FENCE)));

  runtime_->Stop();
  EXPECT_TRUE(worker->Next([](const auto& m) { return m.has_restarting(); }).has_value());
  EXPECT_EQ(worker->Status().error_code(), grpc::StatusCode::UNAVAILABLE);
  worker.reset();
  StopCoordinator();
  StartCoordinator();

  worker = std::make_unique<FakeWorker>(channel_, "w1");
  ASSERT_TRUE(worker->Hello(4, {attempt.Held()}));
  RunToEnd(*worker, attempt, 1);
  EXPECT_EQ(GetMigration(id).state(), v1::MIGRATION_SUCCEEDED);
}

TEST_F(CoordinatorTest, StopsWhenAnotherCoordinatorLeads) {
  Submit({"acme"});
  auto other = store::Store::Open(cluster_->SocketConninfo(database_), "test:2");
  ASSERT_TRUE(other.ok() && (*other)->Lead(std::nullopt).ok());
  v1::SubmitMigrationResponse response;
  const grpc::Status status = Submit({Header(), Chunk({"late"})}, response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(testing::Eventually([this] { return lead_lost_.load(); }));
  EXPECT_FALSE(runtime_->leading());
  EXPECT_EQ(CodeOfRpc(Submit({Header(), Chunk({"late"})}, response)), "PGC-STORE-UNAVAILABLE");
}

TEST_F(CoordinatorTest, RejectsOnlyTheCallWhoseRowsTheStoreRefuses) {
  cluster_->Exec(database_, "ALTER TABLE pgconvoy.project ADD CHECK (ref <> 'poison')");
  v1::SubmitMigrationResponse response;
  const grpc::Status status = Submit({Header(), Chunk({"poison"})}, response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL) << status.error_message();
  EXPECT_EQ(CodeOfRpc(status), "PGC-STORE-DATA");
  // A term ends with it; until the next one begins, calls are asked to come again.
  EXPECT_TRUE(testing::Eventually([&] { return Submit({Header(), Chunk({"fine"})}, response).ok(); }));
  EXPECT_EQ(response.migration().state(), v1::MIGRATION_RUNNING);
}

TEST_F(CoordinatorTest, RejectsOnlyTheReportThatTheStoreRefuses) {
  cluster_->Exec(database_, "ALTER TABLE pgconvoy.intent ADD CHECK (payload ->> 'name' <> 'poison')");
  Submit({"acme"});
  auto worker = std::make_unique<FakeWorker>(channel_, "w1");
  ASSERT_TRUE(worker->Hello());
  const auto grant = worker->NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  ExpectTaken(worker->Report(attempt.Started(v1::FENCE)));
  v1::Intent intent;
  intent.set_kind(v1::Intent::ROLE);
  intent.set_name("poison");
  const auto ack = worker->Report(attempt.Intends(intent));
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->refused_reason(), "ILLEGAL");
  ASSERT_TRUE(testing::Eventually([this] { return runtime_->leading(); }));
}

// ---- streams and tasks -----------------------------------------------------------------------------------------

TEST_F(CoordinatorTest, RefusesAStreamThatDoesNotBeginWithHello) {
  FakeWorker worker(channel_, "w1");
  v1::WorkerMessage message;
  message.mutable_heartbeat();
  ASSERT_TRUE(worker.Send(message));
  const grpc::Status status = worker.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(CodeOfRpc(status), "PGC-RPC-PROTOCOL");
}

TEST_F(CoordinatorTest, AnswersEveryHeartbeat) {
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  v1::WorkerMessage message;
  message.mutable_heartbeat();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(worker.Send(message));
    EXPECT_TRUE(worker.Next([](const auto& answer) { return answer.has_heartbeat_ack(); }).has_value());
  }
}

TEST_F(CoordinatorTest, AcknowledgesEverythingBeforeItClosesAStreamThatTheWorkerHasEnded) {
  Submit({"acme"});
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  const auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  std::vector<v1::Report> reports;
  for (int i = 0; i < 50; ++i) {
    reports.push_back(i == 0 ? attempt.Started(v1::FENCE) : attempt.Intends(v1::Intent()));
    v1::WorkerMessage message;
    *message.mutable_report() = reports.back();
    ASSERT_TRUE(worker.Send(message));
  }
  EXPECT_TRUE(worker.Leave().ok());
  for (const v1::Report& report : reports) {
    ExpectTaken(worker.AckOf(report));
  }
}

TEST_F(CoordinatorTest, AsksAWorkerWhatAPlanWouldDo) {
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  ASSERT_TRUE(worker.NextWelcome().has_value());
  grpc::ClientContext context;
  v1::DescribePlanRequest request;
  request.set_plan_json(PlanJson());
  request.add_projects()->set_ref("acme");
  auto stream = stub_->DescribePlan(&context, request);
  const auto task = worker.Next([](const auto& m) { return m.has_task(); });
  ASSERT_TRUE(task.has_value());
  EXPECT_EQ(task->task().describe().projects(0).ref(), "acme");
  v1::WorkerMessage message;
  message.mutable_task_result()->set_task_id(task->task().task_id());
  message.mutable_task_result()->add_descriptions()->set_ref("acme");
  ASSERT_TRUE(worker.Send(message));
  message.mutable_task_result()->clear_descriptions();
  message.mutable_task_result()->set_done(true);
  ASSERT_TRUE(worker.Send(message));
  v1::DescribePlanResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.descriptions(0).ref(), "acme");
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(CoordinatorTest, SaysThatNoWorkerIsThereToDiscoverProjects) {
  grpc::ClientContext context;
  v1::DiscoverProjectsRequest request;
  request.set_plan_json(PlanJson());
  auto stream = stub_->DiscoverProjects(&context, request);
  v1::DiscoverProjectsResponse response;
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(CodeOfRpc(status), "PGC-NO-WORKER");
}

// ---- health and reflection -------------------------------------------------------------------------------------

// The health and reflection services come without generated code on the client's side, so the wire is spelled out.
std::string CallGeneric(const std::shared_ptr<grpc::Channel>& channel,
                        const std::string& method,
                        const std::string& request,
                        grpc::Status& status) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const grpc::ByteBuffer bytes(&slice, 1);
  auto call = stub.PrepareUnaryCall(&context, method, bytes, &queue);
  call->StartCall();
  grpc::ByteBuffer answer;
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  std::vector<grpc::Slice> slices;
  std::string text;
  if (status.ok() && answer.Dump(&slices).ok()) {
    for (const grpc::Slice& part : slices) {
      text.append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return text;
}

// grpc.health.v1.HealthCheckRequest{service = 1} and HealthCheckResponse{status = 1}.
int HealthOf(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  const std::string request = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
  grpc::Status status;
  const std::string answer = CallGeneric(channel, "/grpc.health.v1.Health/Check", request, status);
  return status.ok() && answer.size() == 2 ? answer[1] : -1;
}

constexpr int kServing = 1;
constexpr int kNotServing = 2;

TEST_F(CoordinatorTest, IsHealthyAlwaysAndServesOnlyWhileItLeads) {
  EXPECT_EQ(HealthOf(channel_, ""), kServing);
  EXPECT_EQ(HealthOf(channel_, "pgconvoy.v1.MigrationService"), kServing);
  EXPECT_EQ(HealthOf(channel_, "pgconvoy.v1.WorkerService"), kServing);
  EXPECT_EQ(HealthOf(channel_, "pgconvoy.v1.NoSuchService"), -1);
  runtime_->Stop();
  EXPECT_EQ(HealthOf(channel_, ""), kServing);
  EXPECT_EQ(HealthOf(channel_, "pgconvoy.v1.MigrationService"), kNotServing);
  EXPECT_EQ(HealthOf(channel_, "pgconvoy.v1.WorkerService"), kNotServing);
}

TEST_F(CoordinatorTest, DescribesItselfByReflection) {
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto call = stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  // ServerReflectionRequest{list_services = 7: "*"}.
  const grpc::Slice slice(std::string("\x3a\x01*"));
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  queue.Next(&tag, &ok);
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  queue.Next(&tag, &ok);
  ASSERT_TRUE(ok);
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(answer.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& part : slices) {
    text.append(reinterpret_cast<const char*>(part.begin()), part.size());
  }
  EXPECT_NE(text.find("pgconvoy.v1.MigrationService"), std::string::npos);
  EXPECT_NE(text.find("pgconvoy.v1.WorkerService"), std::string::npos);
  grpc::Status status;
  call->WritesDone(nullptr);
  queue.Next(&tag, &ok);
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
}

}  // namespace
}  // namespace pgconvoy::service
