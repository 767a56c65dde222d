-- The logins that the plans which change databases in place name; run in the registry's database, after its table.
\getenv reader_password PGCONVOY_APPS_READER_PASSWORD
\getenv registrar_password PGCONVOY_APPS_REGISTRAR_PASSWORD
\getenv owner_password PGCONVOY_APPS_OWNER_PASSWORD
\getenv service_password PGCONVOY_APPS_SERVICE_PASSWORD
SET log_min_error_statement = panic;

CREATE ROLE pgconvoy_reader LOGIN BYPASSRLS PASSWORD :'reader_password';
GRANT pg_read_all_data TO pgconvoy_reader;
CREATE ROLE pgconvoy_registrar LOGIN PASSWORD :'registrar_password';
GRANT SELECT, UPDATE ON public.apps TO pgconvoy_registrar;
GRANT CREATE ON DATABASE platform TO pgconvoy_registrar;

-- Owns every application's database and what is in it; changes it in place.
CREATE ROLE app_owner LOGIN PASSWORD :'owner_password';
-- What the applications log in as.
CREATE ROLE app_service LOGIN PASSWORD :'service_password';
