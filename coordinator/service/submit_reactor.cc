#include "coordinator/service/submit_reactor.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <optional>
#include <utility>

#include "common/base/error.h"
#include "common/plan/project_check.h"
#include "common/rpc/rpc.h"
#include "coordinator/core/core.h"
#include "coordinator/runtime/runtime.h"
#include "coordinator/service/access.h"
#include "coordinator/service/arguments.h"
#include "coordinator/service/plan_check.h"
#include "coordinator/service/submitted.h"
#include "coordinator/service/thread_pool.h"
#include "pgconvoy/v1/plan.pb.h"

namespace pgconvoy::service {
namespace {

absl::Status Bad(const std::string& what) { return InputError("PGC-API-ARGUMENT", what); }

class SubmitReactor : public grpc::ServerReadReactor<v1::SubmitMigrationRequest> {
 public:
  SubmitReactor(const Backend& backend,
                const grpc::ServerContextBase& context,
                v1::SubmitMigrationResponse* response);
  void OnReadDone(bool ok) override;
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  grpc::Status Take(const v1::SubmitMigrationRequest& request);
  grpc::Status TakeHeader(const v1::SubmitHeader& header);
  absl::Status TakeProjects(const v1::ProjectChunk& chunk);
  void Submit();
  void Answer(const core::Reply& reply);

  const Backend backend_;
  const grpc::ServerContextBase& context_;
  v1::SubmitMigrationResponse* const response_;
  v1::SubmitMigrationRequest incoming_;
  bool has_header_ = false;
  v1::Plan plan_;
  // Set with the header.
  std::optional<plan::ProjectCheck> project_check_;
  core::SubmitMigration submit_;
  // Of submit_, which the runtime takes.
  Submitted submitted_;
  std::atomic<bool> cancelled_ = false;
};

SubmitReactor::SubmitReactor(const Backend& backend,
                             const grpc::ServerContextBase& context,
                             v1::SubmitMigrationResponse* response)
    : backend_(backend), context_(context), response_(response) {
  StartRead(&incoming_);
}

void SubmitReactor::OnReadDone(bool ok) {
  if (!ok) {
    // Through the pool also because a client that broke off ends its side, too: by then OnCancel has said so.
    if (!backend_.pool.Run([this] { Submit(); })) {
      Finish(rpc::ToGrpc(Overloaded()));
    }
    return;
  }
  if (const grpc::Status status = Take(incoming_); !status.ok()) {
    Finish(status);
    return;
  }
  StartRead(&incoming_);
}

grpc::Status SubmitReactor::Take(const v1::SubmitMigrationRequest& request) {
  if (has_header_ == request.has_header() || (has_header_ && !request.has_projects())) {
    return rpc::ToGrpc(Bad("the stream must hold one header, then chunks of projects"));
  }
  return has_header_ ? rpc::ToGrpc(TakeProjects(request.projects())) : TakeHeader(request.header());
}

grpc::Status SubmitReactor::TakeHeader(const v1::SubmitHeader& header) {
  has_header_ = true;
  if (const absl::Status status = CheckRequestId(header.request_id()); !status.ok()) {
    return rpc::ToGrpc(status);
  }
  if (header.batch_size() < 0 || header.batch_size() > 10'000) {
    return rpc::ToGrpc(Bad("header.batch_size: must be 0 to 10000"));
  }
  auto actor = ToActor(ActorOf(context_, header.actor()));
  if (!actor.ok()) {
    return rpc::ToGrpc(actor.status());
  }
  submit_.actor = *std::move(actor);
  if (const grpc::Status status = ReadPlan(header.plan_json(), plan_); !status.ok()) {
    return status;
  }
  project_check_.emplace(plan_);
  submit_.spec = ToSpec(plan_, header);
  return grpc::Status::OK;
}

absl::Status SubmitReactor::TakeProjects(const v1::ProjectChunk& chunk) {
  if (chunk.projects_size() > kMaxProjectsInChunk) {
    return Bad("a chunk holds more than " + std::to_string(kMaxProjectsInChunk) + " projects");
  }
  if (submit_.projects.size() + static_cast<size_t>(chunk.projects_size()) > kMaxSubmittedProjects) {
    return Bad("a migration holds at most " + std::to_string(kMaxSubmittedProjects) + " projects");
  }
  for (const v1::ProjectSpec& project : chunk.projects()) {
    PGC_RETURN_IF_ERROR(CheckProject(project));
    PGC_RETURN_IF_ERROR(
        project_check_->Add(project.ref(), {project.attributes().begin(), project.attributes().end()}));
    PGC_ASSIGN_OR_RETURN(core::ProjectInput input, ToInput(project, plan_));
    submit_.projects.push_back(std::move(input));
  }
  return absl::OkStatus();
}

void SubmitReactor::Submit() {
  if (cancelled_) {
    Finish(grpc::Status::CANCELLED);
    return;
  }
  if (!has_header_) {
    Finish(rpc::ToGrpc(Bad("the stream must begin with a header")));
    return;
  }
  submitted_ = WhatIsSubmitted(submit_);
  backend_.runtime.Submit(std::move(submit_), [this](const core::Reply& reply) { Answer(reply); });
}

void SubmitReactor::Answer(const core::Reply& reply) {
  response_->set_existed(reply.existed);
  FindSubmitted(backend_, reply, std::move(submitted_), [this](absl::StatusOr<v1::Migration> migration) {
    if (migration.ok()) {
      *response_->mutable_migration() = *std::move(migration);
    }
    Finish(rpc::ToGrpc(migration.status()));
  });
}

}  // namespace

grpc::ServerReadReactor<v1::SubmitMigrationRequest>* StartSubmit(const Backend& backend,
                                                                 const grpc::ServerContextBase& context,
                                                                 v1::SubmitMigrationResponse* response) {
  return new SubmitReactor(backend, context, response);
}

}  // namespace pgconvoy::service
