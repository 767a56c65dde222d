-- Schemas of a project's database that the plan did not ask for.
SELECT nspname FROM pg_namespace
WHERE nspname NOT IN ('auth', 'storage', 'public', 'information_schema') AND nspname NOT LIKE 'pg\_%';
