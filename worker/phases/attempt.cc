#include "worker/phases/attempt.h"

#include <utility>

#include "common/base/error.h"
#include "common/plan/server_choice.h"
#include "worker/core/sql.h"
#include "worker/core/takeover.h"
#include "worker/phases/control.h"
#include "worker/phases/roles.h"

namespace pgconvoy::worker {
namespace {

absl::StatusOr<PooledSession> OnServer(const std::string& name, absl::StatusOr<PooledSession> session) {
  if (!session.ok()) {
    return Annotate(session.status(), "server \"" + name + "\"");
  }
  return session;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Attempt>> Attempt::Create(
    const v1::Plan& plan, AttemptGrant grant, SessionPool& pool, SchemaCache& schemas, Reporter& reporter) {
  std::unique_ptr<Attempt> attempt(new Attempt(plan, std::move(grant), pool, schemas, reporter));
  PGC_RETURN_IF_ERROR(attempt->CheckSections());
  PGC_RETURN_IF_ERROR(attempt->RenderNames());
  return attempt;
}

Attempt::Attempt(
    const v1::Plan& plan, AttemptGrant grant, SessionPool& pool, SchemaCache& schemas, Reporter& reporter)
    : plan_(plan),
      grant_(std::move(grant)),
      names_(grant_.store_id, grant_.ref, grant_.fence),
      pool_(pool),
      schemas_(schemas),
      reporter_(reporter) {}

absl::Status Attempt::CheckSections() const {
  if (plan_.has_credentials() && !backup_only() && !plan_.has_target() && plan_.credentials().schemas().empty()) {
    return MakeError(Verdict::kPermanent, "PGC-PLAN-TARGET", "the plan does not say what its logins are for",
                     "give the plan a target, or list credentials.schemas");
  }
  if (plan_.has_target() && plan_.tables().empty()) {
    // VERIFY, which adds foreign keys and policies, would be skipped.
    return MakeError(Verdict::kPermanent, "PGC-PLAN-TABLES", "the plan has a target and moves no table",
                     "list the tables that move");
  }
  return absl::OkStatus();
}

absl::Status Attempt::RenderNames() {
  values_ = grant_.attributes;
  values_["ref"] = grant_.ref;
  if (plan_.has_source()) {
    PGC_ASSIGN_OR_RETURN(project_.source_server, plan::ServerOf(plan_, plan_.source().server(), values_));
    PGC_ASSIGN_OR_RETURN(project_.source_database, plan::RenderName(plan_.source().database(), values_));
  }
  if (plan_.has_target()) {
    PGC_ASSIGN_OR_RETURN(project_.target_server, plan::ServerOf(plan_, plan_.target().server(), values_));
    PGC_ASSIGN_OR_RETURN(project_.database, plan::RenderName(plan_.target().database(), values_));
  }
  if (plan_.has_credentials()) {
    PGC_ASSIGN_OR_RETURN(project_.user, plan::RenderName(plan_.credentials().user(), values_));
  }
  if (plan_.credentials().has_fallback()) {
    PGC_ASSIGN_OR_RETURN(project_.fallback, plan::RenderName(plan_.credentials().fallback().user(), values_));
  }
  values_["database"] = login_database();
  values_["user"] = project_.user;
  return absl::OkStatus();
}

absl::StatusOr<PooledSession> Attempt::Limited(absl::StatusOr<PooledSession> session) const {
  if (session.ok()) {
    (*session)->SetSilenceLimit(plan_.execution().phase_timeout_ms());
  }
  return session;
}

absl::StatusOr<PooledSession> Attempt::Reader() {
  return Limited(OnServer(project_.source_server, pool_.Acquire(source_server(), LoginKind::kReader,
                                                                project_.source_database, names_.application_name)));
}

absl::StatusOr<PooledSession> Attempt::Provisioner() {
  if (grant_.inspects && grant_.fence == 0) {
    // The control database may not exist yet, and whoever only looks does not make it.
    return Limited(OnServer(login_server_name(), pool_.Acquire(login_server(), LoginKind::kProvisioner, "postgres",
                                                               names_.application_name)));
  }
  return Limited(OnServer(login_server_name(), AcquireControl(pool_, login_server(), names_.application_name)));
}

absl::StatusOr<PooledSession> Attempt::ProvisionerInDatabase() {
  return Limited(OnServer(login_server_name(), pool_.Acquire(login_server(), LoginKind::kProvisioner,
                                                             login_database(), names_.application_name)));
}

absl::StatusOr<PooledSession> Attempt::Registrar() {
  return Limited(OnServer(
      plan_.registry().server(),
      pool_.Acquire(registry_server(), LoginKind::kRegistrar, plan_.registry().database(), names_.application_name)));
}

absl::StatusOr<PooledSession> Attempt::Transformer() {
  return Limited(OnServer(project_.source_server, pool_.Acquire(source_server(), LoginKind::kTransformer,
                                                                project_.source_database, names_.application_name)));
}

absl::StatusOr<std::unique_ptr<pg::Connection>> Attempt::OpenTarget() {
  PGC_RETURN_IF_ERROR(EnsureAttemptLogin(*this));
  pg::SessionOptions options;
  // What is loaded before the last commit can be loaded again from the backup; that commit is synchronous.
  options.idle_in_transaction_timeout_ms = 300'000;
  PGC_ASSIGN_OR_RETURN(auto session, SessionPool::Open(target_server(), names_.login, *login_password,
                                                       project_.database, names_.application_name, options));
  session->SetSilenceLimit(plan_.execution().phase_timeout_ms());
  PGC_RETURN_IF_ERROR(SetUpTarget(*session));
  return session;
}

absl::Status Attempt::SetUpTarget(pg::Connection& session) const {
  PGC_RETURN_IF_ERROR(SessionPool::ApplySettings(session, plan_.target().settings()));
  return session.ExecScript("SET ROLE " + Ident(project_.user));
}

absl::Status Attempt::ResetTargets() {
  std::vector<pg::Connection*> open = {target_.get()};
  for (const auto& session : more_targets_) {
    open.push_back(session.get());
  }
  for (pg::Connection* const session : open) {
    if (session != nullptr && !session->broken()) {
      PGC_RETURN_IF_ERROR(session->ExecScript("RESET ALL"));
      PGC_RETURN_IF_ERROR(SetUpTarget(*session));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<pg::Connection*> Attempt::Target() {
  if (grant_.inspects && grant_.fence == 0) {
    return MakeError(Verdict::kPermanent, "PGC-INSPECT-TARGET",
                     "project " + grant_.ref + " has no target database that could be looked at",
                     "name the migration that made it instead of the plan");
  }
  if (target_ == nullptr || target_->broken()) {
    PGC_ASSIGN_OR_RETURN(target_, OpenTarget());
  }
  return target_.get();
}

absl::StatusOr<std::vector<pg::Connection*>> Attempt::Targets(size_t wanted) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const first, Target());
  std::vector<pg::Connection*> sessions = {first};
  std::erase_if(more_targets_, [](const auto& session) { return session->broken(); });
  const size_t limit = std::min(wanted, static_cast<size_t>(std::max(1, plan_.execution().jobs())));
  while (sessions.size() < limit) {
    if (more_targets_.size() < sessions.size()) {
      PGC_ASSIGN_OR_RETURN(auto session, OpenTarget());
      more_targets_.push_back(std::move(session));
    }
    sessions.push_back(more_targets_[sessions.size() - 1].get());
  }
  return sessions;
}

void Attempt::CloseTarget() {
  target_.reset();
  more_targets_.clear();
}

const v1::PhaseResult* Attempt::Result(Phase phase) const {
  return LatestResult(grant_.done, phase, [](const v1::PhaseResult& result) {
    return ResultKey{static_cast<Phase>(result.phase()), static_cast<Direction>(result.direction()), result.fence()};
  });
}

void Attempt::AddResult(v1::PhaseResult result) { grant_.done.push_back(std::move(result)); }

absl::Status Attempt::ReportIntent(v1::Intent intent) {
  intent.set_fence(grant_.fence);
  PGC_RETURN_IF_ERROR(reporter_.Intent(intent));
  grant_.intents.push_back(std::move(intent));
  return absl::OkStatus();
}

std::string Attempt::OwnerComment() const { return worker::OwnerComment(owner(), grant_.fence); }

bool Attempt::IsOwnComment(std::string_view comment) const { return worker::IsOwnComment(comment, owner()); }

}  // namespace pgconvoy::worker
