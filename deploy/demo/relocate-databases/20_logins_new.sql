-- The login that the plan names on the new server, and one that must not get into anybody's database.
\getenv provisioner_password PGCONVOY_NEW_PROVISIONER_PASSWORD
\getenv tenant_password PGCONVOY_DEMO_TENANT_PASSWORD
SET log_min_error_statement = panic;

CREATE ROLE pgconvoy_provisioner LOGIN CREATEDB CREATEROLE PASSWORD :'provisioner_password';
GRANT pg_signal_backend TO pgconvoy_provisioner;
-- The databases have this setting of their own, which PostgreSQL lets nobody but a superuser make unless it is granted.
SELECT :SERVER_VERSION_NUM >= 150000 AS has_parameters \gset
\if :has_parameters
GRANT SET ON PARAMETER app.project TO pgconvoy_provisioner;
\endif

CREATE ROLE legacy_app LOGIN PASSWORD :'tenant_password';
