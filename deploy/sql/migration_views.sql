-- Four schemas over the status store for those who are used to asking a migration in SQL: migration_tracking,
-- migration_backup, migration_validation and migration_control. Everything in them reads; whatever changes something is
-- a command of pgconvoy, and the function that stands in its place says which.
--
-- Apply it with psql to the store's database, as often as you like:
--   psql "$STORE" -v ON_ERROR_STOP=1 -f migration_views.sql
-- To remove it: DROP SCHEMA migration_control, migration_validation, migration_backup, migration_tracking CASCADE;
--
-- What was called a batch there is a migration here, and its id is what `pgconvoy get migrations` shows. The rows
-- themselves are no business of the store: who had which role before and after is in the application's own database, and
-- `pgconvoy changes MIGRATION --project REF` reads it.

BEGIN;

CREATE SCHEMA IF NOT EXISTS migration_tracking;
CREATE SCHEMA IF NOT EXISTS migration_backup;
CREATE SCHEMA IF NOT EXISTS migration_validation;
CREATE SCHEMA IF NOT EXISTS migration_control;

-- ---- migration_tracking ------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW migration_tracking.migration_batch AS
SELECT id::text AS batch_id, name AS batch_name, state AS status, create_time AS started_at, end_time AS completed_at,
       (SELECT sum(c) FROM unnest(counts[2:]) c)::bigint AS total_projects, counts[5] + counts[6] AS migrated_projects,
       counts[7] AS failed_projects, counts[8] AS rolled_back_projects, plan_hash
FROM pgconvoy.migration;

-- One row per table that a project's TRANSFORM changed.
CREATE OR REPLACE VIEW migration_tracking.migration_log AS
SELECT p.migration_id::text AS batch_id, p.ref AS project, t ->> 'table' AS table_name,
       coalesce((t ->> 'inserted')::bigint, 0) AS rows_inserted, coalesce((t ->> 'updated')::bigint, 0) AS rows_updated,
       coalesce((t ->> 'deleted')::bigint, 0) AS rows_deleted, r.fence, r.end_time AS migrated_at, p.state AS status
FROM pgconvoy.phase_result r JOIN pgconvoy.project p ON p.id = r.project_id
CROSS JOIN LATERAL json_array_elements(r.payload -> 'transform' -> 'tables') t
WHERE r.phase = 'TRANSFORM' AND r.direction = 'FORWARD';

CREATE OR REPLACE VIEW migration_tracking.rls_policy_changes AS
SELECT p.migration_id::text AS batch_id, p.ref AS project, t AS table_name, r.end_time AS changed_at,
       EXISTS (SELECT FROM pgconvoy.phase_result u WHERE u.project_id = r.project_id AND u.direction = 'ROLLBACK'
               AND u.phase = 'TRANSFORM' AND u.fence > r.fence) AS restored
FROM pgconvoy.phase_result r JOIN pgconvoy.project p ON p.id = r.project_id
CROSS JOIN LATERAL json_array_elements_text(r.payload -> 'transform' -> 'policies_replaced') t
WHERE r.phase = 'TRANSFORM' AND r.direction = 'FORWARD';

CREATE OR REPLACE FUNCTION migration_tracking.get_migration_status(wanted text)
RETURNS SETOF migration_tracking.migration_batch LANGUAGE sql STABLE AS $$
  SELECT * FROM migration_tracking.migration_batch WHERE batch_id = wanted
$$;

-- ---- migration_backup --------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW migration_backup.backup_log AS
SELECT r.payload -> 'backup' ->> 'backup_id' AS backup_id, p.migration_id::text AS batch_id, p.ref AS project,
       r.end_time AS created_at, (r.payload -> 'backup' ->> 'stored_bytes')::bigint AS stored_bytes,
       (SELECT sum((t ->> 'rows')::bigint) FROM json_array_elements(r.payload -> 'backup' -> 'tables') t)::bigint AS rows,
       r.payload -> 'backup' ->> 'manifest_digest' AS manifest_digest
FROM pgconvoy.phase_result r JOIN pgconvoy.project p ON p.id = r.project_id
WHERE r.phase = 'BACKUP' AND r.direction = 'FORWARD';

-- What each backup holds of each table; the rows are in the backup's folder.
CREATE OR REPLACE VIEW migration_backup.backup_contents AS
SELECT r.payload -> 'backup' ->> 'backup_id' AS backup_id, p.ref AS project, t ->> 'table' AS table_name,
       coalesce((t ->> 'rows')::bigint, 0) AS rows, coalesce((t ->> 'bytes')::bigint, 0) AS bytes, t ->> 'digest' AS digest
FROM pgconvoy.phase_result r JOIN pgconvoy.project p ON p.id = r.project_id
CROSS JOIN LATERAL json_array_elements(r.payload -> 'backup' -> 'tables') t
WHERE r.phase = 'BACKUP' AND r.direction = 'FORWARD';

CREATE OR REPLACE VIEW migration_backup.user_profiles_complete_backup AS
SELECT * FROM migration_backup.backup_contents WHERE table_name LIKE '%user\_profiles';
CREATE OR REPLACE VIEW migration_backup.user_sessions_backup AS
SELECT * FROM migration_backup.backup_contents WHERE table_name LIKE '%sessions';
-- The definitions themselves stand beside the change log, in pgconvoy_transform.policy of the project's database.
CREATE OR REPLACE VIEW migration_backup.rls_policies_backup AS
SELECT batch_id, project, table_name, changed_at AS saved_at, restored FROM migration_tracking.rls_policy_changes;

CREATE OR REPLACE FUNCTION migration_backup.get_backup_summary()
RETURNS TABLE (backup_id text, project text, created_at timestamptz, tables bigint, rows bigint, stored_bytes bigint)
LANGUAGE sql STABLE AS $$
  SELECT b.backup_id, b.project, b.created_at,
         (SELECT count(*) FROM migration_backup.backup_contents c WHERE c.backup_id = b.backup_id), b.rows, b.stored_bytes
  FROM migration_backup.backup_log b ORDER BY b.created_at
$$;

CREATE OR REPLACE FUNCTION migration_backup.list_available_backups()
RETURNS SETOF migration_backup.backup_log LANGUAGE sql STABLE AS $$
  SELECT * FROM migration_backup.backup_log ORDER BY created_at DESC
$$;

-- Sealed means that every file was written and synced before the digest of its manifest came into the store.
-- `pgconvoy backup verify ID` reads the files themselves.
CREATE OR REPLACE FUNCTION migration_backup.validate_backup_completeness(wanted text)
RETURNS TABLE (table_name text, rows bigint, is_sealed boolean) LANGUAGE sql STABLE AS $$
  SELECT c.table_name, c.rows, true FROM migration_backup.backup_contents c WHERE c.backup_id = wanted
$$;

CREATE OR REPLACE FUNCTION migration_backup.validate_rollback_success(backup text, rollback text)
RETURNS TABLE (project text, phase text, finding text) LANGUAGE sql STABLE AS $$
  SELECT p.ref, r.phase, u FROM pgconvoy.phase_result r JOIN pgconvoy.project p ON p.id = r.project_id
  CROSS JOIN LATERAL json_array_elements_text(r.payload -> 'undo' -> 'undone') u
  WHERE r.direction = 'ROLLBACK' AND (p.migration_id::text = rollback OR p.ref || '/' || r.fence = rollback)
    AND (backup = '' OR split_part(backup, '/', 1) = p.ref)
  ORDER BY p.ref, r.end_time
$$;

CREATE OR REPLACE FUNCTION migration_backup.execute_rollback(backup text, reason text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'nothing was changed: rollbacks are run by workers'
    USING HINT = format('run: pgconvoy rollback %s --project %s --reason %L',
                        (SELECT b.batch_id FROM migration_backup.backup_log b WHERE b.backup_id = backup),
                        split_part(backup, '/', 1), reason);
END
$$;

CREATE OR REPLACE FUNCTION migration_backup.emergency_rollback(backup text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'nothing was changed: rollbacks are run by workers'
    USING HINT = format('run: pgconvoy rollback %s --project %s --emergency',
                        (SELECT b.batch_id FROM migration_backup.backup_log b WHERE b.backup_id = backup),
                        split_part(backup, '/', 1));
END
$$;

-- ---- migration_validation ----------------------------------------------------------------------------------------

-- Every check of the latest run of each project's validation phases.
CREATE OR REPLACE VIEW migration_validation.results AS
SELECT p.migration_id::text AS batch_id, p.ref AS project,
       CASE r.phase WHEN 'PRE_VALIDATION' THEN 'pre_migration' ELSE 'post_migration' END AS stage, c ->> 'name' AS check_name,
       coalesce((c ->> 'passed')::boolean, false) AS passed, coalesce((c ->> 'warning')::boolean, false) AS is_warning,
       coalesce(c ->> 'message', '') AS message, r.end_time AS checked_at
FROM (SELECT DISTINCT ON (project_id, phase) * FROM pgconvoy.phase_result
      WHERE phase IN ('PRE_VALIDATION', 'POST_VALIDATION') AND direction = 'FORWARD'
      ORDER BY project_id, phase, fence DESC) r
JOIN pgconvoy.project p ON p.id = r.project_id
CROSS JOIN LATERAL json_array_elements(r.payload -> 'checks' -> 'checks') c;

CREATE OR REPLACE FUNCTION migration_validation.run_comprehensive_validation(wanted text)
RETURNS SETOF migration_validation.results LANGUAGE sql STABLE AS $$
  SELECT * FROM migration_validation.results WHERE stage = wanted ORDER BY batch_id::bigint, project, check_name
$$;
CREATE OR REPLACE FUNCTION migration_validation.validate_pre_migration_state()
RETURNS SETOF migration_validation.results LANGUAGE sql STABLE AS $$
  SELECT * FROM migration_validation.run_comprehensive_validation('pre_migration')
$$;
CREATE OR REPLACE FUNCTION migration_validation.validate_post_migration_state()
RETURNS SETOF migration_validation.results LANGUAGE sql STABLE AS $$
  SELECT * FROM migration_validation.run_comprehensive_validation('post_migration')
$$;
CREATE OR REPLACE FUNCTION migration_validation.validate_rls_policies()
RETURNS SETOF migration_tracking.rls_policy_changes LANGUAGE sql STABLE AS $$
  SELECT * FROM migration_tracking.rls_policy_changes ORDER BY batch_id::bigint, project, table_name
$$;
CREATE OR REPLACE FUNCTION migration_validation.test_user_authentication()
RETURNS SETOF migration_validation.results LANGUAGE sql STABLE AS $$
  SELECT * FROM migration_validation.results
  WHERE stage = 'post_migration' AND check_name ~ '^(login|auth|policy|policies)' ORDER BY batch_id::bigint, project
$$;

-- ---- migration_control -------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION migration_control.get_infrastructure_status()
RETURNS TABLE (component text, status text) LANGUAGE sql STABLE AS $$
  SELECT 'store', 'schema version ' || max(version) FROM pgconvoy.schema_migration
  UNION ALL SELECT 'leader', holder || ', term ' || epoch FROM pgconvoy.leader
  UNION ALL SELECT 'worker ' || id, state FROM pgconvoy.worker
  UNION ALL SELECT 'backups', count(*) || ' sealed' FROM migration_backup.backup_log
$$;

CREATE OR REPLACE FUNCTION migration_control.initialize_migration_infrastructure()
RETURNS TABLE (component text, status text) LANGUAGE sql STABLE AS $$
  SELECT * FROM migration_control.get_infrastructure_status()
$$;

CREATE OR REPLACE FUNCTION migration_control.prepare_for_migration(name text)
RETURNS TABLE (step text, command text) LANGUAGE sql STABLE AS $$
  VALUES ('check readiness', 'pgconvoy check ' || quote_literal(name) || ' --all'),
         ('preview', 'pgconvoy submit ' || quote_literal(name) || ' --all --dry-run'),
         ('migrate', 'pgconvoy submit ' || quote_literal(name) || ' --all --wait')
$$;

COMMIT;
