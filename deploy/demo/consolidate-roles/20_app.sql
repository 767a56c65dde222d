-- One application's database: users with one of 13 roles, their sessions, and documents behind policies that name those
-- roles. Run as app_owner.

CREATE TABLE public.user_profiles (
  id uuid PRIMARY KEY,
  email text NOT NULL UNIQUE,
  full_name text,
  role text NOT NULL CONSTRAINT user_profiles_role_check CHECK (role IN (
    'super_admin', 'system_admin', 'org_owner', 'org_admin', 'department_head', 'team_lead', 'senior_editor', 'editor',
    'author', 'contributor', 'reviewer', 'member', 'guest')),
  department text,
  settings jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE TABLE public.user_sessions (
  token text PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES public.user_profiles ON DELETE CASCADE,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE TABLE public.documents (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner_id uuid NOT NULL REFERENCES public.user_profiles,
  title text NOT NULL,
  published boolean NOT NULL DEFAULT false
);

CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;
CREATE TRIGGER touch BEFORE UPDATE ON public.user_profiles FOR EACH ROW EXECUTE FUNCTION public.touch();

-- Who asks: the application sets app.user_id for each request.
CREATE FUNCTION public.current_role_name() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
  SELECT role FROM public.user_profiles WHERE id::text = current_setting('app.user_id', true)
$$;

ALTER TABLE public.user_profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY admins_see_all ON public.user_profiles FOR SELECT TO app_service
  USING (public.current_role_name() IN ('super_admin', 'system_admin', 'org_owner', 'org_admin'));
CREATE POLICY own_profile ON public.user_profiles FOR SELECT TO app_service
  USING (id::text = current_setting('app.user_id', true));
COMMENT ON POLICY own_profile ON public.user_profiles IS 'Everybody sees their own.';

ALTER TABLE public.documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY editors_write ON public.documents TO app_service
  USING (public.current_role_name() IN ('super_admin', 'system_admin', 'org_owner', 'org_admin', 'department_head',
                                        'team_lead', 'senior_editor', 'editor'))
  WITH CHECK (public.current_role_name() <> 'guest');
CREATE POLICY authors_own ON public.documents TO app_service
  USING (owner_id::text = current_setting('app.user_id', true)
         AND public.current_role_name() IN ('author', 'contributor'));
CREATE POLICY readers ON public.documents FOR SELECT TO app_service
  USING (published AND public.current_role_name() IN ('reviewer', 'member', 'guest'));
CREATE POLICY "never without a user" ON public.documents AS RESTRICTIVE TO PUBLIC
  USING (current_setting('app.user_id', true) <> '');

GRANT USAGE ON SCHEMA public TO app_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app_service;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app_service;
