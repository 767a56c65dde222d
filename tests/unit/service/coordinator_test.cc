// The coordinator whole: service, runtime, core and store in this process, on a real PostgreSQL server, spoken to over
// gRPC by a client and by workers without databases.
#include <google/protobuf/descriptor.pb.h>
#include <grpc/grpc.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/crypto/crypto.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "coordinator/runtime/runtime.h"
#include "coordinator/service/server.h"
#include "coordinator/store/store_reader.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/wait.h"
#include "tests/unit/plan/sample_plan.h"
#include "tests/unit/service/fake_worker.h"

namespace pgconvoy::service {
namespace {

constexpr char kRequestId[] = "00000000-0000-4000-8000-000000000001";

class CoordinatorTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = std::make_unique<testing::PgCluster>(testing::PgClusterOptions{.durable = true, .settings = {}});
  }
  static void TearDownTestSuite() { cluster_.reset(); }

  void SetUp() override {
    static int next = 0;
    database_ = "coordinator_" + std::to_string(++next);
    cluster_->Exec("postgres", "CREATE DATABASE " + database_);
    StartCoordinator();
  }
  void TearDown() override { StopCoordinator(); }

  void StartCoordinator() {
    lead_lost_ = false;
    runtime_ = std::make_unique<runtime::Runtime>(runtime::Options{});
    ServerOptions options;
    options.wait_for_worker_ms = 200;
    options.on_lead_lost = [this](const absl::Status&) { lead_lost_ = true; };
    auto server = Server::Start(options, *runtime_);
    ASSERT_TRUE(server.ok()) << Describe(server.status());
    server_ = *std::move(server);
    channel_ = server_->InProcessChannel();
    stub_ = v1::MigrationService::NewStub(channel_);
    const std::string conninfo = cluster_->SocketConninfo(database_);
    auto store = store::Store::Open(conninfo, "test:1");
    ASSERT_TRUE(store.ok()) << Describe(store.status());
    auto term = (*store)->Lead(std::nullopt);
    ASSERT_TRUE(term.ok()) << Describe(term.status());
    server_->UseStore(conninfo);
    runtime_->Start(*std::move(store), *std::move(term), server_.get());
    ASSERT_TRUE(testing::Eventually([this] { return runtime_->leading(); }));
  }

  void StopCoordinator() {
    if (runtime_ != nullptr) {
      runtime_->Stop();
    }
    stub_.reset();
    channel_.reset();
    if (server_ != nullptr) {
      server_->Stop();
    }
    server_.reset();
    runtime_.reset();
  }

  // ---- calls ---------------------------------------------------------------------------------------------------

  static std::string PlanJson() {
    const auto parsed = plan::ParsePlan(plan::kSamplePlan, "sample.yaml");
    EXPECT_TRUE(parsed.ok());
    return plan::CanonicalJson(parsed.plan);
  }

  static v1::SubmitMigrationRequest Header(const std::string& request_id = kRequestId) {
    v1::SubmitMigrationRequest request;
    request.mutable_header()->set_request_id(request_id);
    request.mutable_header()->set_plan_json(PlanJson());
    request.mutable_header()->set_actor("ann");
    return request;
  }

  static v1::SubmitMigrationRequest Chunk(const std::vector<std::string>& refs) {
    v1::SubmitMigrationRequest request;
    request.mutable_projects();
    for (const std::string& ref : refs) {
      v1::ProjectSpec& project = *request.mutable_projects()->add_projects();
      project.set_ref(ref);
      (*project.mutable_attributes())["owner_id"] = "7";
      project.set_estimated_bytes(100);
    }
    return request;
  }

  grpc::Status Submit(const std::vector<v1::SubmitMigrationRequest>& requests,
                      v1::SubmitMigrationResponse& response) {
    grpc::ClientContext context;
    auto writer = stub_->SubmitMigration(&context, &response);
    for (const v1::SubmitMigrationRequest& request : requests) {
      writer->Write(request);
    }
    writer->WritesDone();
    return writer->Finish();
  }

  // Submits projects under the sample plan; the id of the migration.
  std::string Submit(const std::vector<std::string>& refs) {
    v1::SubmitMigrationResponse response;
    const grpc::Status status = Submit({Header(RandomUuid()), Chunk(refs)}, response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.migration().id();
  }

  v1::Migration GetMigration(const std::string& id) {
    grpc::ClientContext context;
    v1::GetMigrationRequest request;
    request.set_id(id);
    v1::Migration migration;
    const grpc::Status status = stub_->GetMigration(&context, request, &migration);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return migration;
  }

  v1::Project GetProject(const std::string& id, const std::string& ref) {
    grpc::ClientContext context;
    v1::GetProjectRequest request;
    request.set_migration_id(id);
    request.set_ref(ref);
    v1::Project project;
    const grpc::Status status = stub_->GetProject(&context, request, &project);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return project;
  }

  std::vector<v1::Event> Events(const std::string& id) {
    grpc::ClientContext context;
    v1::ListEventsRequest request;
    request.set_migration_id(id);
    request.set_page_size(1000);
    v1::ListEventsResponse response;
    EXPECT_TRUE(stub_->ListEvents(&context, request, &response).ok());
    return {response.events().begin(), response.events().end()};
  }

  // Drives an attempt through the phases from `begin` on and ends it.
  static void RunToEnd(FakeWorker& worker, Attempt& attempt, int begin = 0) {
    for (int i = begin; i < attempt.project().phases_size(); ++i) {
      const v1::Phase phase = attempt.project().phases(i);
      ExpectTaken(worker.Report(attempt.Started(phase)));
      ExpectTaken(worker.Report(attempt.Done(phase)));
    }
    ExpectTaken(worker.Report(attempt.Finished()));
  }

  static void ExpectTaken(const std::optional<v1::Ack>& ack) {
    ASSERT_TRUE(ack.has_value());
    EXPECT_EQ(ack->refused_reason(), "") << ack->refused_message();
  }

  static std::string CodeOfRpc(const grpc::Status& status) { return CodeOf(rpc::FromGrpc(status)); }

  static std::unique_ptr<testing::PgCluster> cluster_;
  std::string database_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::MigrationService::Stub> stub_;
  std::atomic<bool> lead_lost_ = false;
};

std::unique_ptr<testing::PgCluster> CoordinatorTest::cluster_;

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

  grpc::ClientContext context;
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

// ---- submitting ------------------------------------------------------------------------------------------------

TEST_F(CoordinatorTest, FindsTheMigrationOfARequestThatItKnows) {
  v1::SubmitMigrationResponse first;
  v1::SubmitMigrationResponse second;
  ASSERT_TRUE(Submit({Header(), Chunk({"a", "b"}), Chunk({"c"})}, first).ok());
  ASSERT_TRUE(Submit({Header(), Chunk({"a", "b"}), Chunk({"c"})}, second).ok());
  EXPECT_FALSE(first.existed());
  EXPECT_TRUE(second.existed());
  EXPECT_EQ(second.migration().id(), first.migration().id());
  EXPECT_EQ(second.migration().projects_total(), 3);
}

TEST_F(CoordinatorTest, ReportsEveryProblemOfAPlan) {
  v1::SubmitMigrationRequest header = Header();
  header.mutable_header()->set_plan_json(R"({"version":1,"name":"Bad Name","source":{"server":"nowhere"}})");
  v1::SubmitMigrationResponse response;
  const grpc::Status status = Submit({header, Chunk({"a"})}, response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(CodeOfRpc(status), "PGC-PLAN-INVALID");
  EXPECT_NE(status.error_message().find("name"), std::string::npos) << status.error_message();
  EXPECT_NE(status.error_message().find("source.server"), std::string::npos) << status.error_message();
  EXPECT_NE(status.error_details().find("google.rpc.BadRequest"), std::string::npos);
}

TEST_F(CoordinatorTest, FillsTheDefaultsOfAPlan) {
  v1::SubmitMigrationRequest header = Header();
  header.mutable_header()->set_plan_json(
      R"({"version":1,"name":"bare","servers":{"s":{"conninfo":"host=db1","reader":{"user":"r"}}},)"
      R"("source":{"server":"s","database":"d"},"freeze":{"confirmedByOperator":true}})");
  v1::SubmitMigrationResponse response;
  ASSERT_TRUE(Submit({header, Chunk({"a"})}, response).ok());
  const auto stored = plan::PlanFromJson(GetMigration(response.migration().id()).plan_json());
  ASSERT_TRUE(stored.ok()) << Describe(stored.status());
  EXPECT_EQ(stored->servers().at("s").max_projects(), 8);
  EXPECT_EQ(stored->execution().max_attempts(), 8);

  // The same plan for a task.
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  ASSERT_TRUE(worker.NextGrant().has_value());
  v1::DescribePlanRequest request;
  request.set_plan_json(header.header().plan_json());
  grpc::ClientContext context;
  const auto reader = stub_->DescribePlan(&context, request);
  const auto task = worker.Next([](const auto& m) { return m.has_task(); });
  ASSERT_TRUE(task.has_value());
  EXPECT_EQ(task->task().plan_json(), plan::CanonicalJson(*stored));
  context.TryCancel();
}

TEST_F(CoordinatorTest, StoresNothingOfProjectsThatDoNotFitThePlan) {
  v1::SubmitMigrationRequest without = Chunk({"a"});
  without.mutable_projects()->mutable_projects(0)->clear_attributes();
  v1::SubmitMigrationResponse response;
  const grpc::Status lacks = Submit({Header(), Chunk({"b"}), without}, response);
  EXPECT_EQ(lacks.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(CodeOfRpc(lacks), "PGC-PLAN-PLACEHOLDER");
  EXPECT_NE(lacks.error_message().find("project a has no attribute owner_id"), std::string::npos);

  // Every project of Chunk has the same owner.
  v1::SubmitMigrationRequest header = Header();
  const auto parsed =
      plan::ParsePlan(plan::SampleWith("database: project_{ref}", "database: of_{owner_id}"), "x.yaml");
  header.mutable_header()->set_plan_json(plan::CanonicalJson(parsed.plan));
  const grpc::Status collide = Submit({header, Chunk({"a"}), Chunk({"b"})}, response);
  EXPECT_EQ(CodeOfRpc(collide), "PGC-PLAN-COLLISION");
  EXPECT_NE(collide.error_message().find("projects a and b"), std::string::npos);

  EXPECT_EQ(cluster_->QueryValue(database_, "SELECT count(*) FROM pgconvoy.migration"), "0");
}

TEST_F(CoordinatorTest, RefusesWhatIsNotASubmission) {
  v1::SubmitMigrationResponse response;
  v1::SubmitMigrationRequest no_uuid = Header("42");
  v1::SubmitMigrationRequest bad_ref = Chunk({"Not A Ref"});
  v1::SubmitMigrationRequest negative = Chunk({"a"});
  negative.mutable_projects()->mutable_projects(0)->set_estimated_bytes(-1);
  v1::SubmitMigrationRequest nul = Chunk({"a"});
  (*nul.mutable_projects()->mutable_projects(0)->mutable_attributes())["owner_id"] = std::string("a\0b", 3);
  v1::SubmitMigrationRequest key = Chunk({"a"});
  (*key.mutable_projects()->mutable_projects(0)->mutable_attributes())["Bad Key"] = "x";
  const std::vector<std::vector<v1::SubmitMigrationRequest>> bad = {
      {},
      {Chunk({"a"})},
      {Header(), Header()},
      {no_uuid, Chunk({"a"})},
      {Header()},
      {Header(), bad_ref},
      {Header(), negative},
      {Header(), nul},
      {Header(), key},
      {Header(), Chunk({"a", "a"})},
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_EQ(Submit(bad[i], response).error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "case " << i;
  }
}

// ---- steering and looking --------------------------------------------------------------------------------------

TEST_F(CoordinatorTest, PausesResumesAndCancels) {
  const std::string id = Submit({"acme"});
  {
    grpc::ClientContext context;
    v1::PauseMigrationRequest request;
    request.set_id(id);
    request.set_reason("lunch");
    v1::Migration migration;
    ASSERT_TRUE(stub_->PauseMigration(&context, request, &migration).ok());
    EXPECT_EQ(migration.state(), v1::MIGRATION_PAUSED);
    EXPECT_EQ(GetProject(id, "acme").wait_cause(), "PAUSED_BY_USER");
  }
  {
    grpc::ClientContext context;
    v1::ResumeMigrationRequest request;
    request.set_id(id);
    v1::Migration migration;
    ASSERT_TRUE(stub_->ResumeMigration(&context, request, &migration).ok());
    EXPECT_EQ(migration.state(), v1::MIGRATION_RUNNING);
  }
  grpc::ClientContext context;
  v1::CancelMigrationRequest request;
  request.set_id(id);
  v1::Migration migration;
  ASSERT_TRUE(stub_->CancelMigration(&context, request, &migration).ok());
  EXPECT_EQ(migration.state(), v1::MIGRATION_CANCELLED) << "nothing had begun";
}

TEST_F(CoordinatorTest, RetriesAProjectOfAMigrationThatHasEnded) {
  const std::string id = Submit({"acme"});
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  ExpectTaken(worker.Report(attempt.Started(v1::FENCE)));
  ExpectTaken(worker.Report(attempt.Failed(v1::FENCE, v1::OPERATOR)));
  EXPECT_EQ(GetProject(id, "acme").state(), v1::NEEDS_OPERATOR);
  EXPECT_EQ(GetMigration(id).state(), v1::MIGRATION_FAILED);

  // A coordinator that has not seen it end must take it up from the store.
  StopCoordinator();
  StartCoordinator();
  grpc::ClientContext context;
  v1::RetryProjectsRequest request;
  request.set_migration_id(id);
  v1::ProjectActionResponse response;
  const grpc::Status status = stub_->RetryProjects(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.projects_changed(), 1);
  EXPECT_EQ(response.migration().state(), v1::MIGRATION_RUNNING);
  FakeWorker next(channel_, "w2");
  ASSERT_TRUE(next.Hello());
  grant = next.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt again(*grant, grant->projects(0));
  RunToEnd(next, again);
  EXPECT_EQ(GetMigration(id).state(), v1::MIGRATION_SUCCEEDED);
}

TEST_F(CoordinatorTest, PagesThroughProjects) {
  const std::string id = Submit({"a", "b", "c", "d", "e"});
  std::vector<std::string> refs;
  v1::ListProjectsRequest request;
  request.set_migration_id(id);
  request.set_page_size(2);
  do {
    grpc::ClientContext context;
    v1::ListProjectsResponse response;
    ASSERT_TRUE(stub_->ListProjects(&context, request, &response).ok());
    EXPECT_LE(response.projects_size(), 2);
    for (const v1::Project& project : response.projects()) {
      refs.push_back(project.ref());
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(refs, (std::vector<std::string>{"a", "b", "c", "d", "e"}));

  grpc::ClientContext forged;
  request.set_page_token("forged");
  v1::ListProjectsResponse response;
  EXPECT_EQ(CodeOfRpc(stub_->ListProjects(&forged, request, &response)), "PGC-API-PAGE-TOKEN");
  grpc::ClientContext negative;
  request.set_page_token("");
  request.set_page_size(-1);
  EXPECT_EQ(stub_->ListProjects(&negative, request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  grpc::ClientContext unknown;
  request.set_page_size(0);
  request.set_migration_id("999");
  EXPECT_EQ(stub_->ListProjects(&unknown, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(CoordinatorTest, WatchesAMigrationUntilItHasEnded) {
  const std::string id = Submit({"acme"});
  grpc::ClientContext context;
  v1::WatchMigrationRequest request;
  request.set_id(id);
  auto stream = stub_->WatchMigration(&context, request);
  v1::Migration migration;
  ASSERT_TRUE(stream->Read(&migration));
  EXPECT_EQ(migration.projects_pending(), 1);

  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  const auto grant = worker.NextGrant();
  ASSERT_TRUE(grant.has_value());
  Attempt attempt(*grant, grant->projects(0));
  RunToEnd(worker, attempt);
  while (stream->Read(&migration)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(migration.state(), v1::MIGRATION_SUCCEEDED);
}

TEST_F(CoordinatorTest, LetsGoOfAWatcherThatHasGone) {
  const std::string id = Submit({"acme"});
  grpc::ClientContext context;
  v1::WatchMigrationRequest request;
  request.set_id(id);
  auto stream = stub_->WatchMigration(&context, request);
  v1::Migration migration;
  ASSERT_TRUE(stream->Read(&migration));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(CoordinatorTest, ShowsItsWorkers) {
  Submit({"acme"});
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello(3));
  ASSERT_TRUE(worker.NextGrant().has_value());
  grpc::ClientContext context;
  v1::ListWorkersResponse response;
  ASSERT_TRUE(stub_->ListWorkers(&context, {}, &response).ok());
  ASSERT_EQ(response.workers_size(), 1);
  EXPECT_EQ(response.workers(0).id(), "w1");
  EXPECT_EQ(response.workers(0).slots(), 3);
  EXPECT_EQ(response.workers(0).running(), 1);
  EXPECT_EQ(response.workers(0).state(), "connected");
}

TEST_F(CoordinatorTest, ShowsWhenAWorkerWasLastHeardThoughItsRowDoesNotChange) {
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  ASSERT_TRUE(worker.NextWelcome().has_value());
  const auto seen_ms = [this] {
    grpc::ClientContext context;
    v1::ListWorkersResponse response;
    EXPECT_TRUE(stub_->ListWorkers(&context, {}, &response).ok());
    const auto& seen = response.workers(0).last_seen_time();
    return seen.seconds() * 1000 + seen.nanos() / 1'000'000;
  };
  const int64_t first = seen_ms();
  EXPECT_TRUE(testing::Eventually([&] {
    v1::WorkerMessage message;
    message.mutable_heartbeat();
    return worker.Send(message) && seen_ms() > first;
  }));
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
