-- The status store. Only the leading coordinator writes, always in a transaction whose first statement locks the
-- leader row FOR SHARE and checks its epoch. No foreign keys: one writer, which emits whole rows in order, and a
-- check per row would cost more than the row.
--
-- Tables whose rows change often leave room on each page and carry no index on what changes, so that an update stays
-- on its page and touches no index.

CREATE TABLE pgconvoy.leader (
  singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  store_id        uuid NOT NULL,
  epoch           bigint NOT NULL,
  holder          text NOT NULL,
  lead_time       timestamptz NOT NULL,
  next_fence      bigint NOT NULL,
  next_migration  bigint NOT NULL,
  next_batch      bigint NOT NULL,
  next_project    bigint NOT NULL,
  last_event_seq  bigint NOT NULL,
  chain_head      text NOT NULL
) WITH (fillfactor = 20);
COMMENT ON TABLE pgconvoy.leader IS 'Who leads, and the counters that must never go back. One row.';
COMMENT ON COLUMN pgconvoy.leader.singleton IS 'Always true; allows one row only. Set when the store is made.';
COMMENT ON COLUMN pgconvoy.leader.store_id IS 'Names this store in every fence row on every server. Set when the store is made, never changed.';
COMMENT ON COLUMN pgconvoy.leader.epoch IS 'Number of the term. Raised by a coordinator when it takes the lead; a write under another epoch is refused.';
COMMENT ON COLUMN pgconvoy.leader.holder IS 'Host and process id of the leader. Set by a coordinator when it takes the lead.';
COMMENT ON COLUMN pgconvoy.leader.lead_time IS 'When the present term began. Set by a coordinator when it takes the lead.';
COMMENT ON COLUMN pgconvoy.leader.next_fence IS 'Next fence to give out, over all projects. Raised by the leader with every grant.';
COMMENT ON COLUMN pgconvoy.leader.next_migration IS 'Next migration id. Raised by the leader with every submission.';
COMMENT ON COLUMN pgconvoy.leader.next_batch IS 'Next batch id. Raised by the leader whenever it makes batches.';
COMMENT ON COLUMN pgconvoy.leader.next_project IS 'Next project id. Raised by the leader with every submission.';
COMMENT ON COLUMN pgconvoy.leader.last_event_seq IS 'Sequence number of the newest event. Raised by the leader with every event.';
COMMENT ON COLUMN pgconvoy.leader.chain_head IS 'Digest of the newest event link, hex; empty before the first. Set by the leader with every link.';

INSERT INTO pgconvoy.leader
VALUES (true, gen_random_uuid(), 0, '', now(), 1, 1, 1, 1, 0, '');

CREATE TABLE pgconvoy.migration (
  id                  bigint PRIMARY KEY,
  name                text NOT NULL,
  request_id          text NOT NULL,
  plan_json           text NOT NULL,
  plan_hash           text NOT NULL,
  phases              text[] NOT NULL,
  limit_servers       text[] NOT NULL,
  limit_projects      integer[] NOT NULL,
  batch_size          integer NOT NULL,
  batch_bytes         bigint NOT NULL,
  max_attempts        integer NOT NULL,
  initial_backoff_ms  bigint NOT NULL,
  max_backoff_ms      bigint NOT NULL,
  rollback_on_failure boolean NOT NULL,
  state               text NOT NULL,
  create_time         timestamptz NOT NULL,
  end_time            timestamptz,
  counts              bigint[] NOT NULL,
  rows_copied         bigint NOT NULL,
  bytes_copied        bigint NOT NULL,
  estimated_bytes     bigint NOT NULL
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX migration_request_id ON pgconvoy.migration (request_id);
COMMENT ON TABLE pgconvoy.migration IS 'A plan applied to a list of projects. Written when it is submitted; the state columns whenever they change.';
COMMENT ON COLUMN pgconvoy.migration.id IS 'Assigned by the leader when the submission is complete.';
COMMENT ON COLUMN pgconvoy.migration.name IS 'From the plan, at submission.';
COMMENT ON COLUMN pgconvoy.migration.request_id IS 'UUID chosen by whoever submits; a second submission with it finds this row.';
COMMENT ON COLUMN pgconvoy.migration.plan_json IS 'The plan as canonical JSON, at submission; holds references to secrets, never a secret.';
COMMENT ON COLUMN pgconvoy.migration.plan_hash IS 'SHA-256 of plan_json, hex, at submission.';
COMMENT ON COLUMN pgconvoy.migration.phases IS 'Forward phases that apply, in order; fixed at submission.';
COMMENT ON COLUMN pgconvoy.migration.limit_servers IS 'Servers of the plan, at submission; the same positions as limit_projects.';
COMMENT ON COLUMN pgconvoy.migration.limit_projects IS 'Projects that may be in flight on each of limit_servers, at submission.';
COMMENT ON COLUMN pgconvoy.migration.batch_size IS 'Most projects in one batch, at submission.';
COMMENT ON COLUMN pgconvoy.migration.batch_bytes IS 'Estimated bytes after which a batch is closed, at submission.';
COMMENT ON COLUMN pgconvoy.migration.max_attempts IS 'Failed attempts of one direction before a project needs an operator, at submission.';
COMMENT ON COLUMN pgconvoy.migration.initial_backoff_ms IS 'First pause after a transient error, at submission.';
COMMENT ON COLUMN pgconvoy.migration.max_backoff_ms IS 'Longest pause after a transient error, at submission.';
COMMENT ON COLUMN pgconvoy.migration.rollback_on_failure IS 'Whether an error of a project rolls it back by itself, at submission.';
COMMENT ON COLUMN pgconvoy.migration.state IS 'MigrationState without prefix; set by the leader on every change.';
COMMENT ON COLUMN pgconvoy.migration.create_time IS 'When the submission was complete; set by the leader.';
COMMENT ON COLUMN pgconvoy.migration.end_time IS 'When the last project ended; cleared by retry and rollback. Set by the leader.';
COMMENT ON COLUMN pgconvoy.migration.counts IS 'Projects by state; the position is the number of ProjectState, the first is unused. Set by the leader.';
COMMENT ON COLUMN pgconvoy.migration.rows_copied IS 'Sum over the projects; set by the leader.';
COMMENT ON COLUMN pgconvoy.migration.bytes_copied IS 'Sum over the projects; set by the leader.';
COMMENT ON COLUMN pgconvoy.migration.estimated_bytes IS 'Sum over the projects, at submission.';

CREATE TABLE pgconvoy.batch (
  id              bigint PRIMARY KEY,
  migration_id    bigint NOT NULL,
  state           text NOT NULL,
  source_server   text NOT NULL,
  target_server   text NOT NULL,
  projects        bigint NOT NULL,
  projects_ended  bigint NOT NULL,
  estimated_bytes bigint NOT NULL,
  worker_id       text
) WITH (fillfactor = 70);
CREATE INDEX batch_migration ON pgconvoy.batch (migration_id, id);
COMMENT ON TABLE pgconvoy.batch IS 'A shard of a migration that one worker holds. Made by the leader at submission.';
COMMENT ON COLUMN pgconvoy.batch.id IS 'Assigned by the leader when the batch is made.';
COMMENT ON COLUMN pgconvoy.batch.migration_id IS 'The migration it is a shard of; set when it is made.';
COMMENT ON COLUMN pgconvoy.batch.state IS 'BatchState without prefix; set by the leader on every change.';
COMMENT ON COLUMN pgconvoy.batch.source_server IS 'Server of the plan that its projects leave; set when it is made.';
COMMENT ON COLUMN pgconvoy.batch.target_server IS 'Server of the plan that its projects go to; set when it is made.';
COMMENT ON COLUMN pgconvoy.batch.projects IS 'How many projects it has; set when it is made.';
COMMENT ON COLUMN pgconvoy.batch.projects_ended IS 'How many of them have ended; set by the leader on every change.';
COMMENT ON COLUMN pgconvoy.batch.estimated_bytes IS 'Sum over its projects; set when it is made.';
COMMENT ON COLUMN pgconvoy.batch.worker_id IS 'Who holds it; null unless LEASED. Set by the leader with grant and release.';

CREATE TABLE pgconvoy.project (
  id              bigint PRIMARY KEY,
  migration_id    bigint NOT NULL,
  batch_id        bigint NOT NULL,
  ref             text NOT NULL,
  attributes      json,
  state           text NOT NULL,
  direction       text NOT NULL,
  phase           text NOT NULL,
  fence           bigint NOT NULL,
  attempts        integer NOT NULL,
  failures        integer NOT NULL,
  losses          integer NOT NULL,
  done_forward    bigint NOT NULL,
  done_rollback   bigint NOT NULL,
  touched         boolean NOT NULL,
  cancelling      boolean NOT NULL,
  discard_writes  boolean NOT NULL,
  last_seq        bigint NOT NULL,
  worker_id       text,
  not_before      timestamptz,
  error           json,
  warnings        json,
  rows_copied     bigint NOT NULL,
  bytes_copied    bigint NOT NULL,
  estimated_bytes bigint NOT NULL,
  update_time     timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX project_ref ON pgconvoy.project (migration_id, ref);
COMMENT ON TABLE pgconvoy.project IS 'One tenant in one migration. Inserted at submission, updated by the leader with every report and decision.';
COMMENT ON COLUMN pgconvoy.project.id IS 'Assigned by the leader at submission.';
COMMENT ON COLUMN pgconvoy.project.migration_id IS 'The migration it belongs to; set at submission.';
COMMENT ON COLUMN pgconvoy.project.batch_id IS 'The batch it is in; set by the leader when batches are made.';
COMMENT ON COLUMN pgconvoy.project.ref IS 'The name people use; set at submission.';
COMMENT ON COLUMN pgconvoy.project.attributes IS 'Object of strings from the registry or the CSV; null when there are none. Set at submission.';
COMMENT ON COLUMN pgconvoy.project.state IS 'ProjectState without prefix; set by the leader on every change.';
COMMENT ON COLUMN pgconvoy.project.direction IS 'FORWARD or ROLLBACK; set by the leader when the project turns.';
COMMENT ON COLUMN pgconvoy.project.phase IS 'Last phase begun, FENCE before the first; set by the leader when a worker reports it.';
COMMENT ON COLUMN pgconvoy.project.fence IS 'Fence of the latest attempt, 0 before the first; set by the leader with every grant.';
COMMENT ON COLUMN pgconvoy.project.attempts IS 'Attempts begun in both directions; raised by the leader with every grant.';
COMMENT ON COLUMN pgconvoy.project.failures IS 'Failed attempts of the present direction; raised by the leader, cleared by retry and by the turn to rollback.';
COMMENT ON COLUMN pgconvoy.project.losses IS 'Attempts whose lease was lost; raised and cleared like failures.';
COMMENT ON COLUMN pgconvoy.project.done_forward IS 'Bit set of forward phases with a durable result; bit number is the number of Phase. Set by the leader.';
COMMENT ON COLUMN pgconvoy.project.done_rollback IS 'The same for the rollback; cleared by the leader when a rollback begins anew.';
COMMENT ON COLUMN pgconvoy.project.touched IS
  'There may be something to undo. Set by the leader with the first intent, result past PRE_VALIDATION or lost lease.';
COMMENT ON COLUMN pgconvoy.project.cancelling IS 'Cancel was asked for and its rollback has not ended yet. Set by the leader.';
COMMENT ON COLUMN pgconvoy.project.discard_writes IS 'The operator lets the rollback discard what the tenant wrote. Set by the leader on that command.';
COMMENT ON COLUMN pgconvoy.project.last_seq IS 'Highest report sequence number recorded under fence; set by the leader with every report.';
COMMENT ON COLUMN pgconvoy.project.worker_id IS 'Who holds it; null unless RUNNING. Set by the leader with grant and end of attempt.';
COMMENT ON COLUMN pgconvoy.project.not_before IS 'It is not granted before; null when there is no backoff. Set by the leader after a transient error.';
COMMENT ON COLUMN pgconvoy.project.error IS 'Latest error while it matters: verdict, code, message, remedy. Set and cleared by the leader.';
COMMENT ON COLUMN pgconvoy.project.warnings IS 'Array of texts that its phases reported; null when there are none. Set by the leader.';
COMMENT ON COLUMN pgconvoy.project.rows_copied IS 'Rows loaded by the latest COPY; set by the leader from progress and result.';
COMMENT ON COLUMN pgconvoy.project.bytes_copied IS 'COPY text bytes loaded by the latest COPY; set by the leader from progress and result.';
COMMENT ON COLUMN pgconvoy.project.estimated_bytes IS 'Size from the registry or the CSV, 0 when unknown; set at submission.';
COMMENT ON COLUMN pgconvoy.project.update_time IS 'When this row was last written, by the store''s clock.';

CREATE TABLE pgconvoy.attempt (
  project_id   bigint NOT NULL,
  fence        bigint NOT NULL,
  migration_id bigint NOT NULL,
  number       integer NOT NULL,
  direction    text NOT NULL,
  worker_id    text NOT NULL,
  start_time   timestamptz NOT NULL,
  end_time     timestamptz,
  phase        text NOT NULL,
  outcome      text NOT NULL,
  error        json,
  PRIMARY KEY (project_id, fence)
) WITH (fillfactor = 70);
COMMENT ON TABLE pgconvoy.attempt IS 'One try of one project under one fence. Inserted by the leader with the grant, final once ended.';
COMMENT ON COLUMN pgconvoy.attempt.project_id IS 'Whose try it is; set with the grant.';
COMMENT ON COLUMN pgconvoy.attempt.fence IS 'Its fence, unique in the store; set with the grant.';
COMMENT ON COLUMN pgconvoy.attempt.migration_id IS 'The migration of the project; set with the grant.';
COMMENT ON COLUMN pgconvoy.attempt.number IS 'From 1 per project; set with the grant.';
COMMENT ON COLUMN pgconvoy.attempt.direction IS 'FORWARD or ROLLBACK; set with the grant.';
COMMENT ON COLUMN pgconvoy.attempt.worker_id IS 'Who was granted it; set with the grant.';
COMMENT ON COLUMN pgconvoy.attempt.start_time IS 'When it was granted; set by the leader.';
COMMENT ON COLUMN pgconvoy.attempt.end_time IS 'When it ended; null while it runs. Set by the leader.';
COMMENT ON COLUMN pgconvoy.attempt.phase IS 'Last phase begun; set by the leader when a worker reports it.';
COMMENT ON COLUMN pgconvoy.attempt.outcome IS 'Empty while it runs, then succeeded, failed, lost or abandoned. Set by the leader when it ends.';
COMMENT ON COLUMN pgconvoy.attempt.error IS 'What ended it: verdict, code, message, remedy; null when nothing did. Set by the leader when it ends.';

CREATE TABLE pgconvoy.intent (
  project_id   bigint NOT NULL,
  fence        bigint NOT NULL,
  seq          bigint NOT NULL,
  migration_id bigint NOT NULL,
  payload      json NOT NULL,
  PRIMARY KEY (project_id, fence, seq)
);
COMMENT ON TABLE pgconvoy.intent IS 'What an attempt was about to create outside the store, durable before the act. Never changed.';
COMMENT ON COLUMN pgconvoy.intent.project_id IS 'Whose attempt; set when the worker reports it.';
COMMENT ON COLUMN pgconvoy.intent.fence IS 'Fence of the attempt; set when the worker reports it.';
COMMENT ON COLUMN pgconvoy.intent.seq IS 'Sequence number of the report; orders the intents of an attempt.';
COMMENT ON COLUMN pgconvoy.intent.migration_id IS 'The migration of the project; set when the worker reports it.';
COMMENT ON COLUMN pgconvoy.intent.payload IS 'pgconvoy.v1.Intent; passwords in it are sealed. Set when the worker reports it.';

CREATE TABLE pgconvoy.phase_result (
  project_id   bigint NOT NULL,
  direction    text NOT NULL,
  phase        text NOT NULL,
  fence        bigint NOT NULL,
  migration_id bigint NOT NULL,
  end_time     timestamptz NOT NULL,
  payload      json NOT NULL,
  PRIMARY KEY (project_id, direction, phase, fence)
);
CREATE INDEX phase_result_backup ON pgconvoy.phase_result (fence) WHERE phase = 'BACKUP' AND direction = 'FORWARD';
COMMENT ON TABLE pgconvoy.phase_result IS 'What a phase left behind. Inserted by the leader when a worker reports the phase done; kept for every fence.';
COMMENT ON COLUMN pgconvoy.phase_result.project_id IS 'Whose phase; set with the report.';
COMMENT ON COLUMN pgconvoy.phase_result.direction IS 'FORWARD or ROLLBACK; set with the report.';
COMMENT ON COLUMN pgconvoy.phase_result.phase IS 'Phase that is done; set with the report.';
COMMENT ON COLUMN pgconvoy.phase_result.fence IS 'Fence of the attempt that finished it; set with the report.';
COMMENT ON COLUMN pgconvoy.phase_result.migration_id IS 'The migration of the project; set with the report.';
COMMENT ON COLUMN pgconvoy.phase_result.end_time IS 'When the report was recorded; set by the leader.';
COMMENT ON COLUMN pgconvoy.phase_result.payload IS 'pgconvoy.v1.PhaseResult; passwords in it are sealed. Set with the report.';

CREATE TABLE pgconvoy.worker (
  id          text PRIMARY KEY,
  incarnation text NOT NULL,
  version     text NOT NULL,
  host        text NOT NULL,
  slots       integer NOT NULL,
  state       text NOT NULL,
  last_seen   timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE pgconvoy.worker IS 'Workers that have ever said Hello. Written by the leader.';
COMMENT ON COLUMN pgconvoy.worker.id IS 'Chosen by the worker; set with its first Hello.';
COMMENT ON COLUMN pgconvoy.worker.incarnation IS 'Random, one per process; set with every Hello.';
COMMENT ON COLUMN pgconvoy.worker.version IS 'Version it runs; set with every Hello.';
COMMENT ON COLUMN pgconvoy.worker.host IS 'Host it runs on; set with every Hello.';
COMMENT ON COLUMN pgconvoy.worker.slots IS 'Projects it runs at once; set with every Hello.';
COMMENT ON COLUMN pgconvoy.worker.state IS 'connected, draining, drained or lost; set by the leader on every change.';
COMMENT ON COLUMN pgconvoy.worker.last_seen IS 'When it was last heard, as of the last write of this row; set by the leader.';

CREATE TABLE pgconvoy.event (
  seq          bigint PRIMARY KEY,
  event_time   timestamptz NOT NULL,
  migration_id bigint,
  project_ref  text NOT NULL,
  kind         text NOT NULL,
  actor        text NOT NULL,
  rule         text NOT NULL,
  reason       text NOT NULL,
  detail       json
);
CREATE INDEX event_project ON pgconvoy.event (migration_id, project_ref, seq);
COMMENT ON TABLE pgconvoy.event IS 'Everything that happened, with actor and reason. Appended by the leader, never changed.';
COMMENT ON COLUMN pgconvoy.event.seq IS 'Without gaps, in the order of happening; assigned by the leader at commit.';
COMMENT ON COLUMN pgconvoy.event.event_time IS 'When it happened, by the coordinator''s clock.';
COMMENT ON COLUMN pgconvoy.event.migration_id IS 'The migration it concerns; null for events of the coordinator itself.';
COMMENT ON COLUMN pgconvoy.event.project_ref IS 'The project it concerns; empty when it concerns none.';
COMMENT ON COLUMN pgconvoy.event.kind IS 'What happened, for example PHASE_DONE; set by the leader.';
COMMENT ON COLUMN pgconvoy.event.actor IS 'Who did it: coordinator, worker:<id> or operator:<name>. Set by the leader.';
COMMENT ON COLUMN pgconvoy.event.rule IS 'Id of the rule that decided it; empty when none did. Set by the leader.';
COMMENT ON COLUMN pgconvoy.event.reason IS 'Why, in words; set by the leader.';
COMMENT ON COLUMN pgconvoy.event.detail IS 'Object with the details of the kind; null when there are none. Set by the leader.';

CREATE TABLE pgconvoy.event_link (
  first_seq bigint PRIMARY KEY,
  last_seq  bigint NOT NULL,
  epoch     bigint NOT NULL,
  previous  text NOT NULL,
  digest    text NOT NULL
);
COMMENT ON TABLE pgconvoy.event_link IS 'Hash chain over the events: one link per commit group. Appended by the leader, never changed.';
COMMENT ON COLUMN pgconvoy.event_link.first_seq IS 'First event of the group; set with the group.';
COMMENT ON COLUMN pgconvoy.event_link.last_seq IS 'Last event of the group; set with the group.';
COMMENT ON COLUMN pgconvoy.event_link.epoch IS 'Term under which the group was committed; set with the group.';
COMMENT ON COLUMN pgconvoy.event_link.previous IS 'Digest of the link before, empty for the first; set with the group.';
COMMENT ON COLUMN pgconvoy.event_link.digest IS 'SHA-256, hex, over previous, epoch and every column of the group''s events; set with the group.';
