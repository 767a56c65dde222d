#include <algorithm>

#include "common/base/error.h"
#include "common/base/failpoint.h"
#include "common/pg/pg_error.h"
#include "worker/core/sql.h"
#include "worker/phases/backup_access.h"
#include "worker/phases/change_log.h"
#include "worker/phases/columns.h"
#include "worker/phases/phases.h"
#include "worker/phases/policies.h"
#include "worker/phases/table_restore.h"
#include "worker/phases/tables.h"
#include "worker/phases/transform.h"
#include "worker/phases/transform_store.h"

namespace pgconvoy::worker {
namespace {

constexpr char kSavePolicies[] = R"sql(
INSERT INTO pgconvoy_transform.policy (store_id, project, fence, relation, row_security, forced, before, after)
VALUES ($1, $2, $3::pg_catalog.int8, $4, $5::boolean, $6::boolean, $7::text[], $8::text[])
)sql";

constexpr char kSavedPolicies[] = R"sql(
SELECT relation, row_security, forced, pg_catalog.array_to_json(before), pg_catalog.array_to_json(after)
FROM pgconvoy_transform.policy WHERE store_id = $1 AND project = $2 AND fence = $3::pg_catalog.int8
ORDER BY relation
)sql";

bool Suppress(const v1::Plan& plan) { return plan.transform().triggers() != v1::Transform::FIRE; }

absl::Status UpdateColumns(pg::Connection& connection, const Attempt& attempt) {
  for (const v1::Table& table : attempt.plan().tables()) {
    PGC_ASSIGN_OR_RETURN(const std::string update, UpdateColumnsSql(connection, attempt, table));
    if (update.empty()) {
      continue;
    }
    PGC_ASSIGN_OR_RETURN(const std::string condition, ConditionSql(table, attempt.values()));
    PGC_RETURN_IF_ERROR(CheckMapped(connection, table, condition));
    if (const absl::Status done = connection.ExecScript(update); !done.ok()) {
      return Annotate(done, "the new values of " + table.table());
    }
  }
  return absl::OkStatus();
}

absl::Status RunChanges(pg::Connection& connection, const Attempt& attempt) {
  const auto& changes = attempt.plan().transform().changes();
  for (int i = 0; i < changes.size(); ++i) {
    PGC_RETURN_IF_ERROR(
        RunStatement(connection, attempt, changes[i], "transform.changes[" + std::to_string(i) + "]"));
  }
  return absl::OkStatus();
}

absl::Status SavePolicies(pg::Connection& connection,
                          const Attempt& attempt,
                          const std::string& table,
                          const Policies& before,
                          const Policies& after) {
  return connection
      .Exec(kSavePolicies, {attempt.grant().store_id, attempt.grant().ref, std::to_string(attempt.grant().fence),
                            table, before.row_security ? "t" : "f", before.forced ? "t" : "f",
                            TextArray(before.statements), TextArray(after.statements)})
      .status();
}

absl::Status ReplaceAllPolicies(pg::Connection& connection, const Attempt& attempt, v1::TransformResult& result) {
  for (const v1::PolicyReplacement& replacement : attempt.plan().transform().policies()) {
    const TableName table = SplitTable(replacement.table());
    PGC_ASSIGN_OR_RETURN(const Policies before, ReadPolicies(connection, table));
    PGC_ASSIGN_OR_RETURN(const auto statements, RenderAll(replacement.create(), attempt.values()));
    PGC_RETURN_IF_ERROR(ReplacePolicies(connection, table, statements));
    PGC_ASSIGN_OR_RETURN(const Policies after, ReadPolicies(connection, table));
    PGC_RETURN_IF_ERROR(SavePolicies(connection, attempt, replacement.table(), before, after));
    result.add_policies_replaced(replacement.table());
  }
  return absl::OkStatus();
}

absl::Status RestorePolicies(pg::Connection& connection, const Attempt& attempt, int64_t fence) {
  PGC_ASSIGN_OR_RETURN(
      const pg::Result saved,
      connection.Exec(kSavedPolicies, {attempt.grant().store_id, attempt.grant().ref, std::to_string(fence)}));
  for (int row = 0; row < saved.rows(); ++row) {
    const TableName table = SplitTable(saved.Text(row, 0));
    Policies before{saved.Bool(row, 1), saved.Bool(row, 2), TextsOfJson(saved.Text(row, 3))};
    PGC_ASSIGN_OR_RETURN(const Policies now, ReadPolicies(connection, table));
    if (now.statements != TextsOfJson(saved.Text(row, 4)) && !attempt.grant().discard_writes) {
      return MakeError(Verdict::kOperator, "PGC-ROLLBACK-POLICIES",
                       "somebody has changed the policies of " + saved.Text(row, 0) + " since the migration",
                       "put them back as the plan makes them, or run `pgconvoy rollback --project REF "
                       "--discard-writes`");
    }
    PGC_RETURN_IF_ERROR(ReplacePolicies(connection, table, before.statements));
    PGC_RETURN_IF_ERROR(SetRowSecurity(connection, table, before));
  }
  return absl::OkStatus();
}

// Only where the plan stops the writes can a backup be asked to hold what is there now.
absl::Status CheckAgainstBackup(Attempt& attempt) {
  const v1::PhaseResult* const sealed = attempt.Result(Phase::kBackup);
  if (sealed == nullptr || !attempt.plan().has_freeze()) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(const auto now, SourceDigests(attempt));
  const std::string difference =
      FirstDifference({sealed->backup().tables().begin(), sealed->backup().tables().end()}, now);
  if (difference.empty()) {
    return absl::OkStatus();
  }
  return MakeError(Verdict::kPermanent, "PGC-TRANSFORM-DIRTY",
                   "the tables were written to after the backup: " + difference,
                   "make sure that writes are stopped (plan.freeze), then retry the project");
}

class Transformation {
 public:
  Transformation(Attempt& attempt, pg::Connection& connection, v1::TransformResult& result)
      : attempt_(attempt), plan_(attempt.plan()), connection_(connection), result_(result) {}

  absl::Status Run() {
    PGC_RETURN_IF_ERROR(StandStill());
    PGC_RETURN_IF_ERROR(RunSteps(connection_, attempt_, plan_.transform().prepare(), "transform.prepare"));
    PGC_ASSIGN_OR_RETURN(const auto tables, DescribeInPlace(connection_, attempt_));
    PGC_RETURN_IF_ERROR(ReplaceAllPolicies(connection_, attempt_, result_));
    PGC_RETURN_IF_ERROR(OpenTables(connection_, tables, Suppress(plan_)));
    PGC_RETURN_IF_ERROR(ChangeRows(tables));
    PGC_RETURN_IF_ERROR(CloseTables(connection_, tables, Suppress(plan_)));
    PGC_RETURN_IF_ERROR(RunSteps(connection_, attempt_, plan_.transform().finish(), "transform.finish"));
    PGC_ASSIGN_OR_RETURN(const auto sequences, ReadSequences(connection_, *schema_));
    result_.mutable_sequences()->Assign(sequences.begin(), sequences.end());
    PGC_RETURN_IF_ERROR(RecordTransform(connection_, attempt_, result_));
    PGC_FAILPOINT("worker.transform.before_commit");
    return attempt_.reporter().Checkpoint();
  }

 private:
  // Before the first definition changes: the reader could not look at the tables any more.
  absl::Status StandStill() {
    PGC_ASSIGN_OR_RETURN(schema_, attempt_.schemas().Get(attempt_));
    PGC_ASSIGN_OR_RETURN(const auto tables, DescribeInPlace(connection_, attempt_));
    PGC_RETURN_IF_ERROR(LockAgainstWriters(connection_, tables));
    return CheckAgainstBackup(attempt_);
  }

  absl::Status ChangeRows(const std::vector<InPlaceTable>& tables) {
    ChangeLog log(connection_, attempt_, attempt_.grant().fence, tables);
    PGC_RETURN_IF_ERROR(log.LookBefore());
    PGC_RETURN_IF_ERROR(UpdateColumns(connection_, attempt_));
    PGC_RETURN_IF_ERROR(RunChanges(connection_, attempt_));
    if (attempt_.restores_in_place()) {
      PGC_ASSIGN_OR_RETURN(const auto reader, OpenRestored(attempt_));
      PGC_RETURN_IF_ERROR(RestoreRows(connection_, attempt_, tables, *reader));
    }
    // What a deferred constraint or trigger still has to say belongs before the second look.
    PGC_RETURN_IF_ERROR(connection_.ExecScript("SET CONSTRAINTS ALL IMMEDIATE"));
    PGC_ASSIGN_OR_RETURN(const auto changes, log.Record());
    result_.mutable_tables()->Assign(changes.begin(), changes.end());
    PGC_FAILPOINT("worker.transform.changed");
    return absl::OkStatus();
  }

  Attempt& attempt_;
  const v1::Plan& plan_;
  pg::Connection& connection_;
  v1::TransformResult& result_;
  std::shared_ptr<const SourceSchema> schema_;
};

// How the rows come back: those of the log, or all that the migration's own backup holds.
enum class RowsFrom { kLog, kBackup };

absl::Status UndoRows(pg::Connection& connection, Attempt& attempt, const TransformRecord& record, RowsFrom from) {
  PGC_ASSIGN_OR_RETURN(const auto tables, DescribeInPlace(connection, attempt));
  PGC_RETURN_IF_ERROR(LockAgainstWriters(connection, tables));
  PGC_RETURN_IF_ERROR(OpenTables(connection, tables, /*suppress_triggers=*/true));
  ChangeLog log(connection, attempt, record.fence, tables);
  if (from == RowsFrom::kLog) {
    PGC_RETURN_IF_ERROR(log.Restore(attempt.grant().discard_writes));
  } else {
    PGC_ASSIGN_OR_RETURN(const auto reader, OpenBackup(attempt));
    PGC_RETURN_IF_ERROR(log.LookBefore());
    PGC_RETURN_IF_ERROR(RestoreRows(connection, attempt, tables, *reader));
    PGC_RETURN_IF_ERROR(log.KeepDiscarded());
  }
  return CloseTables(connection, tables, /*suppress_triggers=*/true);
}

absl::Status UndoAll(pg::Connection& connection, Attempt& attempt, const TransformRecord& record, RowsFrom from) {
  const v1::Transform& transform = attempt.plan().transform();
  PGC_RETURN_IF_ERROR(UndoSteps(connection, attempt, transform.finish(), "transform.finish"));
  PGC_RETURN_IF_ERROR(UndoRows(connection, attempt, record, from));
  PGC_RETURN_IF_ERROR(RestorePolicies(connection, attempt, record.fence));
  PGC_RETURN_IF_ERROR(UndoSteps(connection, attempt, transform.prepare(), "transform.prepare"));
  PGC_RETURN_IF_ERROR(RecordUndone(connection, attempt, record));
  PGC_FAILPOINT("worker.transform.undo_before_commit");
  return absl::OkStatus();
}

// A row that was written since may not fit the definitions that come back, or refer to a row that goes. Who discards
// what was written gets the tables as the backup has them then.
absl::Status UndoOrFallBack(pg::Connection& connection, Attempt& attempt, const TransformRecord& record) {
  PGC_RETURN_IF_ERROR(connection.ExecScript("SAVEPOINT pgc_undo"));
  const absl::Status undone = UndoAll(connection, attempt, record, RowsFrom::kLog);
  if (!pg::SqlStateOf(undone).starts_with("23")) {
    return undone;
  }
  if (attempt.grant().discard_writes && attempt.Result(Phase::kBackup) != nullptr) {
    PGC_RETURN_IF_ERROR(connection.ExecScript("ROLLBACK TO SAVEPOINT pgc_undo"));
    return UndoAll(connection, attempt, record, RowsFrom::kBackup);
  }
  return MakeError(
      Verdict::kOperator, "PGC-ROLLBACK-WRITES",
      "rows that were written since do not fit what a rollback brings back: " + MessageOf(undone),
      "change them, or run `pgconvoy rollback --project REF --discard-writes` (what stands there is kept "
      "in pgconvoy_transform.discarded)");
}

// $1: a sequence. The column that owns it.
constexpr char kOwnedColumn[] = R"sql(
SELECT n.nspname, c.relname, a.attname
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class c ON c.oid = d.refobjid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid
WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
  AND d.objid = $1::regclass AND d.deptype IN ('a', 'i') AND s.seqincrement > 0
)sql";

// Whether a sequence may stand at `value` again: no row of the column that owns it has a number that would come again.
absl::StatusOr<bool> IsFree(pg::Connection& connection, const v1::SequenceValue& value) {
  PGC_ASSIGN_OR_RETURN(const pg::Result owner, connection.Exec(kOwnedColumn, {value.sequence()}));
  if (owner.rows() != 1) {
    return false;
  }
  const int64_t highest_used = value.is_called() ? value.last_value() : value.last_value() - 1;
  PGC_ASSIGN_OR_RETURN(const pg::Result taken,
                       connection.Exec("SELECT EXISTS (SELECT FROM " + Qualified(owner.Text(0, 0), owner.Text(0, 1)) +
                                           " WHERE " + Ident(owner.Text(0, 2)) + " > $1::pg_catalog.int8)",
                                       {std::to_string(highest_used)}));
  return !taken.Bool(0, 0);
}

// One that others have used since the transformation keeps its place; without a transformation to compare with, one
// whose numbers are in use.
absl::StatusOr<bool> MayGoBack(pg::Connection& connection,
                               const v1::SequenceValue& before,
                               const v1::TransformResult* undone) {
  if (undone != nullptr) {
    PGC_ASSIGN_OR_RETURN(const pg::Result now,
                         connection.Exec("SELECT last_value, is_called FROM " + before.sequence()));
    for (const v1::SequenceValue& after : undone->sequences()) {
      const bool untouched = after.sequence() == before.sequence() && after.last_value() == now.Int(0, 0) &&
                             after.is_called() == now.Bool(0, 1);
      if (untouched) {
        return IsFree(connection, before);
      }
    }
    return false;
  }
  return IsFree(connection, before);
}

// After the commit, because a transaction that rolls back would leave the sequence behind rows that still exist.
// Repeated as often as needed.
absl::Status UndoSequences(pg::Connection& connection, const Attempt& attempt, const v1::TransformResult* undone) {
  PGC_ASSIGN_OR_RETURN(const auto noted, NotedSequences(connection, attempt));
  for (const v1::SequenceValue& before : noted) {
    PGC_ASSIGN_OR_RETURN(const bool back, MayGoBack(connection, before, undone));
    if (back) {
      PGC_RETURN_IF_ERROR(
          connection
              .Exec("SELECT pg_catalog.setval($1::regclass, $2::bigint, $3::boolean)",
                    {before.sequence(), std::to_string(before.last_value()), before.is_called() ? "t" : "f"})
              .status());
    }
  }
  return absl::OkStatus();
}

absl::Status NoteSequencesOnce(Attempt& attempt, pg::Connection& connection) {
  PGC_ASSIGN_OR_RETURN(const auto schema, attempt.schemas().Get(attempt));
  PGC_ASSIGN_OR_RETURN(const auto now, ReadSequences(connection, *schema));
  return InTransformTransaction(connection, attempt,
                                [&](pg::Connection& fenced) { return NoteSequences(fenced, attempt, now); });
}

}  // namespace

absl::StatusOr<v1::PhaseResult> RunTransform(Attempt& attempt) {
  v1::PhaseResult result;
  if (attempt.restores_in_place()) {
    PGC_ASSIGN_OR_RETURN(const auto reader, OpenRestored(attempt));
    PGC_RETURN_IF_ERROR(reader->CheckStored([&attempt] { return attempt.reporter().Checkpoint(); }));
  }
  PGC_ASSIGN_OR_RETURN(PooledSession transformer, attempt.Transformer());
  PGC_RETURN_IF_ERROR(NoteSequencesOnce(attempt, *transformer));
  const absl::Status done =
      InTransformTransaction(*transformer, attempt, [&](pg::Connection& connection) -> absl::Status {
        PGC_ASSIGN_OR_RETURN(const auto record, FindTransform(connection, attempt));
        if (record.has_value()) {
          *result.mutable_transform() = record->result;
          return absl::OkStatus();
        }
        return Transformation(attempt, connection, *result.mutable_transform()).Run();
      });
  // Definitions may have changed with it.
  attempt.schemas().Forget(attempt);
  PGC_RETURN_IF_ERROR(done);
  PGC_FAILPOINT("worker.transform.after_commit");
  return result;
}

absl::StatusOr<v1::PhaseResult> UndoTransform(Attempt& attempt) {
  v1::PhaseResult result;
  v1::UndoResult* const undo = result.mutable_undo();
  PGC_ASSIGN_OR_RETURN(PooledSession transformer, attempt.Transformer());
  const absl::Status done =
      InTransformTransaction(*transformer, attempt, [&](pg::Connection& connection) -> absl::Status {
        PGC_ASSIGN_OR_RETURN(const auto record, FindTransform(connection, attempt));
        if (record.has_value()) {
          PGC_RETURN_IF_ERROR(UndoOrFallBack(connection, attempt, *record));
          undo->add_undone("rows, policies and definitions are as they were");
        }
        return absl::OkStatus();
      });
  attempt.schemas().Forget(attempt);
  PGC_RETURN_IF_ERROR(done);
  PGC_FAILPOINT("worker.transform.undo_after_commit");
  PGC_ASSIGN_OR_RETURN(const auto undone, FindUndoneTransform(*transformer, attempt));
  PGC_RETURN_IF_ERROR(UndoSequences(*transformer, attempt, undone.has_value() ? &undone->result : nullptr));
  return result;
}

}  // namespace pgconvoy::worker
