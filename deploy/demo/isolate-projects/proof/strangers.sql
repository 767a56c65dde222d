-- Roles that could connect to a project's database without owning it, and logins that nobody should have any more.
SELECT 'can connect', r.rolname, d.datname
FROM pg_roles r, pg_database d
WHERE d.datname LIKE 'project\_%' AND r.rolcanlogin AND NOT r.rolsuper AND r.oid <> d.datdba
  AND r.rolname <> 'pgconvoy_provisioner' AND has_database_privilege(r.oid, d.oid, 'CONNECT')
UNION ALL
SELECT 'left-over login', rolname, NULL FROM pg_roles
WHERE rolcanlogin AND rolname NOT LIKE 'project\_%'
  AND rolname NOT IN ('postgres', 'pgconvoy_provisioner', 'app_fallback', 'tenant_other')
UNION ALL
SELECT 'left-over database', datname, NULL FROM pg_database
WHERE datname NOT LIKE 'project\_%' AND NOT datistemplate AND datname NOT IN ('postgres', 'pgconvoy')
ORDER BY 1, 2, 3;
