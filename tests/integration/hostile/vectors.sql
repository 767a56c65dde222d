-- Every place in which PostgreSQL lets the owner of a table put code, each on a table of its own with three rows.
SET row_security = on;

CREATE TABLE evil.checked (i integer CHECK (evil.yes('check')));
CREATE TABLE evil.defaulted (i integer, j boolean DEFAULT evil.yes('default'));
CREATE DOMAIN evil.number_domain AS integer DEFAULT 7 CHECK (evil.yes('domain'));
CREATE TABLE evil.typed (i evil.number_domain);
CREATE TABLE evil.indexed (i integer);
CREATE INDEX ON evil.indexed (evil.number('index expression', i));
CREATE TABLE evil.partial (i integer);
CREATE INDEX ON evil.partial (i) WHERE evil.still('index predicate');
CREATE TABLE evil.folded (i integer);
CREATE INDEX ON evil.folded ((evil.number('folded index expression', 1)));
CREATE TABLE evil.excluded (i integer, EXCLUDE USING btree (evil.number('exclusion', i) WITH =));
CREATE TABLE evil.computed (i integer, g integer GENERATED ALWAYS AS (evil.number('generated', i)) STORED);
CREATE INDEX ON evil.computed (i) WHERE evil.still('predicate beside a generated column');
CREATE TABLE evil.measured (i integer, j integer);
CREATE STATISTICS evil.of_measured ON i, (evil.number('statistics', 1) + i) FROM evil.measured;
CREATE TABLE evil.parted (i integer) PARTITION BY RANGE ((evil.number('partition key', i)));
CREATE TABLE evil.part PARTITION OF evil.parted FOR VALUES FROM (0) TO (100);
ALTER TABLE evil.part ADD CONSTRAINT folded CHECK (evil.still('check of a partition'));

CREATE FUNCTION evil.on_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.strike('row trigger'); RETURN NEW; END $$;
CREATE FUNCTION evil.on_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.strike('statement trigger'); RETURN NULL; END $$;
CREATE FUNCTION evil.always() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN PERFORM evil.strike('trigger that always fires'); RETURN NEW; END $$;
CREATE TABLE evil.triggered (i integer);
CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON evil.triggered FOR EACH ROW EXECUTE FUNCTION evil.on_row();
CREATE TRIGGER b AFTER INSERT OR TRUNCATE ON evil.triggered FOR EACH STATEMENT EXECUTE FUNCTION evil.on_statement();
CREATE TRIGGER c BEFORE INSERT ON evil.triggered FOR EACH ROW EXECUTE FUNCTION evil.always();
ALTER TABLE evil.triggered ENABLE ALWAYS TRIGGER c;

CREATE TABLE evil.guarded (i integer);
ALTER TABLE evil.guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE evil.guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY shown ON evil.guarded USING (evil.yes('policy')) WITH CHECK (evil.yes('policy check'));

CREATE TABLE evil.ruled (i integer);
CREATE RULE also AS ON INSERT TO evil.ruled DO ALSO SELECT evil.yes('rule');
CREATE VIEW evil.seen AS SELECT evil.yes('view') AS seen;
CREATE MATERIALIZED VIEW evil.kept AS SELECT evil.yes('materialized view') AS kept;

CREATE FUNCTION evil.definer(i integer) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN PERFORM evil.strike('security definer'); RETURN true; END $$;
CREATE TABLE evil.defined (i integer CHECK (evil.definer(i)));

CREATE TYPE evil.mood AS ENUM ('calm', 'cross');
CREATE FUNCTION evil.mood_text(evil.mood) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN PERFORM evil.strike('cast'); RETURN 'mood'; END $$;
CREATE CAST (evil.mood AS text) WITH FUNCTION evil.mood_text(evil.mood) AS IMPLICIT;
CREATE TABLE evil.cast_from (i integer, m evil.mood DEFAULT 'calm');

CREATE DOMAIN evil.state AS text CHECK (evil.yes('first value of an aggregate'));
CREATE FUNCTION evil.next(evil.state, text) RETURNS evil.state LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE evil.sum(text) (sfunc = evil.next, stype = evil.state, initcond = 'x');

CREATE COLLATION evil.order_of_its_own (provider = libc, locale = 'C');
CREATE TABLE evil.collated (i integer, t text COLLATE evil.order_of_its_own DEFAULT 'x');
CREATE INDEX ON evil.collated (t);

INSERT INTO evil.checked SELECT generate_series(1, 3);
INSERT INTO evil.defaulted SELECT generate_series(1, 3);
INSERT INTO evil.typed SELECT generate_series(1, 3);
INSERT INTO evil.indexed SELECT generate_series(1, 3);
INSERT INTO evil.partial SELECT generate_series(1, 3);
INSERT INTO evil.folded SELECT generate_series(1, 3);
INSERT INTO evil.excluded SELECT generate_series(1, 3);
INSERT INTO evil.computed (i) SELECT generate_series(1, 3);
INSERT INTO evil.measured SELECT n, n FROM generate_series(1, 3) n;
INSERT INTO evil.parted SELECT generate_series(1, 3);
INSERT INTO evil.triggered SELECT generate_series(1, 3);
INSERT INTO evil.guarded SELECT generate_series(1, 3);
INSERT INTO evil.ruled SELECT generate_series(1, 3);
INSERT INTO evil.defined SELECT generate_series(1, 3);
INSERT INTO evil.cast_from (i) SELECT generate_series(1, 3);
INSERT INTO evil.collated (i) SELECT generate_series(1, 3);
ANALYZE evil.measured;

-- Shadows of what is called without a schema, or could be.
CREATE FUNCTION evil.equal(name, name) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.yes('operator = of names') $$;
CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.equal);
CREATE FUNCTION evil.equal(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.yes('operator = of texts') $$;
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equal);
CREATE FUNCTION evil.equal(oid, oid) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.yes('operator = of oids') $$;
CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.equal);
CREATE FUNCTION evil.both(text, text) RETURNS text LANGUAGE sql AS $$ SELECT evil.yes('operator of concatenation')::text $$;
CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.both);
CREATE FUNCTION evil.matches(name, text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.yes('operator !~') $$;
CREATE OPERATOR public.!~ (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.matches);
