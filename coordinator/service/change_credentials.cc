#include "coordinator/service/change_credentials.h"

#include <grpcpp/grpcpp.h>

#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/plan/plan.h"
#include "common/rpc/rpc.h"
#include "coordinator/runtime/runtime.h"
#include "coordinator/service/arguments.h"
#include "coordinator/service/submitted.h"
#include "coordinator/service/views.h"
#include "coordinator/store/store_reader.h"

namespace pgconvoy::service {
namespace {

constexpr int kPageSize = 1000;
constexpr int kMaxNamedRefs = 10'000;
// With the word in front it still is a plan's name.
constexpr size_t kMaxOldName = 50;

bool EndedWell(ProjectState state) {
  return state == ProjectState::kSucceeded || state == ProjectState::kSucceededWithWarnings;
}

// The migration that made the logins.
absl::StatusOr<core::MigrationRow> FindOrigin(store::StoreReader& reader, const std::string& migration_id) {
  PGC_ASSIGN_OR_RETURN(const MigrationId id, ToMigrationId(migration_id));
  PGC_ASSIGN_OR_RETURN(core::MigrationRow row, reader.GetMigration(id));
  return row.spec.credentials_of == MigrationId{} ? std::move(row) : reader.GetMigration(row.spec.credentials_of);
}

// What is left of the plan: servers, names, and where the cutover puts the verifier.
absl::StatusOr<v1::Plan> PlanOfChange(const core::MigrationRow& origin, v1::ChangeCredentialsRequest::Action action) {
  PGC_ASSIGN_OR_RETURN(v1::Plan plan, plan::PlanFromJson(origin.spec.plan_json));
  if (!plan.has_credentials() || plan.execution().mode() == v1::Execution::BACKUP_ONLY) {
    return MakeError(Verdict::kPermanent, "PGC-CREDENTIALS-NONE",
                     "migration " + std::to_string(origin.id.value) + " makes no logins",
                     "name a migration whose plan has credentials");
  }
  const bool rotates = action == v1::ChangeCredentialsRequest::ROTATE;
  plan.set_name((rotates ? "rotate-" : "revoke-") + plan.name().substr(0, kMaxOldName));
  plan.clear_description();
  plan.clear_freeze();
  plan.clear_transform();
  plan.clear_links();
  plan.clear_backup();
  plan.clear_checks();
  plan.mutable_cutover()->clear_statements();
  if (plan.cutover().set().empty()) {
    plan.clear_cutover();
  }
  v1::Execution& execution = *plan.mutable_execution();
  execution.set_mode(rotates ? v1::Execution::ROTATE_CREDENTIALS : v1::Execution::REVOKE_CREDENTIALS);
  execution.set_credentials_of(origin.id.value);
  execution.clear_skip_backup();
  // What went wrong half way must not leave a login whose password is anybody's guess.
  execution.set_on_failure(v1::Execution::ROLLBACK);
  return plan;
}

absl::Status CheckState(const core::ProjectRow& row) {
  if (EndedWell(row.state)) {
    return absl::OkStatus();
  }
  if (!IsEnded(row.state)) {
    return MakeError(Verdict::kPermanent, "PGC-PROJECT-BUSY", "project " + row.ref + " is being migrated",
                     "wait until that migration has ended, or leave this project out");
  }
  return MakeError(
      Verdict::kPermanent, "PGC-CREDENTIALS-STATE",
      "project " + row.ref + " is " + std::string(Name(row.state)) + ", so nothing is known of its login",
      "only projects that ended well keep a login; see `pgconvoy describe project`");
}

absl::Status UnknownProject(MigrationId migration, const std::string& ref) {
  return WithStatusCode(absl::StatusCode::kNotFound,
                        InputError("PGC-API-NOT-FOUND", "migration " + std::to_string(migration.value) +
                                                            " has no project " + Printable(ref)));
}

absl::StatusOr<core::ProjectInput> InputOf(const core::ProjectRow& row, const v1::Plan& plan) {
  store::ProjectView view;
  view.row = row;
  v1::ProjectSpec spec;
  spec.set_ref(row.ref);
  *spec.mutable_attributes() = ToWire(view).attributes();
  return ToInput(spec, plan);
}

absl::StatusOr<std::vector<core::ProjectInput>> AllThatEndedWell(store::StoreReader& reader,
                                                                 MigrationId migration,
                                                                 const v1::Plan& plan) {
  std::vector<core::ProjectInput> inputs;
  store::PageRequest page{kPageSize, ""};
  do {
    PGC_ASSIGN_OR_RETURN(
        const auto found,
        reader.ListProjects(migration, {ProjectState::kSucceeded, ProjectState::kSucceededWithWarnings}, page));
    for (const store::ProjectView& view : found.rows) {
      PGC_ASSIGN_OR_RETURN(core::ProjectInput input, InputOf(view.row, plan));
      inputs.push_back(std::move(input));
    }
    page.token = found.next_token;
  } while (!page.token.empty());
  if (inputs.empty()) {
    return MakeError(Verdict::kPermanent, "PGC-CREDENTIALS-STATE",
                     "no project of migration " + std::to_string(migration.value) + " has ended well",
                     "only projects that ended well keep a login");
  }
  return inputs;
}

absl::StatusOr<std::vector<core::ProjectInput>> Named(store::StoreReader& reader,
                                                      MigrationId migration,
                                                      const v1::ChangeCredentialsRequest& request,
                                                      const v1::Plan& plan) {
  std::set<std::string> refs;
  for (const std::string& ref : request.project_refs()) {
    PGC_RETURN_IF_ERROR(CheckRef(ref, false));
    refs.insert(ref);
  }
  std::vector<core::ProjectInput> inputs;
  for (const std::string& ref : refs) {
    const auto detail = reader.GetProject(migration, ref);
    if (absl::IsNotFound(detail.status())) {
      return UnknownProject(migration, ref);
    }
    PGC_RETURN_IF_ERROR(detail.status());
    PGC_RETURN_IF_ERROR(CheckState(detail->project.row));
    PGC_ASSIGN_OR_RETURN(core::ProjectInput input, InputOf(detail->project.row, plan));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

absl::Status CheckRequest(const v1::ChangeCredentialsRequest& request) {
  PGC_RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  if (request.action() != v1::ChangeCredentialsRequest::ROTATE &&
      request.action() != v1::ChangeCredentialsRequest::REVOKE) {
    return InputError("PGC-API-ARGUMENT", "action: must be ROTATE or REVOKE");
  }
  if (request.all() == !request.project_refs().empty() || request.project_refs_size() > kMaxNamedRefs) {
    return InputError("PGC-API-ARGUMENT", "project_refs, all: exactly one of them, and at most 10000 refs");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<core::SubmitMigration> MakeCredentialsChange(store::StoreReader& reader,
                                                            const v1::ChangeCredentialsRequest& request,
                                                            const std::string& actor) {
  PGC_RETURN_IF_ERROR(CheckRequest(request));
  PGC_ASSIGN_OR_RETURN(const core::Command asked,
                       ToCommand(core::CommandKind::kNote, request.migration_id(), "", actor, request.reason()));
  PGC_ASSIGN_OR_RETURN(const core::MigrationRow origin, FindOrigin(reader, request.migration_id()));
  PGC_ASSIGN_OR_RETURN(const v1::Plan plan, PlanOfChange(origin, request.action()));
  v1::SubmitHeader header;
  header.set_request_id(request.request_id());
  core::SubmitMigration submit;
  submit.actor = asked.actor;
  submit.reason = asked.reason;
  submit.spec = ToSpec(plan, header);
  PGC_ASSIGN_OR_RETURN(submit.projects, request.all() ? AllThatEndedWell(reader, origin.id, plan)
                                                      : Named(reader, origin.id, request, plan));
  return submit;
}

void StartCredentialsChange(const Backend& backend,
                            const v1::ChangeCredentialsRequest& request,
                            const std::string& actor,
                            v1::ChangeCredentialsResponse* response,
                            grpc::ServerUnaryReactor* reactor) {
  auto submit = MakeCredentialsChange(*backend.reader, request, actor);
  if (!submit.ok()) {
    reactor->Finish(rpc::ToGrpc(submit.status()));
    return;
  }
  Submitted submitted = WhatIsSubmitted(*submit);
  backend.runtime.Submit(
      *std::move(submit), [backend, response, reactor, submitted = std::move(submitted)](const core::Reply& reply) {
        response->set_existed(reply.existed);
        FindSubmitted(backend, reply, submitted, [response, reactor](absl::StatusOr<v1::Migration> migration) {
          absl::Status status = migration.status();
          if (migration.ok()) {
            *response->mutable_migration() = *std::move(migration);
          } else if (CodeOf(status) == "PGC-PROJECT-BUSY") {
            // The request is a good one, only its time is wrong.
            status = WithStatusCode(absl::StatusCode::kFailedPrecondition, status);
          }
          reactor->Finish(rpc::ToGrpc(status));
        });
      });
}

}  // namespace pgconvoy::service
