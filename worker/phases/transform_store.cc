#include "worker/phases/transform_store.h"

#include <google/protobuf/util/json_util.h>

#include "common/base/error.h"
#include "common/pg/pg_error.h"
#include "worker/phases/control.h"

namespace pgconvoy::worker {
namespace {

// One arbitrary key: whoever makes our tables in a database holds it.
constexpr char kLockSetup[] = "SELECT pg_catalog.pg_advisory_xact_lock(7239840113)";

// transformation: at most one in force per project and migration. change: a row before and after, as the server writes
// a row; row_key is the same of its primary key alone. discarded: what a rollback was told to throw away.
constexpr char kTables[] = R"sql(
CREATE SCHEMA IF NOT EXISTS pgconvoy_transform;
CREATE TABLE IF NOT EXISTS pgconvoy_transform.fence (
  store_id text NOT NULL,
  project text NOT NULL,
  fence bigint NOT NULL,
  raised_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (store_id, project)
);
CREATE TABLE IF NOT EXISTS pgconvoy_transform.transformation (
  store_id text NOT NULL,
  project text NOT NULL,
  migration text NOT NULL,
  fence bigint NOT NULL,
  plan_hash text NOT NULL,
  result jsonb NOT NULL,
  done_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  undone_fence bigint,
  undone_at timestamptz,
  PRIMARY KEY (store_id, project, fence)
);
CREATE UNIQUE INDEX IF NOT EXISTS transformation_in_force
  ON pgconvoy_transform.transformation (store_id, project, migration) WHERE undone_fence IS NULL;
CREATE TABLE IF NOT EXISTS pgconvoy_transform.change (
  store_id text NOT NULL,
  project text NOT NULL,
  fence bigint NOT NULL,
  relation text NOT NULL,
  row_key text NOT NULL,
  before text,
  after text,
  PRIMARY KEY (store_id, project, fence, relation, row_key)
);
CREATE TABLE IF NOT EXISTS pgconvoy_transform.discarded (
  store_id text NOT NULL,
  project text NOT NULL,
  fence bigint NOT NULL,
  relation text NOT NULL,
  row_key text NOT NULL,
  content text,
  PRIMARY KEY (store_id, project, fence, relation, row_key)
);
CREATE TABLE IF NOT EXISTS pgconvoy_transform.sequence (
  store_id text NOT NULL,
  project text NOT NULL,
  migration text NOT NULL,
  sequence text NOT NULL,
  last_value bigint NOT NULL,
  is_called boolean NOT NULL,
  PRIMARY KEY (store_id, project, migration, sequence)
);
CREATE TABLE IF NOT EXISTS pgconvoy_transform.policy (
  store_id text NOT NULL,
  project text NOT NULL,
  fence bigint NOT NULL,
  relation text NOT NULL,
  row_security boolean NOT NULL,
  forced boolean NOT NULL,
  before text[] NOT NULL,
  after text[] NOT NULL,
  PRIMARY KEY (store_id, project, fence, relation)
);
)sql";

constexpr char kRaise[] = R"sql(
INSERT INTO pgconvoy_transform.fence AS f (store_id, project, fence) VALUES ($1, $2, $3::bigint)
ON CONFLICT (store_id, project) DO UPDATE SET fence = excluded.fence, raised_at = pg_catalog.now()
WHERE f.fence <= excluded.fence
RETURNING f.fence
)sql";

constexpr char kLock[] = R"sql(
SELECT fence FROM pgconvoy_transform.fence WHERE store_id = $1 AND project = $2 AND fence = $3::bigint FOR UPDATE
)sql";

// $4: whether one that is undone is looked for.
constexpr char kFind[] = R"sql(
SELECT fence, result FROM pgconvoy_transform.transformation
WHERE store_id = $1 AND project = $2 AND migration = $3 AND (undone_fence IS NOT NULL) = $4::boolean
ORDER BY fence DESC LIMIT 1
)sql";

constexpr char kRecord[] = R"sql(
INSERT INTO pgconvoy_transform.transformation (store_id, project, migration, fence, plan_hash, result)
VALUES ($1, $2, $3, $4::bigint, $5, $6::jsonb)
)sql";

// The first attempt's look counts: what a later one finds may have been moved by a transaction that came to nothing.
constexpr char kNoteSequence[] = R"sql(
INSERT INTO pgconvoy_transform.sequence (store_id, project, migration, sequence, last_value, is_called)
VALUES ($1, $2, $3, $4, $5::bigint, $6::boolean) ON CONFLICT DO NOTHING
)sql";

constexpr char kNotedSequences[] = R"sql(
SELECT sequence, last_value, is_called FROM pgconvoy_transform.sequence
WHERE store_id = $1 AND project = $2 AND migration = $3 ORDER BY sequence
)sql";

constexpr char kUndone[] = R"sql(
UPDATE pgconvoy_transform.transformation SET undone_fence = $4::bigint, undone_at = pg_catalog.now()
WHERE store_id = $1 AND project = $2 AND fence = $3::bigint AND undone_fence IS NULL
)sql";

absl::StatusOr<std::optional<TransformRecord>> Find(pg::Connection& connection, const Attempt& attempt, bool undone) {
  PGC_ASSIGN_OR_RETURN(const pg::Result row,
                       connection.Exec(kFind, {attempt.grant().store_id, attempt.grant().ref,
                                               attempt.grant().migration_id, undone ? "t" : "f"}));
  if (row.rows() == 0) {
    return std::optional<TransformRecord>();
  }
  TransformRecord record;
  record.fence = row.Int(0, 0);
  if (!google::protobuf::util::JsonStringToMessage(row.Text(0, 1), &record.result).ok()) {
    return MakeError(Verdict::kOperator, "PGC-TRANSFORM-RECORD",
                     "the record of the transformation in pgconvoy_transform.transformation is damaged");
  }
  return std::optional(std::move(record));
}

absl::Status LockTransformFence(pg::Connection& connection, const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const pg::Result locked, connection.Exec(kLock, FenceParams(attempt)));
  return locked.rows() == 1 ? absl::OkStatus() : FenceNotHeld(connection, attempt, "pgconvoy_transform.fence");
}

}  // namespace

absl::Status EnsureTransformTables(pg::Connection& connection) {
  constexpr char kNewest[] = "pgconvoy_transform.policy";
  PGC_ASSIGN_OR_RETURN(const bool exists, HasOwnTable(connection, kNewest));
  if (exists) {
    return absl::OkStatus();
  }
  PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(connection));
  PGC_RETURN_IF_ERROR(connection.Exec(kLockSetup).status());
  if (const absl::Status made = connection.ExecScript(kTables); !made.ok()) {
    return pg::SqlStateOf(made) != "42501"
               ? made
               : MakeError(Verdict::kPermanent, "PGC-TRANSFORM-SCHEMA",
                           "the transformer may not make schema pgconvoy_transform in the project's database",
                           "run: GRANT CREATE ON DATABASE <database> TO <transformer>");
  }
  PGC_RETURN_IF_ERROR(HasOwnTable(connection, kNewest).status());
  return transaction->Commit();
}

absl::Status RaiseTransformFence(pg::Connection& connection, const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const pg::Result raised, connection.Exec(kRaise, FenceParams(attempt)));
  return raised.rows() == 1 ? absl::OkStatus() : StaleFence(attempt);
}

absl::Status InTransformTransaction(pg::Connection& connection,
                                    const Attempt& attempt,
                                    const std::function<absl::Status(pg::Connection&)>& body) {
  PGC_ASSIGN_OR_RETURN(auto transaction, pg::Transaction::Begin(connection));
  PGC_RETURN_IF_ERROR(LockTransformFence(connection, attempt));
  PGC_RETURN_IF_ERROR(body(connection));
  return transaction->Commit();
}

absl::StatusOr<std::optional<TransformRecord>> FindTransform(pg::Connection& connection, const Attempt& attempt) {
  return Find(connection, attempt, /*undone=*/false);
}

absl::StatusOr<std::optional<TransformRecord>> FindUndoneTransform(pg::Connection& connection,
                                                                   const Attempt& attempt) {
  return Find(connection, attempt, /*undone=*/true);
}

absl::Status NoteSequences(pg::Connection& connection,
                           const Attempt& attempt,
                           const std::vector<v1::SequenceValue>& values) {
  for (const v1::SequenceValue& value : values) {
    PGC_RETURN_IF_ERROR(connection
                            .Exec(kNoteSequence, {attempt.grant().store_id, attempt.grant().ref,
                                                  attempt.grant().migration_id, value.sequence(),
                                                  std::to_string(value.last_value()), value.is_called() ? "t" : "f"})
                            .status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::SequenceValue>> NotedSequences(pg::Connection& connection, const Attempt& attempt) {
  PGC_ASSIGN_OR_RETURN(const pg::Result rows,
                       connection.Exec(kNotedSequences, {attempt.grant().store_id, attempt.grant().ref,
                                                         attempt.grant().migration_id}));
  std::vector<v1::SequenceValue> values;
  for (int row = 0; row < rows.rows(); ++row) {
    v1::SequenceValue& value = values.emplace_back();
    value.set_sequence(rows.Text(row, 0));
    value.set_last_value(rows.Int(row, 1));
    value.set_is_called(rows.Bool(row, 2));
  }
  return values;
}

absl::Status RecordTransform(pg::Connection& connection, const Attempt& attempt, const v1::TransformResult& result) {
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(result, &json).ok()) {
    return MakeError(Verdict::kPermanent, "PGC-TRANSFORM-RECORD", "the result of the transformation is no JSON");
  }
  return connection
      .Exec(kRecord, {attempt.grant().store_id, attempt.grant().ref, attempt.grant().migration_id,
                      std::to_string(attempt.grant().fence), attempt.grant().plan_hash, json})
      .status();
}

absl::Status RecordUndone(pg::Connection& connection, const Attempt& attempt, const TransformRecord& record) {
  return connection
      .Exec(kUndone, {attempt.grant().store_id, attempt.grant().ref, std::to_string(record.fence),
                      std::to_string(attempt.grant().fence)})
      .status();
}

}  // namespace pgconvoy::worker
