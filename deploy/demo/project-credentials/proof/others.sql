-- Logins that are left over, new logins that get into another project's database, and what changed where nothing should.
SELECT 'left-over login', rolname, NULL FROM pg_roles WHERE rolname LIKE 'pgc\_%'
UNION ALL
SELECT 'gets into another database', r.rolname, d.datname
FROM pg_roles r, pg_database d JOIN public.projects p ON p.database_name = d.datname
WHERE r.rolname LIKE 'project\_%' AND r.rolname <> 'project_' || p.ref
  AND p.ref NOT IN ('closed-0000', 'modern-0000') AND has_database_privilege(r.oid, d.oid, 'CONNECT')
UNION ALL
SELECT 'changed', ref, credential_status FROM public.projects
WHERE ref = 'closed-0000' AND credential_status <> 'missing' OR ref = 'modern-0000' AND database_user <> 'modern'
UNION ALL
SELECT 'session of the fallback', usename, datname FROM pg_stat_activity WHERE usename = 'app_fallback'
ORDER BY 1, 2, 3;
