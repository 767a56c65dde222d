-- The login that the plan names on the target server, and applications that must not get into a project's database.
\getenv provisioner_password PGCONVOY_ISOLATED_PROVISIONER_PASSWORD
\getenv tenant_password PGCONVOY_DEMO_TENANT_PASSWORD
SET log_min_error_statement = panic;

CREATE ROLE pgconvoy_provisioner LOGIN CREATEDB CREATEROLE PASSWORD :'provisioner_password';
GRANT pg_signal_backend TO pgconvoy_provisioner;

CREATE ROLE app_fallback LOGIN PASSWORD :'tenant_password';
CREATE ROLE tenant_other LOGIN PASSWORD :'tenant_password';
