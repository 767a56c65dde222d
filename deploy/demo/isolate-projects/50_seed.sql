-- :projects projects of uneven size, or of the sizes that PGCONVOY_DEMO_FACTORS lists ("1" or "1,0.5"). The same numbers
-- give the same rows in every run.
\getenv projects PGCONVOY_DEMO_PROJECTS
\set factors '1,0.1,4,0.5,2,0.25,1,3,0.2,1.5'
\getenv factors PGCONVOY_DEMO_FACTORS
BEGIN;
SET LOCAL synchronous_commit = off;

-- The reference project has factor 1: 150 users, 45 sessions, 90 refresh tokens, 10 buckets, 500 objects.
CREATE TEMP TABLE size ON COMMIT DROP AS
SELECT i,
       (ARRAY['shop', 'clinic', 'school', 'bakery', 'studio'])[1 + i % 5] || '-' || to_char(i, 'FM0000') AS ref,
       (150 * factor)::int AS users,
       (45 * factor)::int AS sessions,
       (90 * factor)::int AS tokens,
       (10 * factor)::int AS buckets,
       (500 * factor)::int AS objects
FROM generate_series(1, :projects) AS i,
     LATERAL (SELECT string_to_array(:'factors', ',')::numeric[] AS list) AS l,
     LATERAL (SELECT list[1 + (i - 1) % cardinality(list)] AS factor) AS f;
ANALYZE size;

CREATE FUNCTION pg_temp.uid(kind text, ref text, n int) RETURNS uuid LANGUAGE sql IMMUTABLE
AS $$ SELECT md5(kind || '/' || ref || '/' || n)::uuid $$;

-- Texts that copies lose most easily; NULL is among them.
CREATE FUNCTION pg_temp.awkward(n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT (ARRAY['plain', '', NULL, E'two\nlines', E'tab\tinside', E'back\\slash', '\N', '\.', E'cr\r\nlf',
                'quote '' and "', 'Grüße 漢字 🙂', E'\u202Eright to left', '  spaces  ', '%s $1 :name {ref}', E'\x01\x1b[31m',
                '{"not": "json', 'a,b;c|d', repeat('very long text ', 600)])[1 + n % 18]
$$;

INSERT INTO public.projects (ref, owner_id, name, estimated_bytes)
SELECT ref, pg_temp.uid('owner', ref, 0), 'Project ' || i, 220 * (users + sessions + tokens + buckets + objects)
FROM size;
-- Not every project is to be moved.
INSERT INTO public.projects (ref, owner_id, name, status)
VALUES ('closed-0000', gen_random_uuid(), 'Closed project', 'deleted');

-- Ordered by n first, so that the projects' rows lie mixed as they do in real shared tables.
INSERT INTO auth.users (
  project_ref, instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token,
  recovery_token, email_change, last_sign_in_at, raw_app_meta_data, raw_user_meta_data, is_super_admin, created_at,
  updated_at, phone, phone_confirmed_at, email_change_confirm_status, banned_until, is_sso_user, is_anonymous)
SELECT ref, '00000000-0000-0000-0000-000000000000', pg_temp.uid('user', ref, n), 'authenticated', 'authenticated',
       CASE WHEN n % 29 <> 0 THEN 'user' || n || '@' || ref || '.example' END,
       '$2a$10$' || left(md5(ref || n), 22) || left(md5(n || ref), 31),
       CASE WHEN n % 7 <> 0 THEN '2024-01-01'::timestamptz + n * interval '1 hour' END,
       CASE n % 3 WHEN 0 THEN '' WHEN 1 THEN md5('confirm' || ref || n) END,
       CASE WHEN n % 5 = 0 THEN md5('recover' || ref || n) ELSE '' END,
       left(pg_temp.awkward(n), 200),
       '2025-06-01'::timestamptz + n * interval '1 minute 0.000001 second',
       jsonb_build_object('provider', 'email', 'providers', jsonb_build_array('email', NULL)),
       CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'null'::jsonb WHEN 2 THEN '{}'::jsonb
            ELSE jsonb_build_object('bio', pg_temp.awkward(n), 'score', n / 3.0) END,
       CASE WHEN n % 50 = 0 THEN true END,
       CASE WHEN n % 97 = 0 THEN '-infinity'::timestamptz ELSE '2023-01-01'::timestamptz + n * interval '1 day' END,
       '2024-02-29 23:59:59.999999+00',
       CASE WHEN n % 6 = 0 THEN '+49' || i || '0' || n END,
       CASE WHEN n % 11 = 0 THEN '2023-12-31'::timestamptz END,
       n % 3, CASE WHEN n % 31 = 0 THEN 'infinity'::timestamptz END, n % 29 = 0, n % 40 = 0
FROM size, LATERAL generate_series(1, users) AS n
ORDER BY n, i;

INSERT INTO auth.sessions (
  project_ref, id, user_id, created_at, updated_at, aal, not_after, refreshed_at, user_agent, ip, tag,
  refresh_token_counter, scopes)
SELECT ref, pg_temp.uid('session', ref, n), pg_temp.uid('user', ref, 1 + n % users),
       '2025-01-01'::timestamptz + n * interval '1 second', '2025-01-02',
       (ARRAY['aal1', 'aal2', 'aal3', NULL])[1 + n % 4]::auth.aal_level,
       CASE WHEN n % 5 = 0 THEN 'infinity'::timestamptz END,
       CASE n % 9 WHEN 0 THEN '-infinity'::timestamp WHEN 1 THEN '0044-03-15 12:00:00 BC'::timestamp
            ELSE '2025-01-02'::timestamp + n * interval '1.5 seconds' END,
       pg_temp.awkward(n + 3),
       (ARRAY['192.0.2.7', '2001:db8::1', '2001:db8:ffff::/48', '10.1.0.0/16', NULL])[1 + n % 5]::inet,
       pg_temp.awkward(n), CASE WHEN n % 8 = 0 THEN 9223372036854775807 ELSE -n END, repeat('scope ', n % 20)
FROM size, LATERAL generate_series(1, sessions) AS n
ORDER BY n, i;

INSERT INTO auth.refresh_tokens (
  project_ref, instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
SELECT ref, '00000000-0000-0000-0000-000000000000', md5('token' || ref || n),
       pg_temp.uid('user', ref, 1 + n % users)::text, n % 3 = 0, '2025-01-01'::timestamptz + n * interval '1 minute',
       '2025-01-03', CASE WHEN n > 1 THEN md5('token' || ref || n - 1) END,
       CASE WHEN n % 10 <> 0 THEN pg_temp.uid('session', ref, 1 + n % sessions) END
FROM size, LATERAL generate_series(1, tokens) AS n
ORDER BY n, i;

INSERT INTO storage.buckets (
  project_ref, id, name, owner, created_at, updated_at, public, file_size_limit, allowed_mime_types, owner_id, type)
SELECT ref, 'bucket-' || n, 'bucket-' || n, pg_temp.uid('user', ref, 1), '2024-05-05', '2024-05-06', n % 2 = 0,
       CASE WHEN n % 3 = 0 THEN 5368709120 END,
       CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '{}'::text[] WHEN 2 THEN ARRAY['image/*', NULL, '', 'NULL']
            ELSE ARRAY['text/plain; charset="utf-8"', E'a\\b', '{x,y}', E'new\nline'] END,
       pg_temp.uid('user', ref, 1)::text,
       (ARRAY['STANDARD', 'ANALYTICS', 'VECTOR'])[1 + n % 3]::storage.buckettype
FROM size, LATERAL generate_series(1, buckets) AS n
ORDER BY n, i;

INSERT INTO storage.objects (
  project_ref, id, bucket_id, name, owner, created_at, updated_at, last_accessed_at, metadata, version, owner_id,
  user_metadata)
SELECT ref, pg_temp.uid('object', ref, n), 'bucket-' || 1 + n % buckets,
       'folder ' || n % 7 || '/' || CASE WHEN n % 13 = 0 THEN E'Größe \\ "x"\t漢字/' ELSE '' END || n || '.png',
       CASE WHEN n % 4 <> 0 THEN pg_temp.uid('user', ref, 1 + n % users) END,
       '2024-06-01'::timestamptz + n * interval '1 second', '2024-06-02'::timestamptz + n * interval '1 microsecond',
       NULL, jsonb_build_object('size', n * 1000003::bigint, 'mimetype', 'image/png', 'eTag', md5(n::text)),
       CASE WHEN n % 2 = 0 THEN pg_temp.uid('version', ref, n)::text END,
       CASE WHEN n % 4 <> 0 THEN pg_temp.uid('user', ref, 1 + n % users)::text END,
       CASE WHEN n % 25 = 0 THEN jsonb_build_object('note', pg_temp.awkward(n / 25)) END
FROM size, LATERAL generate_series(1, objects) AS n
ORDER BY n, i;
COMMIT;
