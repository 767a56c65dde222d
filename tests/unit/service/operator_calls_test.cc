// What operators ask of a coordinator: submitting, steering and looking.
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/rpc/rpc.h"
#include "tests/unit/service/coordinator_fixture.h"

namespace pgconvoy::service {
namespace {

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

TEST_F(CoordinatorTest, RefusesARequestIdThatWasUsedForSomethingElse) {
  v1::SubmitMigrationResponse first;
  ASSERT_TRUE(Submit({Header(), Chunk({"a", "b"})}, first).ok());
  v1::SubmitMigrationResponse second;
  const absl::Status status = rpc::FromGrpc(Submit({Header(), Chunk({"a", "b", "c"})}, second));
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(CodeOf(status), "PGC-RPC-REUSED-ID");
  EXPECT_EQ(second.migration().id(), "");
  EXPECT_EQ(CodeOfRpc(Submit({Header(), Chunk({"a", "c"})}, second)), "PGC-RPC-REUSED-ID");
  EXPECT_TRUE(Submit({Header(), Chunk({"b", "a"})}, second).ok());
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
    CallContext context;
    v1::PauseMigrationRequest request;
    request.set_id(id);
    request.set_reason("lunch");
    v1::Migration migration;
    ASSERT_TRUE(stub_->PauseMigration(&context, request, &migration).ok());
    EXPECT_EQ(migration.state(), v1::MIGRATION_PAUSED);
    EXPECT_EQ(GetProject(id, "acme").wait_cause(), "PAUSED_BY_USER");
  }
  {
    CallContext context;
    v1::ResumeMigrationRequest request;
    request.set_id(id);
    v1::Migration migration;
    ASSERT_TRUE(stub_->ResumeMigration(&context, request, &migration).ok());
    EXPECT_EQ(migration.state(), v1::MIGRATION_RUNNING);
  }
  CallContext context;
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
  CallContext context;
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
    CallContext context;
    v1::ListProjectsResponse response;
    ASSERT_TRUE(stub_->ListProjects(&context, request, &response).ok());
    EXPECT_LE(response.projects_size(), 2);
    for (const v1::Project& project : response.projects()) {
      refs.push_back(project.ref());
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(refs, (std::vector<std::string>{"a", "b", "c", "d", "e"}));

  CallContext forged;
  request.set_page_token("forged");
  v1::ListProjectsResponse response;
  EXPECT_EQ(CodeOfRpc(stub_->ListProjects(&forged, request, &response)), "PGC-API-PAGE-TOKEN");
  CallContext negative;
  request.set_page_token("");
  request.set_page_size(-1);
  EXPECT_EQ(stub_->ListProjects(&negative, request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  CallContext unknown;
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
  CallContext context;
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
    CallContext context;
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

}  // namespace
}  // namespace pgconvoy::service
