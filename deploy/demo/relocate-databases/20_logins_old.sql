-- The logins on the old server. Passwords come from the environment.
\getenv reader_password PGCONVOY_OLD_READER_PASSWORD
\getenv registrar_password PGCONVOY_OLD_REGISTRAR_PASSWORD
\getenv tenant_password PGCONVOY_DEMO_TENANT_PASSWORD
SET log_min_error_statement = panic;

CREATE ROLE pgconvoy_reader LOGIN BYPASSRLS PASSWORD :'reader_password';
GRANT pg_read_all_data TO pgconvoy_reader;

CREATE ROLE pgconvoy_registrar LOGIN PASSWORD :'registrar_password';
GRANT SELECT, UPDATE ON public.projects TO pgconvoy_registrar;
GRANT CREATE ON DATABASE registry TO pgconvoy_registrar;

-- With which every project's application logs in until now, and which owns what is in their databases.
CREATE ROLE legacy_app LOGIN PASSWORD :'tenant_password';
