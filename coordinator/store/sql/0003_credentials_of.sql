-- Finds what has changed the credentials of a migration.
ALTER TABLE pgconvoy.migration ADD COLUMN credentials_of bigint;
CREATE INDEX migration_credentials_of ON pgconvoy.migration (credentials_of) WHERE credentials_of IS NOT NULL;
COMMENT ON COLUMN pgconvoy.migration.credentials_of IS 'The migration whose credentials this one changes; null where it changes none, at submission.';
