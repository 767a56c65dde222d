-- Logins beside its owner that may connect to a project's database, and what only attempts use.
SELECT d.datname, r.rolname FROM pg_database d, pg_roles r
WHERE d.datname LIKE 'vision\_%' AND r.rolcanlogin AND NOT r.rolsuper AND r.oid <> d.datdba
  AND has_database_privilege(r.oid, d.oid, 'CONNECT')
UNION ALL SELECT datname, '' FROM pg_database WHERE datname LIKE 'pgc\_%'
UNION ALL SELECT '', rolname FROM pg_roles WHERE rolname LIKE 'pgc\_%'
ORDER BY 1, 2;
