-- Rows of project number :n; the same number gives the same rows in every run.
\getenv n PGCONVOY_DEMO_NUMBER
BEGIN;
SET LOCAL synchronous_commit = off;
SET LOCAL ROLE legacy_app;
SELECT 20 * (1 + :n % 5) AS users, 100 * (1 + :n % 7) AS images \gset
-- For whoever wants another size.
\getenv images PGCONVOY_DEMO_IMAGES

CREATE FUNCTION pg_temp.uid(kind text, i int) RETURNS uuid LANGUAGE sql IMMUTABLE
AS $$ SELECT md5(kind || '/' || i)::uuid $$;
CREATE FUNCTION pg_temp.at(i int) RETURNS timestamptz LANGUAGE sql IMMUTABLE
AS $$ SELECT '2025-11-01 12:00:00+00'::timestamptz + i * interval '7 hours 13 minutes 0.123456 seconds' $$;
-- Texts that copies lose most easily; NULL is among them.
CREATE FUNCTION pg_temp.awkward(i int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT (ARRAY['plain', '', NULL, E'two\nlines', E'tab\tinside', E'back\\slash', '\N', '\.', E'cr\r\nlf',
                'quote '' and "', 'Grüße 漢字 🙂', '  spaces  ', '%s $1 :name {ref}', repeat('long ', 900)])[1 + i % 14]
$$;

INSERT INTO public.schema_migrations SELECT v, pg_temp.at(v) FROM generate_series(1, 40) v;
INSERT INTO app.teams (name, created_at) SELECT 'Team ' || :n || ' / ' || i, pg_temp.at(i) FROM generate_series(1, 4) i;
INSERT INTO app.users (id, email, display_name, invited_by, created_at, updated_at)
SELECT pg_temp.uid('user', i), 'User' || i || '@Example.org', pg_temp.awkward(i),
       CASE WHEN i > 3 THEN pg_temp.uid('user', i - 3) END, pg_temp.at(i), pg_temp.at(i + 5)
FROM generate_series(1, :users) i;
INSERT INTO app.memberships SELECT 1 + i % 4, pg_temp.uid('user', i), 'member' FROM generate_series(1, :users) i;
INSERT INTO app.boards (team_id, title, settings, updated_at)
SELECT 1 + i % 4, 'Board ' || i, jsonb_build_object('n', i, 'text', pg_temp.awkward(i)), pg_temp.at(i)
FROM generate_series(1, 10) i;
INSERT INTO app.images (board_id, uploaded_by, file_name, content, width, height, words, location, taken_on, created_at,
                        updated_at)
SELECT 100 + i % 10, CASE WHEN i % 9 > 0 THEN pg_temp.uid('user', 1 + i % :users) END, 'image ' || i || '.png',
       decode(md5(i::text), 'hex'), 640 + i, 480 + i, to_tsvector('english', 'an image of number ' || i),
       point(i / 7.0, -i), '2025-11-01'::date + i % 300, pg_temp.at(i), pg_temp.at(i + 1)
FROM generate_series(1, :images) i;
UPDATE app.boards SET cover_image_id = 1 + id % :images;
INSERT INTO app.tags (label, colour) SELECT 'Tag' || i, ARRAY[i, NULL, 255 - i] FROM generate_series(1, 30) i;
INSERT INTO app.image_tags SELECT i, 1 + i % 30, ROW(i, i, 10, 10)::app.box FROM generate_series(1, :images) i;
INSERT INTO app.models (name, price) SELECT 'model ' || i, app.price_range(i, i + 1) FROM generate_series(1, 5) i;
INSERT INTO app.model_versions SELECT m, v, decode(md5(m || '/' || v), 'hex'), '{ "a" :1,  "a": 2 }'
FROM generate_series(1, 5) m, generate_series(1, 3) v;
INSERT INTO app.jobs (board_id, model_id, version, state, queued_at, finished_at, took)
SELECT 100 + i % 10, 1 + i % 5, 1 + i % 3, (ARRAY['queued', 'running', 'done', 'failed']::app.job_state[])[1 + i % 4],
       pg_temp.at(i), CASE WHEN i % 4 > 1 THEN pg_temp.at(i + 1) END, i * interval '1.5 seconds'
FROM generate_series(1, :images / 2) i;
INSERT INTO app.job_results SELECT i, 1 + i % :images, (ARRAY[0.1, 1e-300, 'NaN', '-0', 'Infinity'])[1 + i % 5]::float8,
       i / 3.0 FROM generate_series(1, :images / 2) i;
INSERT INTO app.api_keys SELECT pg_temp.uid('key', i), pg_temp.uid('user', i), decode(md5('key' || i), 'hex'),
       ARRAY['10.0.0.0/8', '::1']::inet[], NULL FROM generate_series(1, :users) i;
INSERT INTO app.sessions SELECT pg_temp.uid('session', i), pg_temp.uid('user', i), '192.0.2.1', pg_temp.at(i + 99)
FROM generate_series(1, :users) i;
INSERT INTO app.plans VALUES ('basic', 9.9, '[1,5)'), ('large', 99, '[5,)');
INSERT INTO app.invoices (team_id, issued_on) SELECT 1 + i % 4, '2026-01-01'::date + i FROM generate_series(1, 12) i;
INSERT INTO app.invoice_lines SELECT number, p, p, number / 7.0 FROM app.invoices, generate_series(1, 3) p;
INSERT INTO app.payments (invoice, amount, paid_at) SELECT number, 12.5, pg_temp.at(number::int) FROM app.invoices;
INSERT INTO app.webhooks (team_id, url) SELECT i, 'https://example.org/' || i FROM generate_series(1, 4) i;
INSERT INTO app.webhook_queue SELECT 1 + i % 4, 0, '{}' FROM generate_series(1, 8) i;
INSERT INTO audit.events (happened_at, actor, action, detail)
SELECT pg_temp.at(i), 'user' || i % 9, 'something', jsonb_build_object('i', i) FROM generate_series(1, 3 * :images) i;
-- Gaps and a number that nobody has used yet.
DELETE FROM app.payments WHERE id % 5 = 0;
SELECT nextval('app.payments_id_seq');
REFRESH MATERIALIZED VIEW app.usage;

SET CONSTRAINTS ALL IMMEDIATE;

-- Made last, so that they touch nothing of the seed, and so that a copy that lets them fire shows.
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON app.boards FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON app.images FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER record AFTER INSERT OR UPDATE OR DELETE ON app.memberships FOR EACH STATEMENT
  EXECUTE FUNCTION audit.record();
CREATE TRIGGER record AFTER INSERT OR DELETE ON app.api_keys FOR EACH STATEMENT EXECUTE FUNCTION audit.record();
ALTER TABLE app.api_keys DISABLE TRIGGER record;
ALTER TABLE app.api_keys FORCE ROW LEVEL SECURITY;
COMMENT ON TRIGGER record ON app.memberships IS 'Leaves a line in audit.events.';
COMMIT;
