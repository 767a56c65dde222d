-- One application's database: users and sessions of the old system, and the tables of the new one. Run as app_owner.

CREATE SCHEMA legacy;
CREATE TABLE legacy.users (
  id serial PRIMARY KEY,
  username text NOT NULL,
  email text NOT NULL,
  password_hash text NOT NULL,
  is_admin boolean NOT NULL DEFAULT false,
  profile jsonb,
  created_at timestamptz NOT NULL,
  last_login timestamptz
);
CREATE TABLE legacy.sessions (
  token text PRIMARY KEY,
  user_id integer NOT NULL REFERENCES legacy.users,
  ip inet,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);

CREATE SCHEMA auth;
CREATE TABLE auth.users (
  id uuid PRIMARY KEY,
  legacy_id integer UNIQUE,
  email text NOT NULL UNIQUE,
  username text NOT NULL,
  password_hash text NOT NULL CHECK (password_hash ~ '^[$](2[aby]|argon2id|pbkdf2-sha256)[$]'),
  role text NOT NULL CHECK (role IN ('admin', 'user')),
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE auth.sessions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
  token text NOT NULL UNIQUE,
  ip inet,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE TABLE auth.audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
  event text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);

-- What every write of the application goes through; it must not rewrite what a migration brings.
CREATE FUNCTION auth.touch() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON auth.users FOR EACH ROW EXECUTE FUNCTION auth.touch();

GRANT USAGE ON SCHEMA legacy, auth TO app_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA legacy, auth TO app_service;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA legacy, auth TO app_service;
