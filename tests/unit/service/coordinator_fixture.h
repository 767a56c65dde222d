// The coordinator whole: service, runtime, core and store in this process, on a real PostgreSQL server, spoken to over
// gRPC by a client and by workers without databases.
//
// Thread safety: one thread. Errors: a failed step fails the test.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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

inline constexpr char kRequestId[] = "00000000-0000-4000-8000-000000000001";

// The context of one call, with the deadline that unary calls need.
struct CallContext : grpc::ClientContext {
  CallContext() { set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30)); }
};

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
    CallContext context;
    v1::GetMigrationRequest request;
    request.set_id(id);
    v1::Migration migration;
    const grpc::Status status = stub_->GetMigration(&context, request, &migration);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return migration;
  }

  v1::Project GetProject(const std::string& id, const std::string& ref) {
    CallContext context;
    v1::GetProjectRequest request;
    request.set_migration_id(id);
    request.set_ref(ref);
    v1::Project project;
    const grpc::Status status = stub_->GetProject(&context, request, &project);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return project;
  }

  std::vector<v1::Event> Events(const std::string& id) {
    CallContext context;
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

  static inline std::unique_ptr<testing::PgCluster> cluster_;
  std::string database_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::MigrationService::Stub> stub_;
  std::atomic<bool> lead_lost_ = false;
};

}  // namespace pgconvoy::service
