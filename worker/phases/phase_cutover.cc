#include <algorithm>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "worker/core/sql.h"
#include "worker/phases/control.h"
#include "worker/phases/databases.h"
#include "worker/phases/phases.h"
#include "worker/phases/registry.h"
#include "worker/phases/roles.h"
#include "worker/phases/tables.h"

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
  PGC_ASSIGN_OR_RETURN(const auto now, SourceDigests(attempt));
  const std::string difference =
      FirstDifference({sealed->backup().tables().begin(), sealed->backup().tables().end()}, now);
  if (difference.empty()) {
    return absl::OkStatus();
  }
  return MakeError(Verdict::kPermanent, "PGC-CUT-SOURCE-DIRTY",
                   "the source was written to after the backup: " + difference,
                   "make sure that writes are stopped (plan.freeze), then retry the project");
}

absl::Status CheckVerified(const Attempt& attempt) {
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  const v1::PhaseResult* const verified = attempt.Result(Phase::kVerify);
  if (sealed == nullptr || verified == nullptr || sealed->backup().backup_id() != verified->verify().backup_id()) {
    return MakeError(Verdict::kPermanent, "PGC-CUT-UNVERIFIED",
                     "there is no verification of the backup that was loaded; a missing proof is not a pass");
  }
  return absl::OkStatus();
}

// Switches the row and writes the record in one transaction under the fence row.
absl::StatusOr<CutoverRecord> Switch(pg::Connection& registrar, Attempt& attempt) {
  CutoverRecord record;
  record.fence = attempt.grant().fence;
  const v1::PhaseResult* const credentials = attempt.Result(Phase::kCredentials);
  record.credentials_fence = credentials == nullptr ? 0 : credentials->fence();
  PGC_ASSIGN_OR_RETURN(
      record.after, NewRegistryValues(attempt, credentials == nullptr ? "" : credentials->credentials().verifier()));
  const absl::Status done = InFencedTransaction(registrar, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(record.before, ReadRegistryRow(connection, attempt, /*lock=*/true));
    PGC_ASSIGN_OR_RETURN(const bool switched, SwitchRegistryRow(connection, attempt, record.before, record.after));
    if (!switched) {
      return MakeError(Verdict::kTransient, "PGC-CUT-REGISTRY", "the registry row changed while it was switched");
    }
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

// ---- undo ------------------------------------------------------------------------------------------------------

// Relations in schemas that the migration did not bring: the tenant made them.
constexpr char kOtherRelations[] = R"sql(
SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname <> ALL ($1::pg_catalog.name[]) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)sql";

absl::StatusOr<bool> DefinitionsChanged(Attempt& attempt, const SourceSchema& schema) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_ASSIGN_OR_RETURN(const auto objects, ListObjects(*target, attempt.plan()));
  const auto& moved = attempt.plan().target().schemas();
  PGC_ASSIGN_OR_RETURN(const pg::Result others,
                       target->Exec(kOtherRelations, {"{" + IdentList({moved.begin(), moved.end()}) + "}"}));
  const bool ledger_there = attempt.Result(Phase::kCleanup) == nullptr;
  return objects != schema.objects || (others.Int(0, 0) != 0 && !ledger_there);
}

absl::StatusOr<bool> SequencesMoved(Attempt& attempt, const SourceSchema& schema, const v1::VerifyResult& verified) {
  PGC_ASSIGN_OR_RETURN(pg::Connection* const target, attempt.Target());
  PGC_ASSIGN_OR_RETURN(const auto now, ReadSequences(*target, schema));
  return !std::equal(now.begin(), now.end(), verified.sequences().begin(), verified.sequences().end(),
                     [](const v1::SequenceValue& a, const v1::SequenceValue& b) {
                       return a.last_value() == b.last_value() && a.is_called() == b.is_called();
                     });
}

absl::StatusOr<bool> TenantHasWritten(Attempt& attempt) {
  const v1::PhaseResult* const verified = attempt.Result(Phase::kVerify);
  if (verified == nullptr) {
    return true;
  }
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  PGC_ASSIGN_OR_RETURN(const bool redefined, DefinitionsChanged(attempt, *schema));
  PGC_ASSIGN_OR_RETURN(const bool counted, SequencesMoved(attempt, *schema, verified->verify()));
  if (redefined || counted) {
    attempt.CloseTarget();
    return true;
  }
  std::string difference;
  PGC_RETURN_IF_ERROR(WithoutForce(attempt, *schema, [&](pg::Connection&) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const auto now, TargetDigests(attempt, *schema));
    difference = FirstDifference({verified->verify().tables().begin(), verified->verify().tables().end()}, now);
    return absl::OkStatus();
  }));
  attempt.CloseTarget();
  return !difference.empty();
}

absl::Status SetLogin(pg::Connection& provisioner, const Attempt& attempt, bool allowed) {
  return InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
    return connection.ExecScript("ALTER ROLE " + Ident(attempt.project().user) + (allowed ? " LOGIN" : " NOLOGIN"));
  });
}

// Keeps what the tenant wrote under names that nobody uses, for as long as the operator wants.
absl::Status SetAside(pg::Connection& provisioner, Attempt& attempt, v1::UndoResult& undo) {
  const std::string kept = attempt.names().kept;
  PGC_RETURN_IF_ERROR(InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
    return connection.ExecScript("GRANT " + Ident(attempt.project().user) + " TO CURRENT_USER; ALTER DATABASE " +
                                 Ident(attempt.project().database) + " ALLOW_CONNECTIONS false");
  }));
  PGC_RETURN_IF_ERROR(RenameDatabase(provisioner, attempt, attempt.project().database, kept));
  PGC_RETURN_IF_ERROR(InFencedTransaction(provisioner, attempt, [&](pg::Connection& connection) {
    return connection.ExecScript("ALTER ROLE " + Ident(attempt.project().user) + " RENAME TO " + Ident(kept));
  }));
  undo.add_undone("kept the written database and its role as " + kept);
  return absl::OkStatus();
}

// Stops the tenant, then looks whether it has written. Nothing is lost either way: a tenant that wrote goes on
// working where it is until an operator decides.
absl::Status StopAndCompare(Attempt& attempt, v1::UndoResult& undo) {
  const std::string& user = attempt.project().user;
  PGC_ASSIGN_OR_RETURN(PooledSession provisioner, attempt.Provisioner());
  PGC_ASSIGN_OR_RETURN(const auto databases, ProjectDatabases(*provisioner, attempt));
  const bool there = std::any_of(databases.begin(), databases.end(), [&](const DatabaseInfo& database) {
    return database.name == attempt.project().database && database.own;
  });
  if (!there) {
    return absl::OkStatus();
  }
  PGC_RETURN_IF_ERROR(SetLogin(*provisioner, attempt, false));
  PGC_RETURN_IF_ERROR(
      EndSessions(*provisioner, attempt, {{user}, /*older_attempts=*/false, /*own_role_only=*/false}).status());
  const auto written = TenantHasWritten(attempt);
  if (written.ok() && !*written) {
    return absl::OkStatus();
  }
  if (written.ok() && attempt.grant().discard_writes) {
    return SetAside(*provisioner, attempt, undo);
  }
  PGC_RETURN_IF_ERROR(SetLogin(*provisioner, attempt, true));
  if (!written.ok()) {
    return written.status();
  }
  return MakeError(Verdict::kOperator, "PGC-ROLLBACK-WRITES",
                   "the project has written to its new database since the cutover; a rollback would lose that",
                   "leave it where it is, or run `pgconvoy rollback --project REF --discard-writes` (the database is "
                   "kept under another name)");
}

absl::Status SwitchBack(pg::Connection& registrar, Attempt& attempt, const CutoverRecord& record) {
  return InFencedTransaction(registrar, attempt, [&](pg::Connection& connection) -> absl::Status {
    PGC_ASSIGN_OR_RETURN(const bool switched, SwitchRegistryRow(connection, attempt, record.after, record.before));
    if (!switched) {
      return MakeError(Verdict::kOperator, "PGC-ROLLBACK-REGISTRY",
                       "somebody has changed the registry row since the cutover",
                       "put the row right by hand, then retry the rollback");
    }
    return connection
        .Exec(kUndone, {attempt.grant().store_id, attempt.grant().ref, std::to_string(record.fence),
                        std::to_string(attempt.grant().fence)})
        .status();
  });
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunCutover(Attempt& attempt) {
  v1::PhaseResult result;
  PGC_RETURN_IF_ERROR(CheckVerified(attempt));
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_ASSIGN_OR_RETURN(const auto done, FindCutover(*registrar, attempt));
  if (done.has_value()) {
    Describe(*done, *result.mutable_cutover());
    return result;
  }
  PGC_RETURN_IF_ERROR(CheckSourceUnchanged(attempt));
  PGC_RETURN_IF_ERROR(attempt.reporter().Checkpoint());
  PGC_ASSIGN_OR_RETURN(const CutoverRecord record, Switch(*registrar, attempt));
  Describe(record, *result.mutable_cutover());
  return result;
}

absl::StatusOr<v1::PhaseResult> UndoCutover(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult* const undo = result.mutable_undo();
  PGC_ASSIGN_OR_RETURN(PooledSession registrar, attempt.Registrar());
  PGC_ASSIGN_OR_RETURN(const auto record, FindCutover(*registrar, attempt));
  if (!record.has_value()) {
    return result;
  }
  PGC_RETURN_IF_ERROR(StopAndCompare(attempt, *undo));
  PGC_RETURN_IF_ERROR(SwitchBack(*registrar, attempt, *record));
  undo->add_undone("the registry row has its old values again");
  return result;
}

}  // namespace pgconvoy::worker
