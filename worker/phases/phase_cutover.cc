#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/phases/control.h"
#include "worker/phases/fallback.h"
#include "worker/phases/phases.h"
#include "worker/phases/registry.h"
#include "worker/phases/source_watch.h"
#include "worker/phases/tables.h"
#include "worker/phases/tenant_writes.h"

namespace pgconvoy::worker {
namespace {

constexpr char kRecord[] = R"sql(
INSERT INTO pgconvoy.cutover (store_id, project, migration, fence, credentials_fence, before, after)
VALUES ($1, $2, $3, $4::bigint, $5::bigint, $6::jsonb, $7::jsonb)
)sql";
constexpr char kUndone[] = R"sql(
UPDATE pgconvoy.cutover SET undone_fence = $4::bigint
WHERE store_id = $1 AND project = $2 AND fence = $3::bigint AND undone_fence IS NULL
)sql";

constexpr char kIsFrozen[] = "SELECT FROM pgconvoy.freeze WHERE store_id = $1 AND project = $2";

void FillMap(const RegistryValues& values, google::protobuf::Map<std::string, std::string>& map) {
  for (const auto& [column, value] : values) {
    if (value.has_value()) {
      map[column] = *value;
    }
  }
}

void Describe(const CutoverRecord& record, v1::CutoverResult& result) {
  result.set_credentials_fence(record.credentials_fence);
  FillMap(record.before, *result.mutable_before());
  FillMap(record.after, *result.mutable_after());
}

// The freeze is somebody's word or somebody's trigger; this is the proof.
absl::Status CheckSourceUnchanged(Attempt& attempt) {
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  if (sealed == nullptr) {
    return MakeError(Verdict::kPermanent, "PGC-BACKUP-MISSING",
                     "there is no sealed backup to compare the source with");
  }
  PGC_ASSIGN_OR_RETURN(const auto now, SourceDigestsSince(attempt, sealed->backup()));
  attempt.source_watch.reset();
  const std::string difference =
      FirstDifference({sealed->backup().tables().begin(), sealed->backup().tables().end()}, now);
  if (difference.empty()) {
    return absl::OkStatus();
  }
  return MakeError(
      Verdict::kPermanent, "PGC-CUT-SOURCE-DIRTY", "the source was written to after the backup: " + difference,
      "make sure that writes are stopped (plan.freeze), then retry the project; where on_failure is KEEP, "
      "roll it back first");
}

// A server that has fallen back to an older state of itself may have lost the freeze.
absl::Status CheckFrozen(pg::Connection& registrar, const Attempt& attempt) {
  if (attempt.plan().freeze().apply().empty()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const pg::Result row,
                       registrar.Exec(kIsFrozen, {attempt.grant().store_id, attempt.grant().ref}));
  return row.rows() == 1
             ? absl::OkStatus()
             : MakeError(
                   Verdict::kPermanent, "PGC-CUT-NOT-FROZEN",
                   "the project's freeze is no longer in the registry's database, so its writes may have gone on",
                   "find out whether the server was restored from an older copy; then retry the project");
}

absl::Status CheckVerified(const Attempt& attempt) {
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  const v1::PhaseResult* const verified = attempt.Result(Phase::kVerify);
  const bool proven_in_place = attempt.has_transform() && verified != nullptr;
  if (proven_in_place) {
    return absl::OkStatus();
  }
  if (sealed == nullptr || verified == nullptr || sealed->backup().backup_id() != verified->verify().backup_id()) {
    return MakeError(Verdict::kPermanent, "PGC-CUT-UNVERIFIED",
                     "there is no verification of the backup that was loaded; a missing proof is not a pass");
  }
  return absl::OkStatus();
}

absl::Status RunStatement(pg::Connection& registrar, const Attempt& attempt, const std::string& text) {
  PGC_ASSIGN_OR_RETURN(const std::string sql, plan::RenderSql(text, attempt.values()));
  const auto done = registrar.Exec(sql);
  return done.ok() ? absl::OkStatus() : Annotate(done.status(), "the plan's cutover statement");
}

absl::Status ApplyStatements(pg::Connection& registrar, const Attempt& attempt) {
  for (const v1::Step& step : attempt.plan().cutover().statements()) {
    PGC_RETURN_IF_ERROR(RunStatement(registrar, attempt, step.apply()));
  }
  return absl::OkStatus();
}

absl::Status UndoStatements(pg::Connection& registrar, const Attempt& attempt) {
  const auto& steps = attempt.plan().cutover().statements();
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    PGC_RETURN_IF_ERROR(RunStatement(registrar, attempt, step->undo()));
  }
  return absl::OkStatus();
}

// Switches the row, runs the plan's statements and writes the record in one transaction under the fence row.
absl::StatusOr<CutoverRecord> Switch(pg::Connection& registrar, Attempt& attempt) {
  CutoverRecord record;
  record.fence = attempt.grant().fence;
  const v1::PhaseResult* const credentials = attempt.Result(Phase::kCredentials);
  record.credentials_fence = credentials == nullptr ? 0 : credentials->fence();
  PGC_ASSIGN_OR_RETURN(
      const RegistryValues wanted,
      NewRegistryValues(attempt, credentials == nullptr ? "" : credentials->credentials().verifier()));
  const absl::Status done = InFencedTransaction(registrar, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_RETURN_IF_ERROR(CheckFrozen(connection, attempt));
    PGC_ASSIGN_OR_RETURN(record.before, ReadRegistryRow(connection, attempt, /*lock=*/true));
    PGC_ASSIGN_OR_RETURN(const auto switched, SwitchRegistryRow(connection, attempt, record.before, wanted));
    if (!switched.has_value()) {
      return MakeError(Verdict::kTransient, "PGC-CUT-REGISTRY", "the registry row changed while it was switched");
    }
    PGC_RETURN_IF_ERROR(ApplyStatements(connection, attempt));
    // A statement may have changed the row once more.
    PGC_ASSIGN_OR_RETURN(record.after, ReadRegistryRow(connection, attempt, /*lock=*/false));
    PGC_RETURN_IF_ERROR(
        connection
            .Exec(kRecord, {attempt.grant().store_id, attempt.grant().ref, attempt.grant().migration_id,
                            std::to_string(record.fence), std::to_string(record.credentials_fence),
                            ToJson(record.before), ToJson(record.after)})
            .status());
    PGC_FAILPOINT("worker.cutover.before_commit");
    return absl::OkStatus();
  });
  PGC_RETURN_IF_ERROR(done);
  PGC_FAILPOINT("worker.cutover.after_commit");
  return record;
}

absl::Status RegistryChanged() {
  return MakeError(Verdict::kOperator, "PGC-ROLLBACK-REGISTRY",
                   "somebody has changed the registry row since the cutover",
                   "put the row right by hand, then retry the rollback");
}

absl::Status SwitchBack(pg::Connection& registrar, Attempt& attempt, const CutoverRecord& record) {
  return InFencedTransaction(registrar, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const RegistryValues now, ReadRegistryRow(connection, attempt, /*lock=*/true));
    if (now != record.after) {
      return RegistryChanged();
    }
    PGC_RETURN_IF_ERROR(UndoStatements(connection, attempt));
    PGC_ASSIGN_OR_RETURN(const RegistryValues between, ReadRegistryRow(connection, attempt, /*lock=*/false));
    PGC_ASSIGN_OR_RETURN(const auto switched, SwitchRegistryRow(connection, attempt, between, record.before));
    if (!switched.has_value()) {
      return RegistryChanged();
    }
    PGC_FAILPOINT("worker.cutover.before_undone");
    return connection
        .Exec(kUndone, {attempt.grant().store_id, attempt.grant().ref, std::to_string(record.fence),
                        std::to_string(attempt.grant().fence)})
        .status();
  });
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunCutover(Attempt& attempt) {
  v1::PhaseResult result;
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(CheckVerified(attempt));
  }
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_ASSIGN_OR_RETURN(auto record, FindCutover(*registrar, attempt));
  if (!record.has_value()) {
    if (attempt.has_target()) {
      PGC_RETURN_IF_ERROR(CheckSourceUnchanged(attempt));
    }
    PGC_RETURN_IF_ERROR(attempt.reporter().Checkpoint());
    PGC_ASSIGN_OR_RETURN(record, Switch(*registrar, attempt));
  }
  Describe(*record, *result.mutable_cutover());
  // Once nobody is sent to it any more.
  PGC_RETURN_IF_ERROR(ShutOutFallback(attempt));
  return result;
}

absl::StatusOr<v1::PhaseResult> UndoCutover(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult* const undo = result.mutable_undo();
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_ASSIGN_OR_RETURN(const auto record, FindCutover(*registrar, attempt));
  if (!record.has_value()) {
    PGC_RETURN_IF_ERROR(LetFallbackIn(attempt, *undo));
    return result;
  }
  // Before the tenant is stopped, who would be left without a database else.
  PGC_ASSIGN_OR_RETURN(const RegistryValues now, ReadRegistryRow(*registrar, attempt, /*lock=*/false));
  if (now != record->after) {
    return RegistryChanged();
  }
  if (attempt.has_target()) {
    PGC_RETURN_IF_ERROR(StopUnlessWritten(attempt, *undo));
  }
  // Before anybody is sent to it again.
  PGC_RETURN_IF_ERROR(LetFallbackIn(attempt, *undo));
  PGC_RETURN_IF_ERROR(SwitchBack(*registrar, attempt, *record));
  undo->add_undone("the registry row has its old values again");
  return result;
}

}  // namespace pgconvoy::worker
