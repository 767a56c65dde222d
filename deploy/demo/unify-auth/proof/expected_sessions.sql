SELECT s.token, lower(u.email), s.expires_at, s.ip FROM legacy.sessions s JOIN legacy.users u ON u.id = s.user_id
UNION ALL
SELECT s.token, u.email, s.expires_at, s.ip FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id;
