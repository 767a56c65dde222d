// What the coordinator hands a worker to look at, and what it gives back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <google/protobuf/util/json_util.h>

#include "tests/unit/service/coordinator_fixture.h"

namespace pgconvoy::service {
namespace {

class Inspecting : public CoordinatorTest {
 protected:
  // Runs these projects to their end on `worker`.
  std::string Migrate(FakeWorker& worker, const std::vector<std::string>& refs) {
    const std::string id = Submit(refs);
    for (size_t done = 0; done < refs.size();) {
      const auto grant = worker.NextGrant();
      EXPECT_TRUE(grant.has_value());
      for (const v1::ProjectGrant& project : grant->projects()) {
        Attempt attempt(*grant, project);
        RunToEnd(worker, attempt);
        ++done;
      }
    }
    return id;
  }

  // The reconciler's task, which follows every migration, is nobody's here.
  static v1::Task NextTask(FakeWorker& worker) {
    const auto message = worker.Next([](const auto& m) { return m.has_task() && !m.task().has_reconcile(); });
    EXPECT_TRUE(message.has_value());
    return message ? message->task() : v1::Task();
  }

  // Answers the task with one passed check for each of its projects.
  static void AnswerInspection(FakeWorker& worker, const v1::Task& task) {
    v1::WorkerMessage message;
    v1::TaskResult& result = *message.mutable_task_result();
    result.set_task_id(task.task_id());
    for (const v1::ProjectGrant& project : task.inspect().projects()) {
      v1::ProjectInspection& inspection = *result.add_inspections();
      inspection.set_ref(project.ref());
      inspection.add_checks()->set_passed(true);
    }
    result.set_done(true);
    worker.Send(message);
  }

  grpc::Status Inspect(const v1::InspectProjectsRequest& request, std::vector<std::string>& refs) {
    grpc::ClientContext context;
    const auto reader = stub_->InspectProjects(&context, request);
    v1::InspectProjectsResponse part;
    while (reader->Read(&part)) {
      for (const v1::ProjectInspection& inspection : part.inspections()) {
        refs.push_back(inspection.ref());
      }
    }
    return reader->Finish();
  }

  grpc::Status Inspect(const v1::InspectProjectsRequest& request) {
    std::vector<std::string> refs;
    return Inspect(request, refs);
  }
};

TEST_F(Inspecting, GivesTheProjectsOfAMigrationWithWhatTheirAttemptsLeft) {
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  v1::InspectProjectsRequest request;
  request.set_migration_id(Migrate(worker, {"a", "b"}));
  request.add_kinds(v1::POST_CHECKS);
  std::vector<std::string> refs;
  grpc::Status status;
  std::thread call([&] { status = Inspect(request, refs); });
  const v1::Task task = NextTask(worker);
  EXPECT_EQ(task.inspect().migration_id(), request.migration_id());
  EXPECT_EQ(task.inspect().kinds(0), v1::POST_CHECKS);
  ASSERT_EQ(task.inspect().projects_size(), 2);
  const v1::ProjectGrant& a = task.inspect().projects(0);
  EXPECT_EQ(a.ref(), "a");
  EXPECT_EQ(a.fence(), GetProject(request.migration_id(), "a").fence());
  EXPECT_EQ(a.attributes().at("owner_id"), "7");
  EXPECT_GT(a.done_size(), 5);
  AnswerInspection(worker, task);
  call.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(refs, ::testing::ElementsAre("a", "b"));
}

TEST_F(Inspecting, GivesTheProjectsOfAPlanWithoutAFence) {
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  v1::InspectProjectsRequest request;
  request.set_plan_json(PlanJson());
  request.add_kinds(v1::PRE_CHECKS);
  *request.mutable_projects() = Chunk({"x", "y"}).projects().projects();
  std::vector<std::string> refs;
  std::thread call([&] { EXPECT_TRUE(Inspect(request, refs).ok()); });
  const v1::Task task = NextTask(worker);
  EXPECT_EQ(task.inspect().projects(1).ref(), "y");
  EXPECT_EQ(task.inspect().projects(1).fence(), 0);
  AnswerInspection(worker, task);
  call.join();
  EXPECT_THAT(refs, ::testing::ElementsAre("x", "y"));
}

TEST_F(Inspecting, RefusesWhatItCannotInspect) {
  v1::InspectProjectsRequest request;
  request.add_kinds(v1::PRE_CHECKS);
  EXPECT_EQ(CodeOfRpc(Inspect(request)), "PGC-API-ARGUMENT");
  request.set_plan_json(PlanJson());
  EXPECT_EQ(CodeOfRpc(Inspect(request)), "PGC-API-ARGUMENT") << "no projects";
  request.add_projects()->set_ref("No Ref");
  EXPECT_EQ(CodeOfRpc(Inspect(request)), "PGC-API-REF");
  request.mutable_projects(0)->set_ref("a");
  request.clear_kinds();
  EXPECT_EQ(CodeOfRpc(Inspect(request)), "PGC-API-ARGUMENT") << "no kinds";
  request.clear_plan_json();
  request.add_kinds(v1::PRE_CHECKS);
  request.set_migration_id("77");
  EXPECT_EQ(CodeOfRpc(Inspect(request)), "PGC-API-NOT-FOUND");
  request.set_migration_id(Submit({"a"}));
  EXPECT_EQ(CodeOfRpc(Inspect(request)), "PGC-INSPECT-STATE");
}

TEST_F(Inspecting, AnInspectionWithoutAWorkerEnds) {
  v1::InspectProjectsRequest request;
  request.set_plan_json(PlanJson());
  request.add_kinds(v1::PRE_CHECKS);
  *request.mutable_projects() = Chunk({"x"}).projects().projects();
  EXPECT_EQ(CodeOfRpc(Inspect(request)), "PGC-NO-WORKER");
}

TEST_F(Inspecting, TheProofCoversEveryMigrationOfThePlan) {
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  Migrate(worker, {"a", "b"});
  v1::ProveConservationRequest request;
  request.set_migration_id(Migrate(worker, {"c"}));
  v1::ProveConservationResponse response;
  std::thread call([&] {
    CallContext context;
    EXPECT_TRUE(stub_->ProveConservation(&context, request, &response).ok());
  });
  const v1::Task task = NextTask(worker);
  std::vector<std::string> refs;
  for (const v1::ProjectGrant& project : task.prove().projects()) {
    refs.push_back(project.ref());
    EXPECT_GT(project.fence(), 0);
  }
  EXPECT_THAT(refs, ::testing::UnorderedElementsAre("a", "b", "c"));
  v1::WorkerMessage message;
  message.mutable_task_result()->set_task_id(task.task_id());
  message.mutable_task_result()->add_inspections()->add_checks()->set_name("conservation:auth.users");
  message.mutable_task_result()->set_done(true);
  worker.Send(message);
  call.join();
  ASSERT_EQ(response.checks_size(), 1);
  EXPECT_EQ(response.checks(0).name(), "conservation:auth.users");
}

TEST_F(Inspecting, ListsProjectsWithTheirHistoryPageByPage) {
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  v1::ListProjectsRequest request;
  request.set_migration_id(Migrate(worker, {"a", "b", "c"}));
  request.set_with_history(true);
  request.set_page_size(2);
  std::vector<v1::Project> listed;
  do {
    CallContext context;
    v1::ListProjectsResponse page;
    ASSERT_TRUE(stub_->ListProjects(&context, request, &page).ok());
    ASSERT_LE(page.projects_size(), 2);
    listed.insert(listed.end(), page.projects().begin(), page.projects().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  ASSERT_EQ(listed.size(), 3U);
  for (const v1::Project& project : listed) {
    EXPECT_EQ(project.ShortDebugString(), GetProject(request.migration_id(), project.ref()).ShortDebugString());
    EXPECT_EQ(project.attempt_history_size(), 1);
  }
}

TEST_F(Inspecting, APageWithHistoryEndsBeforeAMessageIsFull) {
  FakeWorker worker(channel_, "w1");
  ASSERT_TRUE(worker.Hello());
  v1::ListProjectsRequest request;
  request.set_migration_id(Migrate(worker, {"a", "b", "c"}));
  cluster_->Exec(
      database_,
      "UPDATE pgconvoy.phase_report SET payload = json_build_array(json_build_object('phase', 'PRE_VALIDATION', "
      "'checks', json_build_object('checks', json_build_array(json_build_object('message', "
      "repeat('x', 1048576)))))) WHERE phases & 4 <> 0");
  request.set_with_history(true);
  std::vector<std::string> refs;
  do {
    CallContext context;
    v1::ListProjectsResponse page;
    const grpc::Status status = stub_->ListProjects(&context, request, &page);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(page.projects_size(), 1);
    refs.push_back(page.projects(0).ref());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(refs, ::testing::ElementsAre("a", "b", "c"));
}

}  // namespace
}  // namespace pgconvoy::service
