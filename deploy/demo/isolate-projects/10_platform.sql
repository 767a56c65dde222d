-- The platform's own tables: the registry of projects, and the guard that makes a freeze real.

CREATE TABLE public.projects (
  ref text PRIMARY KEY,
  owner_id uuid NOT NULL,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'deleted')),
  database_name text,
  database_user text,
  database_password_hash text,
  credential_status text NOT NULL DEFAULT 'fallback',
  writes_frozen boolean NOT NULL DEFAULT false,
  estimated_bytes bigint,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- Outside the schemas that move, so the triggers that call it stay behind: a project's own database has no registry.
CREATE SCHEMA platform_guard;

-- FOR SHARE makes the freeze wait for every transaction that was let through before it.
CREATE FUNCTION platform_guard.refuse_frozen() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  written record;
  frozen boolean;
BEGIN
  IF TG_OP = 'DELETE' THEN
    written := OLD;
  ELSE
    written := NEW;
  END IF;
  SELECT writes_frozen INTO frozen FROM public.projects WHERE ref = written.project_ref FOR SHARE;
  IF frozen THEN
    RAISE EXCEPTION 'writes of project % are frozen', written.project_ref USING ERRCODE = '25006';
  END IF;
  RETURN written;
END
$$;
