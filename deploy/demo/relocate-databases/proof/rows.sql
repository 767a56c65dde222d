-- Row count and digest of every table of the user's, partitions aside: their rows count with the partitioned table.
SET search_path = pg_catalog; SET timezone = 'UTC'; SET extra_float_digits = 1;
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C")) FROM %s t',
              c.oid::regclass, c.oid::regclass)
FROM pg_class c
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.oid >= 16384
  AND c.relnamespace::regnamespace::text IN ('app', 'audit', 'public')
ORDER BY c.oid::regclass::text COLLATE "C" \gexec
