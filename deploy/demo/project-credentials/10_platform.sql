-- The registry of projects. Each project has a database of its own, and reaches it with a login that all share.
\getenv projects PGCONVOY_DEMO_PROJECTS

CREATE TABLE public.projects (
  ref text PRIMARY KEY,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'deleted')),
  database_name text NOT NULL UNIQUE,
  database_user text,
  database_password_hash text,
  credential_status text NOT NULL DEFAULT 'missing'
    CHECK (credential_status IN ('missing', 'incomplete', 'unknown', 'active')),
  created_at timestamptz NOT NULL
);

CREATE TABLE public.credential_history (
  project_ref text NOT NULL REFERENCES public.projects,
  login text NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (project_ref, login)
);

-- Each of the ways in which credentials are missing, in turn.
INSERT INTO public.projects (ref, name, database_name, database_user, database_password_hash, credential_status,
                             created_at)
SELECT ref, 'Project ' || i, 'app_' || ref,
       CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'app_fallback' END,
       CASE i % 4 WHEN 2 THEN NULL ELSE 'of the fallback login' END,
       CASE i % 4 WHEN 0 THEN 'missing' WHEN 1 THEN 'incomplete' ELSE 'unknown' END,
       timestamptz '2023-03-01 08:00:00+00' + CASE i % 4 WHEN 3 THEN interval '0' ELSE interval '2 years' END
FROM (
  SELECT i, (ARRAY['shop', 'clinic', 'school', 'bakery', 'studio'])[1 + i % 5] || '-' || to_char(i, 'FM0000') AS ref
  FROM generate_series(1, :projects) AS i
) AS p;

-- Not every project is to be changed.
INSERT INTO public.projects (ref, name, status, database_name, database_user, database_password_hash,
                             credential_status, created_at)
VALUES ('closed-0000', 'Closed project', 'deleted', 'app_closed-0000', NULL, NULL, 'missing', '2023-01-01'),
       ('modern-0000', 'Modern project', 'active', 'app_modern-0000', 'modern', 'has one', 'active', '2025-01-01');
