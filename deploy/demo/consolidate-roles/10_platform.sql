-- The registry of applications, on the server where their databases are, and the logins that the plan names.
\getenv reader_password PGCONVOY_APPS_READER_PASSWORD
\getenv registrar_password PGCONVOY_APPS_REGISTRAR_PASSWORD
\getenv owner_password PGCONVOY_APPS_OWNER_PASSWORD
\getenv service_password PGCONVOY_APPS_SERVICE_PASSWORD
SET log_min_error_statement = panic;

CREATE TABLE public.apps (
  ref text PRIMARY KEY,
  database_name text NOT NULL UNIQUE,
  role_system text NOT NULL DEFAULT '13 roles' CHECK (role_system IN ('13 roles', '6 roles')),
  status text NOT NULL DEFAULT 'active',
  -- A user of the application that is there to test it with; an administrator.
  probe_admin uuid NOT NULL,
  estimated_bytes bigint
);

CREATE ROLE pgconvoy_reader LOGIN BYPASSRLS PASSWORD :'reader_password';
GRANT pg_read_all_data TO pgconvoy_reader;
CREATE ROLE pgconvoy_registrar LOGIN PASSWORD :'registrar_password';
GRANT SELECT, UPDATE ON public.apps TO pgconvoy_registrar;
GRANT CREATE ON DATABASE platform TO pgconvoy_registrar;

-- Owns every application's database and what is in it; changes it in place.
CREATE ROLE app_owner LOGIN PASSWORD :'owner_password';
-- What the applications log in as.
CREATE ROLE app_service LOGIN PASSWORD :'service_password';
