# shellcheck shell=bash disable=SC2034,SC2154  # work, here, projects and the ports are set and read by `demo`
# unify-auth: applications whose users and sessions stand in legacy tables, each in a database of its own. The proof
# asks with psql: what was expected is computed from the legacy tables, as they were before, in another way than the
# plan does it.

servers=(apps)
secrets=(APPS_READER APPS_REGISTRAR APPS_OWNER APPS_SERVICE)
default_projects=20
fixture=$here/unify-auth

as_owner() {
  local database=$1
  shift
  PGPASSWORD=$PGCONVOY_APPS_OWNER_PASSWORD psql -X -q -A -t -F $'\t' -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$apps_port" \
    -U app_owner -d "$database" "$@"
}

seed() {
  local app ref
  sql apps postgres -c 'CREATE DATABASE platform'
  sql apps platform -f "$fixture/10_platform.sql"
  : >"$work/refs"
  for ((app = 1; app <= projects; app++)); do
    ref=$(printf 'app-%04d' "$app")
    echo "$ref" >>"$work/refs"
    sql apps postgres -c "CREATE DATABASE \"$ref\" OWNER app_owner"
    as_owner "$ref" -f "$fixture/20_app.sql" -v "app=$app" -f "$fixture/30_seed.sql"
    sql apps platform -c "INSERT INTO public.apps (ref, database_name, estimated_bytes)
      VALUES ('$ref', '$ref', pg_database_size('$ref'))"
  done
  each_app expected_users >"$work/users.expected"
  each_app expected_sessions >"$work/sessions.expected"
  each_app legacy >"$work/legacy.before"
  say "Seeded $projects applications with $(wc -l <"$work/users.expected") users and" \
    "$(wc -l <"$work/sessions.expected") sessions"
}

# each_app WHAT: the query of that name in every application's database.
each_app() {
  local ref
  while read -r ref; do
    sql apps "$ref" -f "$fixture/proof/$1.sql" | sed "s/^/$ref\t/"
  done <"$work/refs" | LC_ALL=C sort
}

prove() {
  each_app users >"$work/users"
  same "every user is in the unified table, password hash byte for byte, and those who were there still are" \
    "$work/users.expected" "$work/users"
  each_app sessions >"$work/sessions"
  same "every session is valid for the same user until the same time" "$work/sessions.expected" "$work/sessions"
  each_app legacy >"$work/legacy.after"
  same "the legacy tables are unchanged" "$work/legacy.before" "$work/legacy.after"
  sql apps platform -c "SELECT ref FROM public.apps WHERE auth_system <> 'unified' OR maintenance" >"$work/registry"
  empty "the registry says unified for every application, and none is in maintenance" "$work/registry"
  local ref
  ref=$(head -n 1 "$work/refs")
  if PGPASSWORD=$PGCONVOY_APPS_SERVICE_PASSWORD psql -X -q -h 127.0.0.1 -p "$apps_port" -U app_service -d "$ref" \
    -v ON_ERROR_STOP=1 -f "$fixture/proof/login.sql" >"$work/login" 2>&1; then
    ok "the application logs a migrated user in by token and writes an audit row"
  else
    failed "the application does not work: $(cat "$work/login")"
  fi
}
