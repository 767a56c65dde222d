-- What a dump of the definitions does not show: where sequences stand, and the database's own settings and locale.
SET search_path = pg_catalog;
SELECT format('SELECT %L, last_value, is_called FROM %s', oid::regclass, oid::regclass) FROM pg_class
WHERE relkind = 'S' AND oid >= 16384 ORDER BY oid::regclass::text COLLATE "C" \gexec
SELECT 'setting', c FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
WHERE s.setrole = 0 AND d.datname = current_database() ORDER BY c COLLATE "C";
SELECT 'locale', pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database
WHERE datname = current_database();
