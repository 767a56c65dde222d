# shellcheck shell=bash disable=SC2034,SC2154  # work, here, projects and the ports are set and read by `demo`
# unify-auth: applications whose users and sessions stand in legacy tables, each in a database of its own. The proof
# asks with psql: what was expected is computed from the legacy tables, as they were before, in another way than the
# plan does it.

# shellcheck source=deploy/demo/apps.sh
source "$here/apps.sh"
fixture=$here/unify-auth

seed() {
  make_apps '' ''
  each_app expected_users >"$work/users.expected"
  each_app expected_sessions >"$work/sessions.expected"
  each_app legacy >"$work/legacy.before"
  say "Seeded $projects applications with $(wc -l <"$work/users.expected") users and" \
    "$(wc -l <"$work/sessions.expected") sessions"
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
  if as_login app_service "$PGCONVOY_APPS_SERVICE_PASSWORD" "$ref" -f "$fixture/proof/login.sql" \
    >"$work/login" 2>&1; then
    ok "the application logs a migrated user in by token and writes an audit row"
  else
    failed "the application does not work: $(cat "$work/login")"
  fi
}
