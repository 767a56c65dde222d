// The statements that write the store, each prepared once per session.
//
// Every statement takes one array per column, so that a group is a handful of round trips however many rows it has. The
// arrays are unnested side by side in a select list: unnest(a, b, …) in FROM would put each of them into a tuplestore.
#pragma once

namespace pgconvoy::store {

struct Statement {
  const char* name;
  const char* sql;
};

// First statement of every commit; the process id shows whether libpqxx has silently connected anew.
inline constexpr Statement kCheckEpoch = {"check_epoch",
                                          "SELECT epoch, pg_backend_pid() FROM pgconvoy.leader FOR SHARE"};

inline constexpr Statement kInsertMigrations = {"insert_migration", R"sql(
INSERT INTO pgconvoy.migration
  (id, name, request_id, plan_json, plan_hash, phases, limit_servers, limit_projects, batch_size, batch_bytes,
   max_attempts, initial_backoff_ms, max_backoff_ms, rollback_on_failure, state, create_time, end_time, counts,
   rows_copied, bytes_copied, estimated_bytes, credentials_of)
SELECT v.id, v.name, v.request_id, v.plan_json, v.plan_hash, v.phases::text[], v.limit_servers::text[],
       v.limit_projects::integer[], v.batch_size, v.batch_bytes, v.max_attempts, v.initial_backoff_ms,
       v.max_backoff_ms, v.rollback_on_failure, v.state, v.create_time, v.end_time,
       v.counts::bigint[], v.rows_copied, v.bytes_copied, v.estimated_bytes, nullif(v.credentials_of, 0)
FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::text[]) AS name, unnest($3::text[]) AS request_id,
             unnest($4::text[]) AS plan_json, unnest($5::text[]) AS plan_hash, unnest($6::text[]) AS phases,
             unnest($7::text[]) AS limit_servers, unnest($8::text[]) AS limit_projects,
             unnest($9::integer[]) AS batch_size, unnest($10::bigint[]) AS batch_bytes,
             unnest($11::integer[]) AS max_attempts, unnest($12::bigint[]) AS initial_backoff_ms,
             unnest($13::bigint[]) AS max_backoff_ms, unnest($14::boolean[]) AS rollback_on_failure,
             unnest($15::text[]) AS state, unnest($16::timestamptz[]) AS create_time,
             unnest($17::timestamptz[]) AS end_time, unnest($18::text[]) AS counts,
             unnest($19::bigint[]) AS rows_copied, unnest($20::bigint[]) AS bytes_copied,
             unnest($21::bigint[]) AS estimated_bytes, unnest($22::bigint[]) AS credentials_of) AS v)sql"};

// What a migration is was fixed when it was submitted; only what happens to it is written again.
inline constexpr Statement kUpdateMigrations = {"update_migration", R"sql(
UPDATE pgconvoy.migration AS m
SET state = v.state, end_time = v.end_time, counts = v.counts::bigint[],
    rows_copied = v.rows_copied, bytes_copied = v.bytes_copied, estimated_bytes = v.estimated_bytes
FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::text[]) AS state, unnest($3::timestamptz[]) AS end_time,
             unnest($4::text[]) AS counts, unnest($5::bigint[]) AS rows_copied,
             unnest($6::bigint[]) AS bytes_copied, unnest($7::bigint[]) AS estimated_bytes) AS v
WHERE m.id = v.id)sql"};

inline constexpr Statement kUpsertBatches = {"upsert_batch", R"sql(
INSERT INTO pgconvoy.batch AS b
  (id, migration_id, state, source_server, target_server, projects, projects_ended, estimated_bytes, worker_id)
SELECT v.id, v.migration_id, v.state, v.source_server, v.target_server, v.projects, v.projects_ended,
       v.estimated_bytes, v.worker_id
FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::bigint[]) AS migration_id, unnest($3::text[]) AS state,
             unnest($4::text[]) AS source_server, unnest($5::text[]) AS target_server,
             unnest($6::bigint[]) AS projects, unnest($7::bigint[]) AS projects_ended,
             unnest($8::bigint[]) AS estimated_bytes, unnest($9::text[]) AS worker_id) AS v
ON CONFLICT (id) DO UPDATE
SET state = EXCLUDED.state, projects = EXCLUDED.projects, projects_ended = EXCLUDED.projects_ended,
    estimated_bytes = EXCLUDED.estimated_bytes, worker_id = EXCLUDED.worker_id)sql"};

inline constexpr Statement kInsertProjects = {"insert_project", R"sql(
INSERT INTO pgconvoy.project
  (id, migration_id, batch_id, ref, attributes, state, direction, phase, fence, attempts, failures, losses,
   done_forward, done_rollback, touched, cancelling, discard_writes, last_seq, worker_id, not_before, error, warnings,
   rows_copied, bytes_copied, estimated_bytes, update_time)
SELECT v.id, v.migration_id, v.batch_id, v.ref, v.attributes, v.state, v.direction, v.phase, v.fence,
       v.attempts, v.failures, v.losses, v.done_forward, v.done_rollback, v.touched, v.cancelling, v.discard_writes,
       v.last_seq, v.worker_id, v.not_before, v.error, v.warnings,
       v.rows_copied, v.bytes_copied, v.estimated_bytes, now()
FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::bigint[]) AS batch_id, unnest($3::text[]) AS state,
             unnest($4::text[]) AS direction, unnest($5::text[]) AS phase, unnest($6::bigint[]) AS fence,
             unnest($7::integer[]) AS attempts, unnest($8::integer[]) AS failures,
             unnest($9::integer[]) AS losses, unnest($10::bigint[]) AS done_forward,
             unnest($11::bigint[]) AS done_rollback, unnest($12::boolean[]) AS touched,
             unnest($13::boolean[]) AS cancelling, unnest($14::boolean[]) AS discard_writes,
             unnest($15::bigint[]) AS last_seq, unnest($16::text[]) AS worker_id,
             unnest($17::timestamptz[]) AS not_before, unnest($18::json[]) AS error,
             unnest($19::json[]) AS warnings, unnest($20::bigint[]) AS rows_copied,
             unnest($21::bigint[]) AS bytes_copied, unnest($22::bigint[]) AS estimated_bytes,
             unnest($23::bigint[]) AS migration_id, unnest($24::text[]) AS ref,
             unnest($25::json[]) AS attributes) AS v)sql"};

inline constexpr Statement kUpdateProjects = {"update_project", R"sql(
UPDATE pgconvoy.project AS p
SET batch_id = v.batch_id, state = v.state, direction = v.direction, phase = v.phase, fence = v.fence,
    attempts = v.attempts, failures = v.failures, losses = v.losses, done_forward = v.done_forward,
    done_rollback = v.done_rollback, touched = v.touched, cancelling = v.cancelling,
    discard_writes = v.discard_writes, last_seq = v.last_seq, worker_id = v.worker_id,
    not_before = v.not_before, error = v.error, warnings = v.warnings,
    rows_copied = v.rows_copied, bytes_copied = v.bytes_copied, estimated_bytes = v.estimated_bytes,
    update_time = now()
FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::bigint[]) AS batch_id, unnest($3::text[]) AS state,
             unnest($4::text[]) AS direction, unnest($5::text[]) AS phase, unnest($6::bigint[]) AS fence,
             unnest($7::integer[]) AS attempts, unnest($8::integer[]) AS failures,
             unnest($9::integer[]) AS losses, unnest($10::bigint[]) AS done_forward,
             unnest($11::bigint[]) AS done_rollback, unnest($12::boolean[]) AS touched,
             unnest($13::boolean[]) AS cancelling, unnest($14::boolean[]) AS discard_writes,
             unnest($15::bigint[]) AS last_seq, unnest($16::text[]) AS worker_id,
             unnest($17::timestamptz[]) AS not_before, unnest($18::json[]) AS error,
             unnest($19::json[]) AS warnings, unnest($20::bigint[]) AS rows_copied,
             unnest($21::bigint[]) AS bytes_copied, unnest($22::bigint[]) AS estimated_bytes) AS v
WHERE p.id = v.id)sql"};

// The same for a project that goes forward without trouble: what else there is to know of it has its usual value. Most
// updates are of this kind and cost half as much this way.
inline constexpr Statement kUpdatePlainProjects = {"update_plain_project", R"sql(
UPDATE pgconvoy.project AS p
SET state = v.state, direction = 'FORWARD', phase = v.phase, fence = v.fence, attempts = v.attempts, failures = 0,
    losses = 0, done_forward = v.done_forward, done_rollback = 0, touched = v.touched, cancelling = false,
    discard_writes = false, last_seq = v.last_seq, worker_id = v.worker_id, not_before = NULL, error = NULL,
    warnings = NULL, rows_copied = v.rows_copied, bytes_copied = v.bytes_copied, update_time = now()
FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::text[]) AS state, unnest($3::text[]) AS phase,
             unnest($4::bigint[]) AS fence, unnest($5::integer[]) AS attempts,
             unnest($6::bigint[]) AS done_forward, unnest($7::boolean[]) AS touched,
             unnest($8::bigint[]) AS last_seq, unnest($9::text[]) AS worker_id,
             unnest($10::bigint[]) AS rows_copied, unnest($11::bigint[]) AS bytes_copied) AS v
WHERE p.id = v.id)sql"};

inline constexpr Statement kEndAttempts = {"end_attempt", R"sql(
UPDATE pgconvoy.attempt AS a
SET end_time = v.end_time, phase = v.phase, outcome = v.outcome, error = v.error
FROM (SELECT unnest($1::bigint[]) AS project_id, unnest($2::bigint[]) AS fence,
             unnest($3::timestamptz[]) AS end_time, unnest($4::text[]) AS phase, unnest($5::text[]) AS outcome,
             unnest($6::json[]) AS error) AS v
WHERE a.project_id = v.project_id AND a.fence = v.fence)sql"};

// For attempts that ended in the group that began them.
inline constexpr Statement kUpsertAttempts = {"upsert_attempt", R"sql(
INSERT INTO pgconvoy.attempt
  (project_id, fence, migration_id, number, direction, worker_id, start_time, end_time, phase, outcome, error)
SELECT v.project_id, v.fence, v.migration_id, v.number, v.direction, v.worker_id, v.start_time, v.end_time, v.phase,
       v.outcome, v.error
FROM (SELECT unnest($1::bigint[]) AS project_id, unnest($2::bigint[]) AS fence,
             unnest($3::bigint[]) AS migration_id, unnest($4::integer[]) AS number,
             unnest($5::text[]) AS direction, unnest($6::text[]) AS worker_id,
             unnest($7::timestamptz[]) AS start_time, unnest($8::timestamptz[]) AS end_time,
             unnest($9::text[]) AS phase, unnest($10::text[]) AS outcome, unnest($11::json[]) AS error) AS v
ON CONFLICT (project_id, fence) DO UPDATE
SET end_time = EXCLUDED.end_time, phase = EXCLUDED.phase, outcome = EXCLUDED.outcome, error = EXCLUDED.error)sql"};

inline constexpr Statement kInsertIntents = {"insert_intent", R"sql(
INSERT INTO pgconvoy.intent (project_id, fence, seq, migration_id, payload)
SELECT v.project_id, v.fence, v.seq, v.migration_id, v.payload
FROM (SELECT unnest($1::bigint[]) AS project_id, unnest($2::bigint[]) AS fence, unnest($3::bigint[]) AS seq,
             unnest($4::bigint[]) AS migration_id, unnest($5::json[]) AS payload) AS v)sql"};

// What becomes of results that exist, no more than one of an attempt.
inline constexpr Statement kMarkResults = {"mark_result", R"sql(
UPDATE pgconvoy.phase_report AS r
SET payload = (SELECT json_agg(CASE WHEN e.value ->> 'phase' = v.phase THEN v.payload ELSE e.value END
                               ORDER BY e.ordinality)
               FROM json_array_elements(r.payload) WITH ORDINALITY AS e)
FROM (SELECT unnest($1::bigint[]) AS project_id, unnest($2::bigint[]) AS fence, unnest($3::text[]) AS direction,
             unnest($4::text[]) AS phase, unnest($5::bigint[]) AS bit, unnest($6::json[]) AS payload) AS v
WHERE r.project_id = v.project_id AND r.fence = v.fence AND r.direction = v.direction AND r.phases & v.bit <> 0)sql"};

inline constexpr Statement kUpsertWorkers = {"upsert_worker", R"sql(
INSERT INTO pgconvoy.worker (id, incarnation, version, host, slots, state, last_seen)
SELECT v.id, v.incarnation, v.version, v.host, v.slots, v.state, v.last_seen
FROM (SELECT unnest($1::text[]) AS id, unnest($2::text[]) AS incarnation, unnest($3::text[]) AS version,
             unnest($4::text[]) AS host, unnest($5::integer[]) AS slots, unnest($6::text[]) AS state,
             unnest($7::timestamptz[]) AS last_seen) AS v
ON CONFLICT (id) DO UPDATE
SET incarnation = EXCLUDED.incarnation, version = EXCLUDED.version, host = EXCLUDED.host, slots = EXCLUDED.slots,
    state = EXCLUDED.state, last_seen = EXCLUDED.last_seen)sql"};

// Last of every commit. Null for what the group has none of: an event, changed counters.
inline constexpr Statement kFinishGroup = {"finish_group", R"sql(
WITH link AS (
  INSERT INTO pgconvoy.event_link (first_seq, last_seq, epoch, previous, digest, row_sums)
  SELECT $1::bigint, $2::bigint, $3::bigint, $4::text, $5::text, decode($10::text, 'hex') WHERE $1::bigint IS NOT NULL)
UPDATE pgconvoy.leader
SET last_event_seq = coalesce($2::bigint, last_event_seq), chain_head = coalesce($5::text, chain_head),
    next_fence = coalesce($6::bigint, next_fence), next_migration = coalesce($7::bigint, next_migration),
    next_batch = coalesce($8::bigint, next_batch), next_project = coalesce($9::bigint, next_project))sql"};

// Rows that are only ever appended come by COPY, which writes a page of them at a time where INSERT writes each.
inline constexpr char kCopyAttempts[] =
    "COPY pgconvoy.attempt (project_id, fence, migration_id, number, direction, worker_id, start_time, phase, "
    "outcome) "
    "FROM STDIN (FORMAT binary)";
inline constexpr char kCopyResults[] =
    "COPY pgconvoy.phase_report (project_id, fence, phases, end_time, direction, payload) "
    "FROM STDIN (FORMAT binary)";
inline constexpr char kCopyEvents[] =
    "COPY pgconvoy.event (seq, event_time, migration_id, project_ref, kind, actor, rule, reason, detail) "
    "FROM STDIN (FORMAT binary)";

inline constexpr Statement kStatements[] = {
    kCheckEpoch,     kInsertMigrations,    kUpdateMigrations, kUpsertBatches,  kInsertProjects,
    kUpdateProjects, kUpdatePlainProjects, kEndAttempts,      kUpsertAttempts, kInsertIntents,
    kMarkResults,    kUpsertWorkers,       kFinishGroup,
};

}  // namespace pgconvoy::store
