-- Results that come together share a row and its place in the index: they were the half of what a project writes. What
-- asked for results finds them in views of the same columns.
ALTER TABLE pgconvoy.phase_result RENAME TO former_phase_result;

CREATE TABLE pgconvoy.phase_report (
  project_id bigint NOT NULL,
  fence      bigint NOT NULL,
  phases     bigint NOT NULL,
  end_time   timestamptz NOT NULL,
  direction  text NOT NULL,
  payload    json NOT NULL,
  PRIMARY KEY (project_id, fence, phases)
);
-- 64 is the bit of BACKUP.
CREATE INDEX phase_report_backup ON pgconvoy.phase_report (fence) WHERE phases & 64 <> 0 AND direction = 'FORWARD';
COMMENT ON TABLE pgconvoy.phase_report IS 'What phases left behind whose end came to be known together. Inserted by the leader when a worker reports them done; kept for every fence.';
COMMENT ON COLUMN pgconvoy.phase_report.project_id IS 'Whose phases; set with the report.';
COMMENT ON COLUMN pgconvoy.phase_report.fence IS 'Fence of the attempt that finished them; set with the report.';
COMMENT ON COLUMN pgconvoy.phase_report.phases IS 'Bit set of the phases that are done; bit number is the number of Phase. Set with the report.';
COMMENT ON COLUMN pgconvoy.phase_report.end_time IS 'When the report was recorded; set by the leader.';
COMMENT ON COLUMN pgconvoy.phase_report.direction IS 'FORWARD or ROLLBACK; set with the report.';
COMMENT ON COLUMN pgconvoy.phase_report.payload IS 'Array of pgconvoy.v1.PhaseResult in the order in which they ended; a string in the place of one that says no more than its phase. Passwords are sealed. Set with the report; a mark is added when a backup is pruned.';

INSERT INTO pgconvoy.phase_report (project_id, fence, phases, end_time, direction, payload)
SELECT project_id, fence,
       1::bigint << array_position('{FENCE,PRE_VALIDATION,FREEZE,CREDENTIALS,PROVISION,BACKUP,COPY,TRANSFORM,VERIFY,CUTOVER,POST_VALIDATION,CLEANUP}'::text[], phase),
       end_time, direction, json_build_array(payload)
FROM pgconvoy.former_phase_result;
-- With views that others have made on it; deploy/sql/migration_views.sql makes its own again.
DROP TABLE pgconvoy.former_phase_result CASCADE;

CREATE VIEW pgconvoy.phase_result AS
SELECT r.project_id, r.direction, coalesce(e.value ->> 'phase', e.value #>> '{}') AS phase, r.fence, r.end_time,
       e.ordinality AS place,
       CASE json_typeof(e.value)
         WHEN 'string' THEN json_build_object('phase', e.value, 'direction', r.direction, 'fence', r.fence::text)
         ELSE e.value
       END AS payload
FROM pgconvoy.phase_report AS r CROSS JOIN LATERAL json_array_elements(r.payload) WITH ORDINALITY AS e;
COMMENT ON VIEW pgconvoy.phase_result IS 'What each phase left behind. Results of one fence and end_time came together; place orders them.';

CREATE VIEW pgconvoy.backup_result AS
SELECT r.project_id, r.fence, r.end_time, e.value AS payload
FROM pgconvoy.phase_report AS r CROSS JOIN LATERAL json_array_elements(r.payload) AS e
WHERE r.phases & 64 <> 0 AND r.direction = 'FORWARD' AND e.value ->> 'phase' = 'BACKUP';
COMMENT ON VIEW pgconvoy.backup_result IS 'The BACKUP results of forward attempts, found by their fence.';
