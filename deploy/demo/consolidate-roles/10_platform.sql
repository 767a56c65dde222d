-- The registry of applications, on the server where their databases are.
CREATE TABLE public.apps (
  ref text PRIMARY KEY,
  database_name text NOT NULL UNIQUE,
  role_system text NOT NULL DEFAULT '13 roles' CHECK (role_system IN ('13 roles', '6 roles')),
  status text NOT NULL DEFAULT 'active',
  -- A user of the application that is there to test it with; an administrator.
  probe_admin uuid NOT NULL,
  estimated_bytes bigint
);
