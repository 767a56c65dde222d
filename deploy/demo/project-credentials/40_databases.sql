-- Run in the registry's database once the template is there: a database for each project. Into every other one the
-- fallback gets as PUBLIC, into the rest by name.
SELECT format('CREATE DATABASE %I TEMPLATE app_template OWNER platform_owner', database_name)
FROM public.projects ORDER BY ref \gexec
SELECT format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', database_name),
       format('GRANT CONNECT ON DATABASE %I TO app_fallback, pgconvoy_reader', database_name)
FROM (SELECT database_name, row_number() OVER (ORDER BY ref) AS n FROM public.projects) AS p WHERE n % 2 = 0 \gexec
