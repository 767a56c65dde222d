-- Every function of pg_catalog that takes nothing, one text, one name, one oid or one integer, and is no trigger's,
-- stands in schema public as well, and tells who called it. With the operators of vectors.sql.
DO $do$
DECLARE
  f record;
BEGIN
  FOR f IN
    SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, count(*) OVER () AS n
    FROM pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset
      AND (p.pronargs = 0 OR (p.pronargs = 1 AND p.proargtypes[0] IN ('text'::regtype, 'name'::regtype, 'oid'::regtype,
                                                                     'integer'::regtype)))
      AND NOT EXISTS (SELECT FROM pg_proc q WHERE q.pronamespace = 'public'::regnamespace AND q.proname = p.proname)
      AND p.proargmodes IS NULL AND p.prorettype <> 'trigger'::regtype AND p.proname !~ '^(RI_|binary_upgrade)'
  LOOP
    EXECUTE format($f$
      CREATE FUNCTION public.%I(%s) RETURNS text LANGUAGE plpgsql AS $body$
      BEGIN PERFORM evil.strike(%L); RETURN '1'; END $body$ $f$, f.proname, f.arguments, 'shadow of ' || f.proname);
  END LOOP;
END $do$;
