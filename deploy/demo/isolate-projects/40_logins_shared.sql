-- The logins that the plan names on the shared server. Passwords come from the environment.
\getenv reader_password PGCONVOY_SHARED_READER_PASSWORD
\getenv registrar_password PGCONVOY_SHARED_REGISTRAR_PASSWORD
\getenv tenant_password PGCONVOY_DEMO_TENANT_PASSWORD
SET log_min_error_statement = panic;

CREATE ROLE pgconvoy_reader LOGIN BYPASSRLS PASSWORD :'reader_password';
GRANT pg_read_all_data TO pgconvoy_reader;

CREATE ROLE pgconvoy_registrar LOGIN PASSWORD :'registrar_password';
GRANT SELECT, UPDATE ON public.projects TO pgconvoy_registrar;
GRANT CREATE ON DATABASE platform TO pgconvoy_registrar;

-- Applications whose projects have no credentials of their own yet.
CREATE ROLE app_fallback LOGIN BYPASSRLS PASSWORD :'tenant_password';
GRANT USAGE ON SCHEMA auth, storage TO app_fallback;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA auth, storage TO app_fallback;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA auth TO app_fallback;
