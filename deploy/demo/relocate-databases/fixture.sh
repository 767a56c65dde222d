# shellcheck shell=bash disable=SC2034,SC2154  # work, bin, here, projects and the ports are set and read by `demo`
# relocate-databases: each project has a database of its own on an old server; all of it goes to a new one. The proof
# asks both servers with psql and pg_dump, and nothing of pgconvoy but the key holder's `credentials reveal`.

servers=(old new)
secrets=(OLD_READER OLD_REGISTRAR NEW_PROVISIONER DEMO_TENANT)
default_projects=12
fixture=$here/relocate-databases

# The definition is the same in all of them, so it is laid once; sizes and rows are not.
seed() {
  local n ref
  sql old postgres -c 'CREATE DATABASE registry'
  sql old registry -f "$fixture/10_registry.sql" -f "$fixture/20_logins_old.sql"
  sql old postgres -c 'CREATE DATABASE seeded OWNER legacy_app'
  sql old seeded -f "$fixture/30_application.sql"
  sql new postgres -f "$fixture/20_logins_new.sql"
  for ((n = 1; n <= projects; n++)); do
    printf -v ref 'v%04d' "$n"
    sql old postgres -c "CREATE DATABASE vision_$ref TEMPLATE seeded OWNER legacy_app" \
      -c "ALTER DATABASE vision_$ref SET search_path = app, public" \
      -c "ALTER DATABASE vision_$ref SET app.project = '$ref'"
    PGCONVOY_DEMO_NUMBER=$n sql old "vision_$ref" -f "$fixture/40_seed.sql" -o /dev/null
    sql old registry -c "INSERT INTO public.projects (ref, name, server, database_name, database_user)
                         VALUES ('$ref', 'Project $n', 'old', 'vision_$ref', 'legacy_app')"
    echo "$ref" >>"$work/refs"
  done
  sql old postgres -c 'DROP DATABASE seeded'
  ask_all old "$work/before"
  expected=$(awk -F '\t' '$2 !~ /usage$/ { n += $3 } END { print n + 0 }' "$work/before.rows")
  say "Seeded $projects databases with $expected rows"
}

# ask_all SERVER PREFIX: writes PREFIX.rows and PREFIX.state, a line for each table, sequence and setting of each
# project.
ask_all() {
  local ref
  : >"$2.rows"
  : >"$2.state"
  while read -r ref; do
    sql "$1" "vision_$ref" -f "$fixture/proof/rows.sql" | sed "s/^/$ref\t/" >>"$2.rows"
    sql "$1" "vision_$ref" -f "$fixture/proof/state.sql" | sed "s/^/$ref\t/" >>"$2.state"
  done <"$work/refs"
}

# definitions SERVER DATABASE: as pg_dump writes them, in an order that does not depend on when each was made.
definitions() {
  local port=${1}_port
  "$bindir/pg_dump" -h "$work/$1" -p "${!port}" -U postgres --schema-only --no-owner --no-privileges \
    --restrict-key=proof "$2" | sed -e '/^--/d' -e '/^$/d' | LC_ALL=C sort
}

prove_definitions() {
  local ref different=0 lines=0
  while read -r ref; do
    definitions old "vision_$ref" >"$work/definitions.old"
    definitions new "vision_$ref" >"$work/definitions.new"
    lines=$(wc -l <"$work/definitions.old")
    if ! cmp -s "$work/definitions.old" "$work/definitions.new"; then
      different=$((different + 1))
      diff "$work/definitions.old" "$work/definitions.new" | head -n 5 >&2 || true
    fi
  done <"$work/refs"
  if ((different == 0)); then
    ok "pg_dump writes the same definitions of every database on both servers, $lines lines each"
  else
    failed "$different databases differ in their definitions"
  fi
}

# The registry's row of each project, next to what the new server holds.
prove_registry() {
  sql old registry -c "SELECT server, database_name, database_user, password_verifier, maintenance
                       FROM public.projects ORDER BY ref" >"$work/registry"
  sql new postgres -c "SELECT 'new', d.datname, r.rolname, r.rolpassword, 'f' FROM pg_database d
                       JOIN pg_authid r ON r.oid = d.datdba WHERE d.datname LIKE 'vision\\_%' ORDER BY d.datname" \
    >"$work/roles"
  same "the registry names the new server, each database's owner and verifier, and every freeze is lifted" \
    "$work/registry" "$work/roles"
}

# can_login USER DATABASE: with PGPASSWORD, over TCP.
can_login() {
  [[ $(psql -X -A -t -h 127.0.0.1 -p "$new_port" -U "$1" -d "$2" \
    -c 'SELECT count(*) > 0 FROM users' 2>"$work/login.error") == t ]]
}

# prove MIGRATION: sets proof_failures.
prove() {
  ask_all old "$work/after"
  same "the old databases still hold every row, unchanged" "$work/before.rows" "$work/after.rows"
  ask_all new "$work/new"
  same "the new databases hold the same rows in the same tables" "$work/before.rows" "$work/new.rows"
  same "sequences, settings and locales are the same" "$work/before.state" "$work/new.state"
  prove_definitions
  prove_registry
  prove_nothing_left new
  prove_logins "$1" vision_ legacy_app " and finds its tables in its search_path"
}
