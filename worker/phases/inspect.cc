#include "worker/phases/inspect.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/plan/plan.h"
#include "worker/phases/checks.h"
#include "worker/phases/estimate.h"
#include "worker/phases/phases.h"
#include "worker/phases/tables.h"
#include "worker/phases/target_view.h"

namespace pgconvoy::worker {
namespace {

std::string Figures(const v1::TableDigest& table) {
  return std::to_string(table.rows()) + " rows, digest " + table.digest();
}

// That a tenant works in its new database is what the migration was for: a difference is no failure.
void CompareContent(const v1::VerifyResult& verified, const std::vector<v1::TableDigest>& now, CheckList& checks) {
  for (const v1::TableDigest& table : now) {
    const auto was = std::find_if(verified.tables().begin(), verified.tables().end(),
                                  [&table](const v1::TableDigest& other) { return other.table() == table.table(); });
    const bool same =
        was != verified.tables().end() && was->rows() == table.rows() && was->digest() == table.digest();
    checks.Add({.name = "content:" + table.table(),
                .passed = same,
                .message = "written since it was verified",
                .measured = Figures(table),
                .needed = was == verified.tables().end() ? "" : Figures(*was),
                .warning_only = true});
  }
}

absl::Status CheckContent(Attempt& attempt, CheckList& checks) {
  const v1::PhaseResult* const verified = attempt.Result(Phase::kVerify);
  if (!attempt.has_target() || verified == nullptr) {
    return MakeError(Verdict::kPermanent, "PGC-INSPECT-UNVERIFIED",
                     "there is no verification record to compare project " + attempt.grant().ref + " with",
                     "only projects that were copied and verified have one");
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  return WithoutForce(attempt, *schema, [&](pg::Connection&) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const auto now, TargetDigests(attempt, *schema));
    CompareContent(verified->verify(), now, checks);
    return absl::OkStatus();
  });
}

// The result that the phase left, instead of what it would find now that its work is done.
absl::StatusOr<v1::ChecksResult> PreChecksOf(Attempt& attempt) {
  const v1::PhaseResult* const kept = attempt.Result(Phase::kPreValidation);
  if (kept != nullptr) {
    return kept->checks();
  }
  return PreChecks(attempt);
}

class Inspection {
 public:
  Inspection(Attempt& attempt, v1::ProjectInspection& out) : attempt_(attempt), out_(out), checks_(attempt, found_) {}

  absl::Status Run(const std::vector<v1::Inspection>& kinds) {
    for (const v1::Inspection kind : kinds) {
      PGC_RETURN_IF_ERROR(RunOne(kind));
    }
    *out_.mutable_checks() = std::move(*found_.mutable_checks());
    return absl::OkStatus();
  }

 private:
  absl::Status RunOne(v1::Inspection kind) {
    switch (kind) {
      case v1::PRE_CHECKS: return Take(PreChecksOf(attempt_));
      case v1::POST_CHECKS: return Take(PostChecks(attempt_));
      case v1::INTEGRITY_CHECKS: return Take(IntegrityChecks(attempt_));
      case v1::CONTENT: return checks_.Group("content", CheckContent(attempt_, checks_));
      case v1::ESTIMATE: return Estimate();
      default: return InputError("PGC-INSPECT-KIND", "this worker does not know the inspection");
    }
  }

  absl::Status Take(absl::StatusOr<v1::ChecksResult> checks) {
    PGC_RETURN_IF_ERROR(checks.status());
    for (const v1::CheckResult& check : checks->checks()) {
      const bool known = std::any_of(
          found_.checks().begin(), found_.checks().end(),
          [&check](const v1::CheckResult& other) { return other.SerializeAsString() == check.SerializeAsString(); });
      if (!known) {
        *found_.add_checks() = check;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Estimate() {
    PGC_ASSIGN_OR_RETURN(*out_.mutable_estimate(), EstimateProject(attempt_));
    return absl::OkStatus();
  }

  Attempt& attempt_;
  v1::ProjectInspection& out_;
  v1::ChecksResult found_;
  CheckList checks_;
};

bool LooksIntoTarget(const Attempt& attempt, const std::vector<v1::Inspection>& kinds) {
  return attempt.has_target() && attempt.grant().fence != 0 &&
         std::any_of(kinds.begin(), kinds.end(), [](v1::Inspection kind) {
           return kind == v1::POST_CHECKS || kind == v1::INTEGRITY_CHECKS || kind == v1::CONTENT;
         });
}

absl::Status Inspect(Attempt& attempt, const std::vector<v1::Inspection>& kinds, v1::ProjectInspection& out) {
  const auto run = [&] { return Inspection(attempt, out).Run(kinds); };
  return LooksIntoTarget(attempt, kinds) ? LookIntoTarget(attempt, run) : run();
}

}  // namespace

absl::Status NoReporter::Intent(const v1::Intent&) {
  return MakeError(Verdict::kPermanent, "PGC-TASK-WRITES", "a task may not make anything");
}

v1::Error ErrorOf(const absl::Status& status) {
  v1::Error error;
  error.set_verdict(VerdictOf(status) == Verdict::kTransient ? v1::TRANSIENT : v1::PERMANENT);
  error.set_code(CodeOf(status));
  error.set_message(MessageOf(status));
  error.set_remedy(RemedyOf(status));
  return error;
}

absl::StatusOr<std::unique_ptr<Attempt>> Inspector::Look(const v1::ProjectGrant& project,
                                                         const std::string& migration_id) const {
  AttemptGrant grant;
  grant.store_id = store_id;
  grant.migration_id = migration_id;
  grant.plan_hash = plan::PlanHash(plan);
  grant.ref = project.ref();
  grant.attributes = {project.attributes().begin(), project.attributes().end()};
  grant.fence = project.fence();
  grant.inspects = true;
  grant.done = {project.done().begin(), project.done().end()};
  return Attempt::Create(plan, std::move(grant), pool, schemas, reporter);
}

v1::ProjectInspection InspectProject(const Inspector& inspector,
                                     const v1::ProjectGrant& project,
                                     const std::string& migration_id,
                                     const std::vector<v1::Inspection>& kinds) {
  v1::ProjectInspection out;
  const auto attempt = inspector.Look(project, migration_id);
  const absl::Status done = attempt.ok() ? Inspect(**attempt, kinds, out) : attempt.status();
  out.set_ref(project.ref());
  if (!done.ok()) {
    *out.mutable_error() = ErrorOf(done);
  }
  return out;
}

}  // namespace pgconvoy::worker
