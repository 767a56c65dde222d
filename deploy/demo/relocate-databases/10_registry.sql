-- The registry: which projects exist, on which server and in which database each one lives, and with which login.
CREATE TABLE public.projects (
  ref text PRIMARY KEY,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'active',
  server text NOT NULL,
  database_name text NOT NULL,
  database_user text NOT NULL,
  password_verifier text,
  -- While it is true, the application answers "back in a moment" and writes nothing.
  maintenance boolean NOT NULL DEFAULT false,
  size_bytes bigint,
  UNIQUE (server, database_name)
);
