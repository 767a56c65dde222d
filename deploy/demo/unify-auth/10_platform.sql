-- The registry of applications, on the server where their databases are.
CREATE TABLE public.apps (
  ref text PRIMARY KEY,
  database_name text NOT NULL UNIQUE,
  auth_system text NOT NULL DEFAULT 'legacy' CHECK (auth_system IN ('legacy', 'unified')),
  maintenance boolean NOT NULL DEFAULT false,
  status text NOT NULL DEFAULT 'active',
  estimated_bytes bigint
);
