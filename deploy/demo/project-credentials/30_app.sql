-- What a project's database holds: run in a template, from which each is made.
CREATE SCHEMA app AUTHORIZATION platform_owner;
SET ROLE platform_owner;

CREATE TYPE app.state AS ENUM ('new', 'paid', 'sent');
CREATE DOMAIN app.email AS text CHECK (VALUE LIKE '%@%');
CREATE TYPE app.money_range AS RANGE (subtype = numeric);
CREATE SEQUENCE app.invoice_number START 1000;

CREATE TABLE app.customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email app.email NOT NULL UNIQUE,
  name text
);
CREATE TABLE app.orders (
  id bigserial PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES app.customers ON DELETE CASCADE,
  state app.state NOT NULL DEFAULT 'new',
  invoice bigint NOT NULL DEFAULT nextval('app.invoice_number'),
  total numeric(12, 2) NOT NULL DEFAULT 0
);
CREATE INDEX orders_by_customer ON app.orders (customer_id);
CREATE TABLE app.log (at timestamptz NOT NULL, line text) PARTITION BY RANGE (at);
CREATE TABLE app.log_old PARTITION OF app.log FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE app.log_new PARTITION OF app.log FOR VALUES FROM ('2025-01-01') TO (MAXVALUE);

CREATE VIEW app.open_orders AS SELECT id, customer_id, total FROM app.orders WHERE state <> 'sent';
CREATE MATERIALIZED VIEW app.totals AS SELECT customer_id, sum(total) AS total FROM app.orders GROUP BY 1;
CREATE STATISTICS app.orders_statistics ON customer_id, state FROM app.orders;

CREATE FUNCTION app.total_of(customer bigint) RETURNS numeric LANGUAGE sql STABLE SET search_path = pg_catalog
AS $$ SELECT coalesce(sum(total), 0) FROM app.orders WHERE customer_id = customer $$;
CREATE PROCEDURE app.pay(one bigint) LANGUAGE sql SET search_path = pg_catalog
AS $$ UPDATE app.orders SET state = 'paid' WHERE id = one $$;
CREATE FUNCTION app.longer(a text, b text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
AS $$ SELECT CASE WHEN length(b) > length(a) THEN b ELSE a END $$;
CREATE AGGREGATE app.longest(text) (SFUNC = app.longer, STYPE = text, INITCOND = '');

INSERT INTO app.customers (email, name) SELECT 'customer' || n || '@example.com', 'Customer ' || n
FROM generate_series(1, 20) AS n;
INSERT INTO app.orders (customer_id, total) SELECT 1 + n % 20, n FROM generate_series(1, 60) AS n;
INSERT INTO app.log VALUES ('2024-06-01', 'opened'), ('2025-06-01', 'still open');
REFRESH MATERIALIZED VIEW app.totals;

-- The way in which applications worked until now.
GRANT USAGE ON SCHEMA app TO app_fallback;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO app_fallback;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA app TO app_fallback;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app_fallback;
