// The statements that write the store, each prepared once per session.
//
// Every statement takes one array per column, so that a group is a handful of round trips however many rows it has.
#pragma once

namespace pgconvoy::store {

#define PGC_TIME(column) "to_timestamp(v." column "::double precision / 1000)"

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
   rows_copied, bytes_copied, estimated_bytes)
SELECT v.id, v.name, v.request_id, v.plan_json, v.plan_hash, v.phases::text[], v.limit_servers::text[],
       v.limit_projects::integer[], v.batch_size, v.batch_bytes, v.max_attempts, v.initial_backoff_ms,
       v.max_backoff_ms, v.rollback_on_failure, v.state, )sql" PGC_TIME("create_time") ", " PGC_TIME(
                                                                        "end_time") R"sql(,
       v.counts::bigint[], v.rows_copied, v.bytes_copied, v.estimated_bytes
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::integer[], $10::bigint[], $11::integer[], $12::bigint[], $13::bigint[], $14::boolean[], $15::text[],
            $16::bigint[], $17::bigint[], $18::text[], $19::bigint[], $20::bigint[], $21::bigint[])
  AS v(id, name, request_id, plan_json, plan_hash, phases, limit_servers, limit_projects, batch_size, batch_bytes,
       max_attempts, initial_backoff_ms, max_backoff_ms, rollback_on_failure, state, create_time, end_time, counts,
       rows_copied, bytes_copied, estimated_bytes))sql"};

// What a migration is was fixed when it was submitted; only what happens to it is written again.
inline constexpr Statement kUpdateMigrations = {"update_migration", R"sql(
UPDATE pgconvoy.migration AS m
SET state = v.state, end_time = )sql" PGC_TIME("end_time") R"sql(, counts = v.counts::bigint[],
    rows_copied = v.rows_copied, bytes_copied = v.bytes_copied, estimated_bytes = v.estimated_bytes
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
  AS v(id, state, end_time, counts, rows_copied, bytes_copied, estimated_bytes)
WHERE m.id = v.id)sql"};

inline constexpr Statement kUpsertBatches = {"upsert_batch", R"sql(
INSERT INTO pgconvoy.batch AS b
  (id, migration_id, state, source_server, target_server, projects, projects_ended, estimated_bytes, worker_id)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::text[])
ON CONFLICT (id) DO UPDATE
SET state = EXCLUDED.state, projects = EXCLUDED.projects, projects_ended = EXCLUDED.projects_ended,
    estimated_bytes = EXCLUDED.estimated_bytes, worker_id = EXCLUDED.worker_id)sql"};

inline constexpr Statement kInsertProjects = {"insert_project", R"sql(
INSERT INTO pgconvoy.project
  (id, migration_id, batch_id, ref, attributes, state, direction, phase, fence, attempts, failures, losses,
   done_forward, done_rollback, touched, cancelling, discard_writes, last_seq, worker_id, not_before, error, warnings,
   rows_copied, bytes_copied, estimated_bytes, update_time)
SELECT v.id, v.migration_id, v.batch_id, v.ref, v.attributes::json, v.state, v.direction, v.phase, v.fence,
       v.attempts, v.failures, v.losses, v.done_forward, v.done_rollback, v.touched, v.cancelling, v.discard_writes,
       v.last_seq, v.worker_id, )sql" PGC_TIME("not_before") R"sql(, v.error::json, v.warnings::json,
       v.rows_copied, v.bytes_copied, v.estimated_bytes, now()
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::integer[],
            $8::integer[], $9::integer[], $10::bigint[], $11::bigint[], $12::boolean[], $13::boolean[],
            $14::boolean[], $15::bigint[], $16::text[], $17::bigint[], $18::text[], $19::text[], $20::bigint[],
            $21::bigint[], $22::bigint[], $23::bigint[], $24::text[], $25::text[])
  AS v(id, batch_id, state, direction, phase, fence, attempts, failures, losses, done_forward, done_rollback, touched,
       cancelling, discard_writes, last_seq, worker_id, not_before, error, warnings, rows_copied, bytes_copied,
       estimated_bytes, migration_id, ref, attributes))sql"};

inline constexpr Statement kUpdateProjects = {"update_project", R"sql(
UPDATE pgconvoy.project AS p
SET batch_id = v.batch_id, state = v.state, direction = v.direction, phase = v.phase, fence = v.fence,
    attempts = v.attempts, failures = v.failures, losses = v.losses, done_forward = v.done_forward,
    done_rollback = v.done_rollback, touched = v.touched, cancelling = v.cancelling,
    discard_writes = v.discard_writes, last_seq = v.last_seq, worker_id = v.worker_id,
    not_before = )sql" PGC_TIME("not_before") R"sql(, error = v.error::json, warnings = v.warnings::json,
    rows_copied = v.rows_copied, bytes_copied = v.bytes_copied, estimated_bytes = v.estimated_bytes,
    update_time = now()
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::integer[],
            $8::integer[], $9::integer[], $10::bigint[], $11::bigint[], $12::boolean[], $13::boolean[],
            $14::boolean[], $15::bigint[], $16::text[], $17::bigint[], $18::text[], $19::text[], $20::bigint[],
            $21::bigint[], $22::bigint[])
  AS v(id, batch_id, state, direction, phase, fence, attempts, failures, losses, done_forward, done_rollback, touched,
       cancelling, discard_writes, last_seq, worker_id, not_before, error, warnings, rows_copied, bytes_copied,
       estimated_bytes)
WHERE p.id = v.id)sql"};

inline constexpr Statement kUpsertAttempts = {
    "upsert_attempt", R"sql(
INSERT INTO pgconvoy.attempt
  (project_id, fence, migration_id, number, direction, worker_id, start_time, end_time, phase, outcome, error)
SELECT v.project_id, v.fence, v.migration_id, v.number, v.direction, v.worker_id, )sql" PGC_TIME(
                          "start_time") ", " PGC_TIME("end_time") R"sql(, v.phase, v.outcome, v.error::json
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::text[], $6::text[], $7::bigint[],
            $8::bigint[], $9::text[], $10::text[], $11::text[])
  AS v(project_id, fence, migration_id, number, direction, worker_id, start_time, end_time, phase, outcome, error)
ON CONFLICT (project_id, fence) DO UPDATE
SET end_time = EXCLUDED.end_time, phase = EXCLUDED.phase, outcome = EXCLUDED.outcome, error = EXCLUDED.error)sql"};

inline constexpr Statement kInsertIntents = {"insert_intent", R"sql(
INSERT INTO pgconvoy.intent (project_id, fence, seq, migration_id, payload)
SELECT v.project_id, v.fence, v.seq, v.migration_id, v.payload::json
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[])
  AS v(project_id, fence, seq, migration_id, payload))sql"};

// A phase may be done twice under one fence only after a retry inside the worker; the later result counts.
inline constexpr Statement kUpsertResults = {"upsert_result", R"sql(
INSERT INTO pgconvoy.phase_result (project_id, direction, phase, fence, migration_id, end_time, payload)
SELECT v.project_id, v.direction, v.phase, v.fence, v.migration_id, )sql" PGC_TIME("end_time") R"sql(, v.payload::json
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[])
  AS v(project_id, direction, phase, fence, migration_id, end_time, payload)
ON CONFLICT (project_id, direction, phase, fence) DO UPDATE
SET end_time = EXCLUDED.end_time, payload = EXCLUDED.payload)sql"};

inline constexpr Statement kUpsertWorkers = {"upsert_worker", R"sql(
INSERT INTO pgconvoy.worker (id, incarnation, version, host, slots, state, last_seen)
SELECT v.id, v.incarnation, v.version, v.host, v.slots, v.state, )sql" PGC_TIME("last_seen") R"sql(
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[], $7::bigint[])
  AS v(id, incarnation, version, host, slots, state, last_seen)
ON CONFLICT (id) DO UPDATE
SET incarnation = EXCLUDED.incarnation, version = EXCLUDED.version, host = EXCLUDED.host, slots = EXCLUDED.slots,
    state = EXCLUDED.state, last_seen = EXCLUDED.last_seen)sql"};

inline constexpr Statement kInsertEvents = {"insert_event", R"sql(
INSERT INTO pgconvoy.event (seq, event_time, migration_id, project_ref, kind, actor, rule, reason, detail)
SELECT v.seq, )sql" PGC_TIME("event_time") R"sql(, v.migration_id, v.project_ref, v.kind, v.actor, v.rule, v.reason,
       v.detail::json
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[])
  AS v(seq, event_time, migration_id, project_ref, kind, actor, rule, reason, detail))sql"};

inline constexpr Statement kInsertLink = {"insert_link", R"sql(
INSERT INTO pgconvoy.event_link (first_seq, last_seq, epoch, previous, digest) VALUES ($1, $2, $3, $4, $5))sql"};

inline constexpr Statement kSetChainHead = {"set_chain_head",
                                            "UPDATE pgconvoy.leader SET last_event_seq = $1, chain_head = $2"};

inline constexpr Statement kSetCounters = {"set_counters", R"sql(
UPDATE pgconvoy.leader SET next_fence = $1, next_migration = $2, next_batch = $3, next_project = $4)sql"};

inline constexpr Statement kStatements[] = {
    kCheckEpoch,     kInsertMigrations, kUpdateMigrations, kUpsertBatches, kInsertProjects,
    kUpdateProjects, kUpsertAttempts,   kInsertIntents,    kUpsertResults, kUpsertWorkers,
    kInsertEvents,   kInsertLink,       kSetChainHead,     kSetCounters,
};

#undef PGC_TIME

}  // namespace pgconvoy::store
