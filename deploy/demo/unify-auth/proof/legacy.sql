SELECT 'users', count(*), md5(string_agg(u::text, E'\n' ORDER BY u.id)) FROM legacy.users u
UNION ALL
SELECT 'sessions', count(*), md5(string_agg(s::text, E'\n' ORDER BY s.token)) FROM legacy.sessions s;
