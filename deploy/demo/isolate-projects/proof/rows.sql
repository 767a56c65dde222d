-- One line per project and table: how many rows, and a digest of all their values in an order of its own. The same
-- query on both servers; on the target a second project_ref would show as a line too many.
SET datestyle = 'ISO, MDY'; SET timezone = 'UTC'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET row_security = off; SET search_path = pg_catalog; SET jit = off;

SELECT project_ref, 'auth.users', count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text) COLLATE "C"))
FROM auth.users t GROUP BY project_ref
UNION ALL
SELECT project_ref, 'auth.sessions', count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text) COLLATE "C"))
FROM auth.sessions t GROUP BY project_ref
UNION ALL
SELECT project_ref, 'auth.refresh_tokens', count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text) COLLATE "C"))
FROM auth.refresh_tokens t GROUP BY project_ref
UNION ALL
SELECT project_ref, 'storage.buckets', count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text) COLLATE "C"))
FROM storage.buckets t GROUP BY project_ref
UNION ALL
SELECT project_ref, 'storage.objects', count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text) COLLATE "C"))
FROM storage.objects t GROUP BY project_ref;
