-- What the target says of the same: a role and a database for each project, the verifier that the role has.
SELECT r.rolname, d.datname, r.rolpassword, r.rolcanlogin,
       r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
FROM pg_authid r LEFT JOIN pg_database d ON d.datdba = r.oid
WHERE r.rolname LIKE 'project\_%' ORDER BY 1, 2;
