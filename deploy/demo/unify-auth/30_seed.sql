-- Users and sessions of one application, different for each: :app is its number. Run as app_owner.
INSERT INTO legacy.users (username, email, password_hash, is_admin, profile, created_at, last_login)
SELECT 'user' || n,
       'user' || n || '@app' || :app || '.example',
       CASE n % 3 WHEN 0 THEN '$2b$12$' || substr(md5('salt' || n), 1, 22) || substr(md5('hash' || n || :app), 1, 31)
                  WHEN 1 THEN '$argon2id$v=19$m=65536,t=3,p=4$' || md5('salt' || n) || '$' || md5(:app || 'hash' || n)
                  ELSE '$pbkdf2-sha256$29000$' || md5('s' || n) || '$' || md5(:app || 'h' || n) END,
       n % 50 = 0,
       CASE WHEN n % 4 = 0 THEN NULL ELSE jsonb_build_object('name', 'Zoë "' || n || '"', 'note', E'a\\b\n' || n) END,
       '2023-01-01'::timestamptz + n * interval '7 hours',
       CASE WHEN n % 5 = 0 THEN NULL ELSE '2025-06-01'::timestamptz + n * interval '13 minutes' END
FROM generate_series(1, 200 + :app * 3) n;

INSERT INTO legacy.sessions (token, user_id, ip, created_at, expires_at)
SELECT md5('token' || n || ':' || :app), 1 + n % 200, '10.0.0.0'::inet + n, '2025-06-01'::timestamptz,
       -- Some have run out already.
       CASE WHEN n % 7 = 0 THEN '2025-06-02'::timestamptz ELSE '2099-01-01'::timestamptz END
FROM generate_series(1, 120) n;

-- People who signed up after the new system came.
INSERT INTO auth.users (id, email, username, password_hash, role, created_at)
SELECT gen_random_uuid(), 'new' || n || '@app' || :app || '.example', 'new' || n,
       '$2b$12$' || substr(md5('new' || n), 1, 22) || substr(md5('newhash' || n), 1, 31), 'user', '2025-05-01'
FROM generate_series(1, 10) n;
INSERT INTO auth.sessions (user_id, token, created_at, expires_at)
SELECT id, md5('session' || email), '2025-05-02', '2099-01-01' FROM auth.users;
INSERT INTO auth.audit (user_id, event, at) SELECT id, 'signed up', '2025-05-01' FROM auth.users;
ANALYZE;
