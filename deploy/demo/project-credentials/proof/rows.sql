-- One line per table of a project's database: how many rows, and a digest of them in an order of its own.
SET search_path = pg_catalog;
SELECT 'app.customers', count(*), md5(string_agg(t::text, '' ORDER BY t::text COLLATE "C")) FROM app.customers t
UNION ALL
SELECT 'app.orders', count(*), md5(string_agg(t::text, '' ORDER BY t::text COLLATE "C")) FROM app.orders t
UNION ALL
SELECT 'app.log', count(*), md5(string_agg(t::text, '' ORDER BY t::text COLLATE "C")) FROM app.log t
ORDER BY 1;
