# shellcheck shell=bash disable=SC2034,SC2154  # work, bin, here, projects and the ports are set and read by `demo`
# isolate-projects: 50 projects in the shared tables of one server get databases of their own on another. The proof asks
# both servers with psql, and nothing of pgconvoy but the key holder's `credentials reveal`.

servers=(shared isolated)
secrets=(SHARED_READER SHARED_REGISTRAR ISOLATED_PROVISIONER DEMO_TENANT)
fixture=$here/isolate-projects

seed() {
  local file
  sql shared postgres -c 'CREATE DATABASE platform'
  for file in 10_platform 20_auth 30_storage 40_logins_shared 50_seed 60_triggers; do
    sql shared platform -f "$fixture/$file.sql" -o /dev/null
  done
  sql isolated postgres -f "$fixture/40_logins_isolated.sql"
  sql shared platform -c "SELECT ref FROM public.projects WHERE status = 'active' ORDER BY ref" >"$work/refs"
  source_rows >"$work/source.rows"
  expected=$(awk -F '\t' '{ n += $3 } END { print n + 0 }' "$work/source.rows")
  say "Seeded $projects projects with $expected rows in 5 shared tables"
}

# Row counts and digests of the shared tables, of the projects that were to move.
source_rows() {
  sql shared platform -f "$fixture/proof/rows.sql" | LC_ALL=C sort
}

# Asks every project's database; leaves target.rows, one objects file for each, and strays.
ask_targets() {
  local ref
  : >"$work/target.rows.unsorted"
  : >"$work/strays"
  while read -r ref; do
    sql isolated "project_$ref" \
      -c "\\o $work/rows.1" -f "$fixture/proof/rows.sql" \
      -c "\\o $work/objects.$ref" -f "$fixture/proof/objects.sql" \
      -c "\\o $work/strays.1" -f "$fixture/proof/strays.sql" ||
      { failed "project_$ref cannot be read" && continue; }
    cat "$work/rows.1" >>"$work/target.rows.unsorted"
    sed "s/^/$ref: /" "$work/strays.1" >>"$work/strays"
  done <"$work/refs"
  LC_ALL=C sort "$work/target.rows.unsorted" >"$work/target.rows"
}

prove_objects() {
  local ref different=0
  sql shared platform -f "$fixture/proof/objects.sql" >"$work/objects"
  while read -r ref; do
    if ! cmp -s "$work/objects" "$work/objects.$ref"; then
      different=$((different + 1))
      diff "$work/objects" "$work/objects.$ref" | head -n 5 >&2 || true
    fi
  done <"$work/refs"
  if ((different == 0)); then
    ok "tables, indexes, constraints, triggers, policies, functions, sequences: all $(wc -l <"$work/objects") equal"
  else
    failed "$different databases differ from the source in their objects"
  fi
}

# The registry's row of each project, next to what the target server holds.
prove_registry() {
  local tab=$'\t'
  sql shared platform -f "$fixture/proof/registry.sql" |
    awk -F "$tab" -v OFS="$tab" '{print $3, $2, $4, $5, $6}' | LC_ALL=C sort >"$work/registry"
  sql isolated postgres -f "$fixture/proof/roles.sql" |
    awk -F "$tab" -v OFS="$tab" '$4 == "t" && $5 == "f" {print $1, $2, $3, "active", "f"}' |
    LC_ALL=C sort >"$work/roles"
  same "the registry names each project's database, role and verifier, and every freeze is lifted" \
    "$work/registry" "$work/roles"
}

# can_login USER DATABASE: with PGPASSWORD, over TCP.
can_login() {
  [[ $(psql -X -A -t -h 127.0.0.1 -p "$isolated_port" -U "$1" -d "$2" \
    -c 'SELECT current_user || current_database()' 2>"$work/login.error") == "$1$2" ]]
}

# prove MIGRATION: sets proof_failures.
prove() {
  source_rows >"$work/source.rows.after"
  same "the shared tables still hold every row, unchanged" "$work/source.rows" "$work/source.rows.after"
  ask_targets
  same "each project's rows are in its own database, all of them and no others" "$work/source.rows" "$work/target.rows"
  prove_objects
  prove_registry
  prove_nothing_left isolated
  empty "no schema that the plan did not ask for" "$work/strays"
  prove_logins "$1" project_ app_fallback ''
}
