SELECT s.token, u.email, s.expires_at, s.ip FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id;
