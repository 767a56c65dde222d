-- What the registry says of the projects that were to move.
SELECT ref, database_name, database_user, database_password_hash, credential_status, writes_frozen
FROM public.projects WHERE status = 'active' ORDER BY ref;
