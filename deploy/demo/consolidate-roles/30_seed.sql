-- Users of one application, some of every role: :app is its number. Run as app_owner.
INSERT INTO public.user_profiles (id, email, full_name, role, department, created_at, updated_at)
SELECT md5('user' || n || ':' || :app)::uuid, 'user' || n || '@app' || :app || '.example', 'User ' || n,
       (ARRAY['super_admin', 'system_admin', 'org_owner', 'org_admin', 'department_head', 'team_lead', 'senior_editor',
              'editor', 'author', 'contributor', 'reviewer', 'member', 'guest'])[1 + (n * n + :app) % 13],
       CASE WHEN n % 3 = 0 THEN NULL ELSE 'dept' || n % 5 END,
       '2024-01-01'::timestamptz + n * interval '1 hour', '2025-01-01'::timestamptz + n * interval '1 minute'
FROM generate_series(1, 130) n;
-- Every role at least once.
INSERT INTO public.user_profiles (id, email, role, created_at, updated_at)
SELECT md5('one' || role || :app)::uuid, role || '@app' || :app || '.example', role, '2024-01-01', '2025-01-01'
FROM unnest(ARRAY['super_admin', 'system_admin', 'org_owner', 'org_admin', 'department_head', 'team_lead',
                  'senior_editor', 'editor', 'author', 'contributor', 'reviewer', 'member', 'guest']) role;
INSERT INTO public.user_sessions
SELECT md5('session' || id), id, '2025-06-01', '2099-01-01' FROM public.user_profiles;
INSERT INTO public.documents (owner_id, title, published)
SELECT id, 'by ' || email, substr(id::text, 1, 1) < '8' FROM public.user_profiles ORDER BY id;
ANALYZE;
