-- As the application: find the user of a token that the old system gave out, and note the login.
INSERT INTO auth.audit (user_id, event)
SELECT s.user_id, 'token accepted' FROM auth.sessions s
JOIN legacy.sessions l USING (token) WHERE s.expires_at > now() LIMIT 1;
SELECT 1 / count(*) FROM auth.audit WHERE event = 'token accepted';
