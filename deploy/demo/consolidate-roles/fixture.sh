# shellcheck shell=bash disable=SC2034,SC2154  # work, here, projects and the ports are set and read by `demo`
# consolidate-roles: applications whose users have one of 13 roles, each in a database of its own. The proof asks with
# psql, and logs in as the application to see what its policies show to users of each role.

# shellcheck source=deploy/demo/apps.sh
source "$here/apps.sh"
fixture=$here/consolidate-roles

seed() {
  make_apps probe_admin "md5('onesuper_admin' || app)::uuid"
  each_app expected_roles >"$work/roles.expected"
  each_app rest >"$work/rest.before"
  seen >"$work/seen.before"
  say "Seeded $projects applications with $(wc -l <"$work/roles.expected") users"
}

# What the first application shows to one user of each former role.
seen() {
  local ref role
  ref=$(head -n 1 "$work/refs")
  for role in super_admin system_admin org_owner org_admin department_head team_lead senior_editor editor author \
    contributor reviewer member guest; do
    as_login app_service "$PGCONVOY_APPS_SERVICE_PASSWORD" "$ref" -v "email=$role@app1.example" -v "id=$(
      sql apps "$ref" -c "SELECT id FROM public.user_profiles WHERE email = '$role@app1.example'"
    )" -f "$fixture/proof/seen.sql" | sed "s/^/$role\t/"
  done
}

prove() {
  each_app roles >"$work/roles"
  same "every user has the new role that belongs to the old one" "$work/roles.expected" "$work/roles"
  each_app rest >"$work/rest.after"
  same "nothing else of the users, no session and no document has changed" "$work/rest.before" "$work/rest.after"
  seen >"$work/seen"
  same "as the application: the policies show users of every former role what they showed before" \
    "$work/seen.before" "$work/seen"
  sql apps platform -c "SELECT ref FROM public.apps WHERE role_system <> '6 roles'" >"$work/registry"
  empty "the registry says 6 roles for every application" "$work/registry"
}
