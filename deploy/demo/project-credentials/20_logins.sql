-- The logins that the plan names, the owner of all databases, and the login that all projects share.
\getenv reader_password PGCONVOY_PLATFORM_READER_PASSWORD
\getenv registrar_password PGCONVOY_PLATFORM_REGISTRAR_PASSWORD
\getenv provisioner_password PGCONVOY_PLATFORM_PROVISIONER_PASSWORD
\getenv fallback_password PGCONVOY_FALLBACK_PASSWORD
SET log_min_error_statement = panic;

CREATE ROLE platform_owner NOLOGIN;
CREATE ROLE app_fallback LOGIN PASSWORD :'fallback_password';

CREATE ROLE pgconvoy_reader LOGIN PASSWORD :'reader_password';
GRANT pg_read_all_data TO pgconvoy_reader;

CREATE ROLE pgconvoy_provisioner LOGIN CREATEDB CREATEROLE PASSWORD :'provisioner_password';
GRANT pg_signal_backend, platform_owner TO pgconvoy_provisioner;

CREATE ROLE pgconvoy_registrar LOGIN PASSWORD :'registrar_password';
GRANT SELECT, UPDATE ON public.projects TO pgconvoy_registrar;
GRANT SELECT, INSERT, DELETE ON public.credential_history TO pgconvoy_registrar;
GRANT CREATE ON DATABASE platform TO pgconvoy_registrar;
