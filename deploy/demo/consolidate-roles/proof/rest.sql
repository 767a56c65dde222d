SELECT 'profiles', count(*), md5(string_agg((to_jsonb(u) - 'role')::text, E'\n' ORDER BY id)) FROM public.user_profiles u
UNION ALL
SELECT 'sessions', count(*), md5(string_agg(s::text, E'\n' ORDER BY token)) FROM public.user_sessions s
UNION ALL
SELECT 'documents', count(*), md5(string_agg(d::text, E'\n' ORDER BY id)) FROM public.documents d;
