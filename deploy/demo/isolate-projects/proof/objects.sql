-- Everything that auth and storage consist of besides rows, one line each: what the source has must be in the target.
SET search_path = pg_catalog; SET quote_all_identifiers = off;

WITH rel AS (
  SELECT c.oid, c.oid::regclass::text AS name, c.relkind, c.relrowsecurity, c.relforcerowsecurity
  FROM pg_class c WHERE c.relnamespace IN ('auth'::regnamespace, 'storage'::regnamespace)
)
SELECT 'relation', name, concat_ws(' ', relkind, relrowsecurity, relforcerowsecurity) FROM rel
WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL
SELECT 'column', rel.name || '.' || attname,
       concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull, attgenerated, attidentity,
                 pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
FROM rel JOIN pg_attribute ON attrelid = rel.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', rel.name || '.' || conname, concat_ws(' ', pg_get_constraintdef(pg_constraint.oid), convalidated)
FROM rel JOIN pg_constraint ON conrelid = rel.oid
UNION ALL
SELECT 'index', indexrelid::regclass::text, concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid)
FROM rel JOIN pg_index ON indrelid = rel.oid WHERE relkind = 'r'
UNION ALL
SELECT 'trigger', rel.name || '.' || tgname, concat_ws(' ', pg_get_triggerdef(pg_trigger.oid), tgenabled)
FROM rel JOIN pg_trigger ON tgrelid = rel.oid JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE NOT tgisinternal AND pronamespace IN ('auth'::regnamespace, 'storage'::regnamespace)
UNION ALL
SELECT 'policy', rel.name || '.' || polname, concat_ws(' ', polcmd, polpermissive, pg_get_expr(polqual, polrelid),
                                                         pg_get_expr(polwithcheck, polrelid))
FROM rel JOIN pg_policy ON polrelid = rel.oid
UNION ALL
SELECT 'function', oid::regprocedure::text, md5(pg_get_functiondef(oid)) FROM pg_proc
WHERE pronamespace IN ('auth'::regnamespace, 'storage'::regnamespace)
UNION ALL
SELECT 'enum', enumtypid::regtype::text, string_agg(enumlabel, ',' ORDER BY enumsortorder)
FROM pg_enum JOIN pg_type t ON t.oid = enumtypid
WHERE t.typnamespace IN ('auth'::regnamespace, 'storage'::regnamespace) GROUP BY enumtypid
UNION ALL
SELECT 'comment', rel.name, obj_description(rel.oid, 'pg_class') FROM rel
WHERE obj_description(rel.oid, 'pg_class') IS NOT NULL
UNION ALL
SELECT 'sequence', 'auth.refresh_tokens_id_seq', concat_ws(' ', last_value, is_called) FROM auth.refresh_tokens_id_seq
ORDER BY 1, 2;
