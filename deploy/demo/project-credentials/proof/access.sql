-- For each project that was to get credentials: what the registry says, and what the server says.
SELECT p.ref, p.database_user = 'project_' || p.ref, p.database_password_hash = a.rolpassword,
       p.credential_status, a.rolcanlogin, a.rolsuper OR a.rolcreaterole OR a.rolcreatedb OR a.rolbypassrls,
       has_database_privilege(a.rolname, d.oid, 'CONNECT'), has_database_privilege('app_fallback', d.oid, 'CONNECT'),
       o.rolname, (SELECT count(*) FROM public.credential_history h WHERE h.project_ref = p.ref)
FROM public.projects p
LEFT JOIN pg_authid a ON a.rolname = 'project_' || p.ref
LEFT JOIN pg_database d ON d.datname = p.database_name
LEFT JOIN pg_roles o ON o.oid = d.datdba
WHERE p.ref NOT IN ('closed-0000', 'modern-0000') ORDER BY p.ref;
