-- Made after seeding, so that they do not slow it down.

CREATE TRIGGER enforce_bucket_name_length_trigger BEFORE INSERT OR UPDATE OF name ON storage.buckets
  FOR EACH ROW EXECUTE FUNCTION storage.enforce_bucket_name_length();
CREATE TRIGGER update_objects_updated_at BEFORE UPDATE ON storage.objects
  FOR EACH ROW EXECUTE FUNCTION storage.update_updated_at_column();
CREATE TRIGGER protect_buckets_delete BEFORE DELETE ON storage.buckets
  FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();
CREATE TRIGGER protect_objects_delete BEFORE DELETE ON storage.objects
  FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();

CREATE TRIGGER refuse_frozen BEFORE INSERT OR UPDATE OR DELETE ON auth.users
  FOR EACH ROW EXECUTE FUNCTION platform_guard.refuse_frozen();
CREATE TRIGGER refuse_frozen BEFORE INSERT OR UPDATE OR DELETE ON auth.sessions
  FOR EACH ROW EXECUTE FUNCTION platform_guard.refuse_frozen();
CREATE TRIGGER refuse_frozen BEFORE INSERT OR UPDATE OR DELETE ON auth.refresh_tokens
  FOR EACH ROW EXECUTE FUNCTION platform_guard.refuse_frozen();
CREATE TRIGGER refuse_frozen BEFORE INSERT OR UPDATE OR DELETE ON storage.buckets
  FOR EACH ROW EXECUTE FUNCTION platform_guard.refuse_frozen();
CREATE TRIGGER refuse_frozen BEFORE INSERT OR UPDATE OR DELETE ON storage.objects
  FOR EACH ROW EXECUTE FUNCTION platform_guard.refuse_frozen();
COMMENT ON TRIGGER refuse_frozen ON auth.users IS 'Belongs to the platform: neither it nor this comment is carried.';

ANALYZE;
